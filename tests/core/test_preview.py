"""The preview promises what the run does, and an order for what is no longer so is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.codec import encode
from syncsrv.control.shapes import Facts, RollbackRequest, SyncRequest
from syncsrv.control.shapes_page import NodePreview, PreviewReply, PreviewRequest
from syncsrv.core.mains import follow_main
from syncsrv.core.peers import PeerBook
from syncsrv.core.planned import StalePlanError
from syncsrv.core.preview import BusyError, settled
from syncsrv.core.shown import DELETIONS_NAMED, whats_new
from syncsrv.errors import UnreachableError, UsageError
from tests.core.corekit import CLUSTER, Node, Pair, pair_of, single, steps
from tests.support.wait import until

MORE_AREAS = """\
  net: {paths: [/etc/network]}
  own: {paths: [/etc/own], extra: keep, check: [/bin/true, '{stage}']}
services:
"""
WIDE = CLUSTER.replace("services:\n", MORE_AREAS, 1)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path, WIDE) as pair:
        yield pair


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


def ask(node: Node, request: PreviewRequest) -> NodePreview:
    reply = node.ask("preview", request)
    assert isinstance(reply, PreviewReply)
    encode(PreviewReply, reply)
    (found,) = reply.nodes.values()
    return found


def hear(node: Node) -> None:
    """What the polls do in a running core."""
    node.hear()
    for name, heard in node.core.book.now().items():
        assert heard.facts is not None
        node.core.live.followed.clear()
        follow_main(node.core, name, heard.facts.head)


def look(pair: Pair, **asked: object) -> NodePreview:
    hear(pair.fw1)
    return ask(pair.fw1, PreviewRequest("sync", **asked))  # type: ignore[arg-type] # its own fields


def counts(shown: NodePreview) -> tuple[int, int, int]:
    return (
        sum(one.added for one in shown.areas),
        sum(one.changed for one in shown.areas),
        sum(one.deleted for one in shown.areas),
    )


def planned(said: str) -> tuple[int, int, int]:
    """The same from the words of a run's plan."""

    def number(word: str) -> int:
        found = re.search(rf"(\d+) {word}", said)
        return int(found[1]) if found else 0

    return number("added"), number("changed"), number("deleted")


def first(pair: Pair) -> dict[str, object]:
    pair.fw2.put("/etc/app/app.conf", "what was there before")
    pair.fw2.put("/etc/more.d/gone", "x")
    pair.fw2.core.record(via="watch")
    return {}


def nothing(pair: Pair) -> dict[str, object]:
    pair.sync()
    return {}


def changed(pair: Pair) -> dict[str, object]:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.put("/etc/app/new/deep", "new")
    (pair.fw1.root / "etc/more.conf").chmod(0o600)
    return {}


def one_area(pair: Pair) -> dict[str, object]:
    changed(pair)
    return {"areas": ("more",)}


def kept(pair: Pair) -> dict[str, object]:
    pair.fw1.put("/etc/own/theirs", "x")
    pair.fw2.put("/etc/own/mine", "x")
    pair.sync()
    (pair.fw1.root / "etc/own/theirs").unlink()
    pair.fw1.put("/etc/own/other", "x")
    return {}


def many_go(pair: Pair) -> dict[str, object]:
    for number in range(60):
        pair.fw1.put(f"/etc/more.d/{number}", "x")
    pair.sync()
    for number in range(58):
        (pair.fw1.root / f"etc/more.d/{number}").unlink()
    return {}


def drifted(pair: Pair) -> dict[str, object]:
    changed(pair)
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    pair.fw2.put("/etc/app/own", "made on the backup")
    pair.fw2.core.record(via="watch")
    return {}


def locked_out(pair: Pair) -> dict[str, object]:
    pair.sync()
    pair.fw1.put("/etc/network/interfaces", "auto eth0")
    pair.fw1.put("/etc/app/app.conf", "two")
    return {}


def commands(pair: Pair) -> dict[str, object]:
    pair.sync()
    file = pair.fw1.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("/bin/true", "/bin/echo"))
    pair.fw1.put("/etc/own/checked", "x")
    return {}


def older(pair: Pair) -> dict[str, object]:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.sync()
    return {"rev": "sync/000001"}


