"""If we failed over now: only what is known, and the worst first."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes import Status
from syncsrv.web.views.failover import Outlook, beside, outlooks
from syncsrv.web.views.nodes import pairs
from tests.web.views.standings import NOW, backup, master, peer, service


def only(status: Status) -> Outlook:
    found = outlooks(status, NOW)
    assert len(found) == 1
    return found[0]


def test_equal_and_well() -> None:
    found = only(master())
    assert (found.kind, found.sum) == ("ok", "fw2 would serve the same configuration.")


@pytest.mark.parametrize("state", ["unreachable", "unknown"])
def test_nothing_is_promised_of_a_node_that_is_not_heard(state: str) -> None:
    found = only(master({"fw2": peer(state)}))
    assert found.kind == "bad"
    assert "not known" in found.sum
    assert not any(fact.kind == "ok" for fact in found.facts)


def test_changes_that_it_lacks_are_counted() -> None:
    found = only(master({"fw2": peer("changes_pending", behind=3)}))
    assert (found.kind, found.sum) == ("todo", "fw2 would serve, 3 changes short.")


@pytest.mark.parametrize(
    ("found", "kind", "claim"),
    [
        (
            service(restart_pending=True, pending_why="a.conf is newer"),
            "warn",
            "nginx would serve an old configuration",
        ),
        (service(state="failed", reason="exit 1"), "bad", "nginx would not serve"),
        (service(state="stopped", health="none"), "warn", "nginx is stopped on fw2"),
    ],
)
def test_a_service_that_is_not_well_leads(found: object, kind: str, claim: str) -> None:
    now = only(master({"fw2": peer(services=(found,))}))
    assert (now.kind, now.facts[0].claim) == (kind, claim)


@pytest.mark.parametrize("state", ["diverged", "blocked", "failed", "drifted", "rolled_back", "awaiting_first_sync"])
def test_a_bad_state_is_said(state: str) -> None:
    found = only(master({"fw2": peer(state)}))
    assert found.kind in {"bad", "warn"}
    assert "ecause of" in found.facts[0].evidence


@pytest.mark.parametrize(
    ("state", "said"), [("failed", "failed and changed nothing"), ("rolled_back", "was rolled back")]
)
def test_a_synchronization_that_did_not_take_leaves_what_was_there(state: str, said: str) -> None:
    found = only(master({"fw2": peer(state, known_good="f" * 40, behind=2)}))
    assert (found.kind, found.sum) == ("warn", "fw2 would run sync/000002, its known-good files.")
    assert found.facts[0].evidence == f"It lacks 2 changes. The last synchronization {said}: Because of {state}."
    assert not any(fact.kind == "bad" for fact in found.facts)


@pytest.mark.parametrize(("state", "kind"), [("drifted", "warn"), ("diverged", "bad")])
def test_one_that_was_changed_would_run_its_own_files(state: str, kind: str) -> None:
    found = only(master({"fw2": peer(state, drift=tuple(f"/etc/{number}" for number in range(10)))}))
    assert (found.kind, found.sum) == (kind, "fw2 would run its own files: 10 differ from sync/000002.")


def test_one_that_has_a_tag_in_part_does_not_run_it() -> None:
    areas = {"dns": "sync/000002", "firewall": "sync/000002", "web": "sync/000001"}
    found = only(master({"fw2": peer("changes_pending", behind=2, areas=areas, lacks=("web",))}))
    assert "fw2 would run sync/000002 only in dns, firewall" in [fact.claim for fact in found.facts]


def test_a_service_that_is_not_meant_to_run_is_no_trouble() -> None:
    set_so = service("dns", "stopped", health="none", run_on="never")
    found = only(master({"fw2": peer(services=(service(), set_so))}))
    assert found.kind == "ok"
    assert any(fact.claim == "Stopped on fw2, as set: dns" for fact in found.facts)


def test_two_releases() -> None:
    assert only(master({"fw2": peer(version="1.1")})).facts[0].claim == "fw2 runs syncsrv 1.1, fw1 1.0"


def test_a_backup_speaks_of_itself_and_does_not_promise_what_a_silent_master_may_have() -> None:
    assert only(backup()).kind == "ok"
    found = only(backup("in_sync", {"fw1": peer("unreachable", "master")}))
    assert found.kind == "off"
    assert found.sum == "fw2 would serve, as far as it is known."


def test_each_outlook_stands_beside_one_pair_only() -> None:
    many = backup("in_sync", {"fw1": peer("in_sync", "master"), "fw3": peer()})
    placed = beside(pairs(many, NOW), outlooks(many, NOW))
    assert [len(views) for _, views in placed] == [1, 0]
    on_master = master({"fw2": peer(), "fw3": peer()})
    placed = beside(pairs(on_master, NOW), outlooks(on_master, NOW))
    assert [[view.node for view in views] for _, views in placed] == [["fw2"], ["fw3"]]


def test_no_backup_no_outlook() -> None:
    assert outlooks(master({}), NOW) == ()
    assert outlooks(backup("standalone", {}), NOW) == ()
