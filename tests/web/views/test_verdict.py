"""The one sentence: for every state word, on both nodes, and never good news about what is not known."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes import JobInfo
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan.verdict import TABLE
from syncsrv.web.views.verdict import KINDS, NOTE, TEXT, answer, brief, sentence
from tests.web.views.standings import NOW, backup, master, peer, service

ON_MASTER = {
    "in_sync": ("ok", "same", "fw1 and fw2 are the same."),
    "changes_pending": ("todo", "different", "fw2 is 3 changes behind fw1."),
    "awaiting_first_sync": ("todo", "different", "fw2 has nothing from fw1 yet."),
    "syncing": ("todo", "different", "fw2 is being changed right now."),
    "awaiting_confirm": ("warn", "different", "The last synchronization of fw2 waits to be confirmed."),
    "drifted": ("warn", "different", "2 files on fw2 are not as fw1 left them."),
    "rolled_back": ("warn", "different", "The last synchronization of fw2 was rolled back."),
    "held": ("warn", "different", "fw2 is held: nothing is synchronized to it."),
    "diverged": ("bad", "different", "fw1 and fw2 were both changed since they were the same."),
    "failed": ("bad", "different", "The last synchronization of fw2 failed before it changed anything."),
    "blocked": ("bad", "different", "fw2 takes nothing from fw1."),
    "unreachable": ("bad", "unknown", "fw2 does not answer; what it runs now is not known."),
    "unknown": ("off", "unknown", "fw2 has not been heard since fw1 started; nothing is known of it."),
}
WORDS = {state for state, _ in TABLE} - {"standalone"}


def test_every_state_word_has_its_sentence() -> None:
    assert set(ON_MASTER) == WORDS
    assert set(KINDS) == WORDS | {"standalone"}


@pytest.mark.parametrize("state", sorted(WORDS))
def test_on_a_master(state: str) -> None:
    drift = ("etc/a", "etc/b") if state in {"drifted", "diverged"} else ()
    found = answer(master({"fw2": peer(state, behind=3, drift=drift)}))
    assert (found.kind, found.sign, found.title) == ON_MASTER[state]
    assert found.text.startswith("Because of")


@pytest.mark.parametrize("state", sorted(WORDS - {"unreachable", "unknown"}))
def test_on_a_backup_it_speaks_of_itself_in_the_same_words(state: str) -> None:
    drift = ("etc/a", "etc/b") if state in {"drifted", "diverged"} else ()
    found = answer(backup(state, sync={"behind": 3, "drift": drift}))
    assert (found.kind, found.sign, found.title) == ON_MASTER[state]


def test_one_file_is_not_two() -> None:
    assert answer(master({"fw2": peer("drifted", drift=("etc/a",))})).title == "1 file on fw2 is not as fw1 left it."


def test_a_master_that_went_back_is_not_ahead() -> None:
    found = answer(master({"fw2": peer("changes_pending", behind=0)}))
    assert found.title == "fw1 went back to something older than fw2 has."


def test_two_masters_are_named() -> None:
    found = answer(master({"fw2": peer("blocked", "master")}))
    assert (found.kind, found.title) == ("bad", "Two masters: fw1 and fw2 both say that they are.")


def test_a_node_without_peers() -> None:
    found = answer(master({}))
    assert (found.kind, found.sign) == ("off", "unknown")
    assert found.title == "fw1 stands alone: no other node is configured."


@pytest.mark.parametrize("state", ["in_sync", "changes_pending", "awaiting_first_sync"])
def test_a_backup_whose_master_is_silent_does_not_say_that_all_is_well(state: str) -> None:
    found = answer(backup(state, {"fw1": peer("unreachable", "master")}))
    assert (found.kind, found.sign) == ("bad", "unknown")
    assert found.title == "fw1 does not answer fw2; whether it has anything newer is not known."


def test_a_backup_that_never_heard_a_master() -> None:
    found = answer(backup("in_sync", {"fw1": peer("unknown", None)}))
    assert (found.kind, found.sign, found.title) == ("off", "unknown", "fw2 has not heard a master since it started.")


def test_of_several_backups_the_worst_leads_and_the_others_are_named() -> None:
    found = answer(master({"fw2": peer("changes_pending", behind=1), "fw3": peer("diverged"), "fw4": peer()}))
    assert found.title == "fw1 and fw3 were both changed since they were the same."
    assert found.also == ("fw2 is changes pending",)
    assert answer(master({"fw2": peer(), "fw3": peer()})).title == "fw1, fw2 and fw3 are the same."


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (service(restart_pending=True), "nginx on fw2 must be restarted to load its files"),
        (service(health="failing"), "nginx is not healthy on fw2"),
        (service(state="failed"), "nginx has failed on fw2"),
        (service(state="unknown", health="unknown"), "nginx cannot be read on fw2"),
        (service(state="stopped", health="none"), "nginx is stopped on fw2"),
        (service(state="masked", health="none"), "nginx is masked on fw2"),
    ],
)
def test_the_same_files_are_not_enough(found: ServiceInfo, said: str) -> None:
    now = answer(master({"fw2": peer(services=(found,))}))
    mild = found.restart_pending or found.state in {"stopped", "masked"}
    assert (now.kind, now.title) == ("warn" if mild else "bad", f"fw1 and fw2 are the same, but {said}.")
    assert now.ways[-1].href == "/services"


def test_a_service_that_is_stopped_on_the_master_is_as_bad_as_can_be() -> None:
    stopped = service("portal", "stopped", health="none")
    now = answer(master(services=(stopped, service())))
    assert (now.kind, now.title) == ("bad", "fw1 and fw2 are the same, but portal is stopped on fw1.")
    now = answer(master({"fw2": peer("changes_pending", behind=2)}, services=(stopped,)))
    assert (now.kind, now.title) == ("bad", "fw2 is 2 changes behind fw1, and portal is stopped on fw1.")
    on_backup = backup(peers={"fw1": peer("in_sync", "master", services=(stopped,))})
    assert answer(on_backup).title == "fw1 and fw2 are the same, but portal is stopped on fw1."


def test_a_pending_restart_does_not_lead_while_changes_wait() -> None:
    old = (service(restart_pending=True),)
    now = answer(master({"fw2": peer("changes_pending", behind=2)}, services=old))
    assert (now.kind, now.title) == ("todo", "fw2 is 2 changes behind fw1.")
    assert now.also == ("nginx on fw1 must be restarted to load its files",)
    now = answer(master(services=old))
    assert (now.kind, now.title) == (
        "warn",
        "fw1 and fw2 are the same, but nginx on fw1 must be restarted to load its files.",
    )


@pytest.mark.parametrize("run_on", ["never", "carp-master"])
def test_a_service_that_is_not_meant_to_run_is_no_trouble(run_on: str) -> None:
    now = answer(master(services=(service(state="stopped", health="none", run_on=run_on),)))
    assert (now.kind, now.title) == ("ok", "fw1 and fw2 are the same.")


def test_every_trouble_is_named_the_worst_first_and_nothing_of_a_node_that_is_silent() -> None:
    mine = (service("a", restart_pending=True), service("b", restart_pending=True))
    found = answer(master({"fw2": peer(services=(service(state="failed"),))}, services=mine))
    assert found.title == "fw1 and fw2 are the same, but nginx has failed on fw2."
    assert found.also == ("a, b on fw1 must be restarted to load their files",)
    found = answer(master({"fw2": peer("unreachable", services=(service(state="failed"),))}, services=mine))
    assert found.title == "fw2 does not answer; what it runs now is not known."
    assert found.also == ("a, b on fw1 must be restarted to load their files",)
    assert "failed" not in found.text


def test_a_long_reason_is_cut_for_the_first_screen_and_kept_in_full() -> None:
    reason = "changed there since sync/000008: " + ", ".join(f"/etc/app/conf.d/{number}.conf" for number in range(40))
    found = answer(master({"fw2": peer("drifted", reason=reason)}))
    assert found.text == sentence(reason)
    assert len(found.short) <= TEXT + 2
    assert found.short.endswith(".conf …")
    assert brief("short enough") == "Short enough."
    assert brief("first line\nsecond line") == "First line."
    assert brief("x" * 500) == "X" + "x" * (NOTE - 1) + " …"


def test_a_word_of_a_newer_version_is_never_green() -> None:
    found = answer(master({"fw2": peer("entangled")}))
    assert (found.kind, found.sign) == ("off", "unknown")


def test_what_cannot_be_done_says_why() -> None:
    def ways(state: str, power: str = "operator") -> dict[str, str]:
        return {way.label: way.why for way in answer(master({"fw2": peer(state)}), power).ways}

    assert ways("in_sync")["Synchronize…"] == "Nothing to bring to fw2"
    assert ways("unreachable")["Synchronize…"] == "Not possible: fw2 does not answer"
    assert ways("changes_pending") == {"Synchronize…": "", "Roll back…": ""}
    assert "operator" in ways("changes_pending", "viewer")["Synchronize…"]
    firsts = [way.label for way in answer(master({"fw2": peer("changes_pending")})).ways if way.first]
    assert firsts == ["Synchronize…"]


def test_a_job_under_way_is_shown_first() -> None:
    jobs = (JobInfo("7", "sync", "running", "mara", NOW),)
    found = answer(master({"fw2": peer("syncing")}, jobs=jobs))
    assert (found.ways[0].label, found.ways[0].href, found.ways[0].first) == ("Show steps", "/jobs/7", True)
    assert answer(master({"fw2": peer("drifted")})).ways[0].label == "See drift"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("because", "Because."),
        ("fw2 does not answer", "fw2 does not answer."),
        ("`syncsrv sync` on the master", "`syncsrv sync` on the master."),
        ("job 2-3 is running", "job 2-3 is running."),
        ("it is done!", "It is done!"),
        ("", ""),
    ],
)
def test_reasons_become_sentences(text: str, shown: str) -> None:
    assert sentence(text) == shown