def all_at_once(pair: Pair) -> dict[str, object]:
    many_go(pair)
    commands_of = pair.fw1.etc / "cluster.yaml"
    commands_of.write_text(commands_of.read_text().replace("/bin/true", "/bin/echo"))
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.put("/etc/network/interfaces", "auto eth0")
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    pair.fw2.core.record(via="watch")
    return {}


@pytest.mark.parametrize(
    ("made", "guards"),
    [
        (first, ()),
        (nothing, ()),
        (changed, ()),
        (one_area, ()),
        (kept, ()),
        (many_go, ("mass-deletion",)),
        (drifted, ("drift",)),
        (locked_out, ("lock-out",)),
        (commands, ("commands",)),
        (older, ("older",)),
        (all_at_once, ("commands", "mass-deletion", "drift", "lock-out")),
    ],
)
def test_the_preview_says_what_the_dry_run_finds(
    pair: Pair, made: Callable[[Pair], dict[str, object]], guards: tuple[str, ...]
) -> None:
    asked = made(pair)
    shown = look(pair, **asked)
    reply = pair.fw1.do("sync", SyncRequest(dry_run=True, **asked))  # type: ignore[arg-type] # its own fields
    found, said = reply.nodes["fw2"], steps(reply, "fw2")
    assert tuple(one.guard for one in shown.guards) == found.guards == guards
    assert "\n".join(f"{one.guard}: {one.saw}" for one in shown.guards) == (said["guards"].output if guards else "")
    assert counts(shown) == planned(said["plan"].output)
    assert shown.refusals == ()
    told = said["guards"].output.partition("which run as root on this node:")[2]
    assert [f"{key}: {line}" for key, line in shown.commands] == [line.strip() for line in told.splitlines() if line]
    assert bool(shown.commands) == (made is first)
    if not guards:
        assert {f"check {area}" for area, _ in shown.checks} == {name for name in said if name.startswith("check ")}


@pytest.mark.parametrize("running", [True, False])
def test_the_services_of_the_preview_are_those_that_the_run_tells(pair: Pair, running: bool) -> None:
    pair.sync()
    pair.fw1.put("/etc/app/app.conf", "two")
    if running:
        (pair.fw2.home / "running").touch()
    pair.fw2.core.read_services()
    (shown,) = look(pair).services
    reply = pair.fw1.do("sync", SyncRequest())
    told = steps(reply, "fw2")["reload app"]
    assert shown.name == "app"
    assert (shown.action, told.result) == (("reload", "done") if running else ("none", "skipped"))
    assert running or shown.reason == "stopped; a sync starts nothing that was stopped"


def test_what_is_deleted_is_named_and_what_is_seen_is_dated(pair: Pair) -> None:
    many_go(pair)
    pair.fw1.put("/etc/own/x", "x")
    shown = look(pair)
    assert len(shown.deletions) == 58
    assert shown.deletions[0] == "/etc/more.d/0"
    assert [one.area for one in shown.areas] == ["more", "own", "app", "net", "cluster"]
    assert (shown.areas[0].deleted, shown.areas[1].added) == (58, 2)
    assert shown.checks == (("own", "/bin/true '{stage}'"),)
    assert (shown.tag, shown.tag_next) == ("", "sync/000002")
    assert (shown.reachable, shown.base) == (True, pair.fw2.core.recorder.head())
    assert shown.age_s is not None
    assert shown.target == pair.fw1.core.recorder.head()
    assert DELETIONS_NAMED == 1000


def test_a_commit_that_has_a_tag_with_these_areas_is_named_by_it(pair: Pair) -> None:
    pair.sync()
    before = pair.fw1.core.store.refs()
    shown = look(pair)
    assert (shown.tag, shown.tag_next) == ("sync/000001", "sync/000002")
    assert look(pair, areas=("more",)).tag == ""
    assert look(pair, rev="sync/000001").target == shown.target
    assert {name for name in pair.fw1.core.store.refs() if "remotes" not in name} == {
        name for name in before if "remotes" not in name
    }, "a look leaves nothing behind"


def test_a_node_of_which_nothing_is_known_is_shown_as_that(pair: Pair) -> None:
    pair.away.add("fw2")
    pair.fw1.core.book = PeerBook(lambda: ("fw2",), pair.fw1._ask, lambda *_: None, pair.fw1.core.clock)
    shown = ask(pair.fw1, PreviewRequest("sync"))
    assert (shown.reachable, shown.base, shown.age_s) == (False, None, None)
    assert shown.unseen == ("app", "more", "net", "own")
    assert ("areas.own.check", "/bin/true '{stage}'") in shown.commands, "it may be its first"
    assert counts(shown)[0] > 0


def test_another_release_there_is_a_guard_and_a_master_there_a_refusal(pair: Pair) -> None:
    fw1 = pair.fw1

    def other(peer: str, deadline_s: float) -> Facts:
        return replace(fw1._ask(peer, deadline_s), version="0.0.1", role="master")

    fw1.core.book = PeerBook(lambda: ("fw2",), other, lambda *_: None, fw1.core.clock)
    shown = look(pair, nodes=("fw2",))
    assert [one.guard for one in shown.guards] == ["version"]
    assert shown.refusals == ("cannot synchronize fw2: its role is master",)
    with pytest.raises(UsageError, match="it is master too"):
        ask(fw1, PreviewRequest("sync"))


def test_what_no_force_lets_through_is_shown_as_that(pair: Pair) -> None:
    pair.fw1.put("/etc/app/tool", "x", 0o4755)
    (refusal,) = look(pair).refusals
    assert "setuid" in refusal
    file = pair.fw1.etc / "cluster.yaml"
    file.write_text("areas: [")
    (refusal,) = look(pair).refusals
    assert refusal.startswith("cannot tag main: cluster.yaml is not in force")


def test_what_makes_no_sense_is_said(pair: Pair) -> None:
    def refused(why: str, node: Node, request: PreviewRequest) -> None:
        with pytest.raises(UsageError, match=why):
            ask(node, request)

    refused("no such peer", pair.fw1, PreviewRequest("sync", ("fw9",)))
    refused("has none of that name", pair.fw1, PreviewRequest("sync", areas=("nothing",)))
    refused("it is sync or rollback|cannot look ahead at 'adopt'", pair.fw1, PreviewRequest("adopt"))
    refused("on the node itself", pair.fw1, PreviewRequest("rollback", ("fw2",), rev="main"))
    refused("this is the backup fw2", pair.fw2, PreviewRequest("sync", ("fw1",)))
    refused("no such tag here", pair.fw2, PreviewRequest("sync", rev="sync/000009"))


# -- the digest


def shown_twice(pair: Pair, **asked: object) -> str:
    plans = {look(pair, **asked).plan for _ in range(2)}
    assert len(plans) == 1, "a look changes nothing"
    return plans.pop()


def test_the_digest_is_the_same_until_something_that_matters_changes(pair: Pair) -> None:
    changed(pair)
    seen = [shown_twice(pair), shown_twice(pair, areas=("app",)), shown_twice(pair, rev="sync/000001")]
    pair.fw1.put("/etc/app/app.conf", "three")
    seen.append(shown_twice(pair))
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    pair.fw2.core.record(via="watch")
    seen.append(shown_twice(pair))
    file = pair.fw1.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("on_change: reload", "on_change: restart").replace("/bin/true", "/bin/ls"))
    seen.append(shown_twice(pair))
    (pair.fw2.home / "running").touch()
    pair.fw2.core.read_services()
    seen.append(shown_twice(pair))
    assert len(set(seen)) == len(seen)


def stale(node: Node, request: object, verb: str = "sync") -> StalePlanError:
    head, refs = node.core.recorder.head(), node.core.store.refs("refs/tags/")
    jobs = len(node.core.jobs.recent())
    with pytest.raises(StalePlanError) as caught:
        node.ask(verb, request)
    assert (len(node.core.jobs.recent()), node.core.store.refs("refs/tags/")) == (jobs, refs), "nothing was begun"
    assert head is not None
    assert (caught.value.exit_status, caught.value.code, caught.value.remedy) == (4, "stale-plan", "look at it again")
    return caught.value


def edited(pair: Pair) -> str:
    pair.fw1.put("/etc/app/another", "x")
    return r"cannot synchronize fw2: what would change is no longer what you were shown \(5 files instead of 4\)"


def same_count(pair: Pair) -> str:
    pair.fw1.put("/etc/app/app.conf", "three")
    return r"\(what it would get, the files changed\)"


def drifting(pair: Pair) -> str:
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    pair.fw2.core.record(via="watch")
    hear(pair.fw1)
    return "what is live there, the guards changed"


def synced_meanwhile(pair: Pair) -> str:
    pair.sync()
    return r"what is live there"


def reconfigured(pair: Pair) -> str:
    file = pair.fw1.etc / "cluster.yaml"
    file.write_text(file.read_text().replace("*.bak", "*.old"))
    return r"\(5 files instead of 4\)"


@pytest.mark.parametrize("meanwhile", [edited, same_count, drifting, synced_meanwhile, reconfigured])
def test_an_order_for_what_is_no_longer_so_is_refused(pair: Pair, meanwhile: Callable[[Pair], str]) -> None:
    changed(pair)
    plan = look(pair).plan
    why = meanwhile(pair)
    assert re.search(why, stale(pair.fw1, SyncRequest(plans={"fw2": plan})).message)
    again = look(pair).plan
    forced = SyncRequest(plans={"fw2": again}, force=("drift",))
    assert pair.fw1.do("sync", forced).nodes["fw2"].result in {"done", "unchanged"}


def test_an_order_brings_the_commit_that_was_shown_and_no_later_one(pair: Pair) -> None:
    changed(pair)
    shown = look(pair)
    request, target = settled(pair.fw1.core, SyncRequest(plans={"fw2": shown.plan}))
    pair.fw1.put("/etc/app/app.conf", "an edit after the order was compared with what was shown")
    assert request.rev == target == shown.target
    assert pair.fw1.do("sync", replace(request, plans={})).nodes["fw2"].result == "done"
    assert pair.fw2.text("/etc/app/app.conf") == "two"
    assert pair.fw2.core.state.now.applied["app"].commit == shown.target


def test_a_node_that_was_not_shown_is_not_synchronized(pair: Pair) -> None:
    why = stale(pair.fw1, SyncRequest(plans={"fw9": "x"})).message
    assert why == "cannot synchronize fw2: what would change there was not shown to you"


@pytest.mark.parametrize("forged", ["x", "..", "a.b.c", "a.99999999999.d", "a.1.\N{SUPERSCRIPT TWO}", "0.٣.0"])
def test_a_digest_that_is_none_is_just_another(forged: str) -> None:
    assert whats_new(forged, f"{'0' * 64}.1.{'0' * 24}") == "what would change is no longer what you were shown"


# -- on the node itself


def test_a_backup_is_shown_its_masters_newest_tag_and_takes_no_other(pair: Pair) -> None:
    hear(pair.fw2)
    none = ask(pair.fw2, PreviewRequest("sync"))
    assert none.refusals == ("cannot synchronize fw2: fw1 has tagged nothing yet",)
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    pair.sync()  # tags, and reaches nobody
    pair.away.clear()
    pair.fw1.put("/etc/app/app.conf", "not tagged")
    pair.fw1.core.record(via="watch")
    hear(pair.fw2)
    shown = ask(pair.fw2, PreviewRequest("sync"))
    assert (shown.tag, pair.fw2.core.store.refs("refs/tags/")) == ("sync/000001", {})
    assert counts(shown)[0] > 0
    pair.away.add("fw2")
    pair.fw1.links.hang_up("fw2")
    pair.sync()  # another tag, of which the backup has not heard
    pair.away.clear()
    other = pair.fw2.do("sync", SyncRequest(plans={"fw2": shown.plan})).nodes["fw2"]
    assert (other.result, other.remedy) == ("refused", "look at it again")
    assert "sync/000002 is not the commit that you were shown" in other.reason
    assert not (pair.fw2.root / "etc/app").exists()
    hear(pair.fw2)
    again = ask(pair.fw2, PreviewRequest("sync"))
    assert again.tag == "sync/000002"
    assert pair.fw2.do("sync", SyncRequest(plans={"fw2": again.plan})).nodes["fw2"].result == "done"
    assert pair.fw2.text("/etc/app/app.conf") == "not tagged"


def test_a_backup_whose_master_is_away_is_shown_what_it_has_verified(pair: Pair) -> None:
    pair.sync()
    pair.fw2.put("/etc/app/app.conf", "edited on the backup")
    shown = ask(pair.fw2, PreviewRequest("sync", rev="sync/000001"))
    dry = pair.fw2.do("sync", SyncRequest(rev="sync/000001", dry_run=True)).nodes["fw2"]
    assert (shown.tag, tuple(one.guard for one in shown.guards)) == ("sync/000001", ("drift",))
    assert dry.guards == ("drift",)
    stale_one = SyncRequest(rev="sync/000001", plans={"fw2": shown.plan}, force=("drift",))
    pair.fw2.put("/etc/app/app.conf", "edited again")
    stale(pair.fw2, stale_one)
    shown = ask(pair.fw2, PreviewRequest("sync", rev="sync/000001"))
    assert pair.fw2.do("sync", replace(stale_one, plans={"fw2": shown.plan})).nodes["fw2"].result == "done"


def test_a_backup_that_may_not_write_there_says_so(tmp_path: Path) -> None:
    with pair_of(tmp_path) as pair:
        pair.sync(dry_run=True)
        pair.away.add("fw2")
        pair.fw1.links.hang_up("fw2")
        pair.sync()
        pair.away.clear()
        text = (pair.fw2.etc / "node.yaml").read_text()
        (pair.fw2.etc / "node.yaml").write_text(re.sub(r"(?m)^#? ?allow:.*$", "", text) + "\nallow: [/etc/more.d]\n")
        pair.fw2.core.reload()
        hear(pair.fw2)
        (refusal,) = ask(pair.fw2, PreviewRequest("sync")).refusals
        assert "node.yaml of this node allows /etc/more.d only" in refusal


def test_a_rollback_is_shown_and_bound_to_what_was_shown(node: Node) -> None:
    (node.home / "running").touch()
    node.core.read_services()
    old = node.core.recorder.head()
    assert old is not None
    node.put("/etc/app/app.conf", "two")
    request = PreviewRequest("rollback", rev=old)
    shown = ask(node, request)
    assert counts(shown) == (0, 1, 0)
    assert [(one.name, one.action) for one in shown.services] == [("app", "reload")]
    assert (shown.target, shown.base, shown.tag_next) == (old, node.core.recorder.head(), "")
    assert ask(node, request).plan == shown.plan
    node.put("/etc/more.conf", "an edit")
    why = stale(node, RollbackRequest(old, plan=shown.plan), "rollback").message
    assert why.startswith("cannot roll back fw1: what would change is no longer what you were shown (2 files instead")
    shown = ask(node, request)
    assert node.do("rollback", RollbackRequest(old, plan=shown.plan)).nodes["fw1"].result == "done"
    assert (node.text("/etc/app/app.conf"), node.text("/etc/more.conf")) == ("one", "more")


def test_nobody_who_looks_waits_for_a_run(node: Node) -> None:
    head = node.core.recorder.head() or ""
    held: list[bool] = []

    def run(job: object) -> dict[str, object]:
        with node.core.recorder.lock, node.core.live.changed_by("a-job"):
            held.append(True)
            until(lambda: len(held) > 1, 30, "the look")
        return {}

    job = node.core.jobs.start("sync", "alice", "fw1", run)  # type: ignore[arg-type] # its result is not looked at
    until(lambda: bool(held), 30, "the run to begin")
    with pytest.raises(BusyError, match="cannot look ahead on fw1: job a-job is changing it"):
        ask(node, PreviewRequest("rollback", rev=head))
    held.append(True)
    node.end(job.id)
    assert ask(node, PreviewRequest("rollback", rev=head)).target == head


def test_a_backup_that_never_heard_its_master_says_so(tmp_path: Path) -> None:
    with pair_of(tmp_path) as pair:
        pair.fw2.core.book = PeerBook(lambda: ("fw1",), pair.fw2._ask, lambda *_: None, pair.fw2.core.clock)
        with pytest.raises(UnreachableError, match="fw1 was never reached"):
            ask(pair.fw2, PreviewRequest("sync"))
