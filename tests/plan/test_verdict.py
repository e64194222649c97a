"""The state word: the first row of the table that holds, with a reason and a remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.plan.verdict import SEVERITY, TABLE, Last, Sentence, Situation, Verdict, verdict, worst

WELL = Situation("fw2", applied_tag="sync/000003")

CASES: list[tuple[str, dict[str, object]]] = [
    ("standalone", {"peers": 0}),
    ("unknown", {"heard": False}),
    ("unreachable", {"reachable": False, "age_s": 12.0}),
    ("syncing", {"job": "j1"}),
    ("awaiting_confirm", {"confirm_by": "2026-11-23T02:00:00Z"}),
    ("blocked", {"blocked": Sentence("the tag moved", "look at the master")}),
    ("held", {"held": "alice: holidays"}),
    ("awaiting_first_sync", {"applied_tag": None}),
    ("diverged", {"drift": {"proxy": ("/etc/nginx/a",)}, "pending": ("proxy",)}),
    ("drifted", {"drift": {"proxy": ("/etc/nginx/a",)}}),
    ("rolled_back", {"last": Last("j", "rolled_back", "t", "nginx did not come up")}),
    ("failed", {"last": Last("j", "failed", "t", "its check failed")}),
    ("changes_pending", {"pending": ("proxy",), "behind": 2}),
    ("in_sync", {}),
]


@pytest.mark.parametrize(("state", "differs"), CASES)
def test_each_state(state: str, differs: dict[str, object]) -> None:
    found = verdict(replace(WELL, **differs))  # type: ignore[arg-type] # the table's own keywords
    assert found.state == state
    assert found.reason


def test_the_table_is_in_the_order_of_the_contract() -> None:
    assert [state for state, _ in TABLE] == [state for state, _ in CASES]


@pytest.mark.parametrize("first", range(len(CASES) - 1))
def test_the_first_that_holds_wins(first: int) -> None:
    """All later conditions at once do not change the word; diverged and drifted share their condition."""
    everything: dict[str, object] = {}
    for state, differs in reversed(CASES[first:]):
        everything.update(differs)
        if state == "changes_pending" and CASES[first][0] == "drifted":
            everything["pending"] = ("dns",)
    assert verdict(replace(WELL, **everything)).state == CASES[first][0]  # type: ignore[arg-type] # as above


def test_drift_and_pending_in_different_areas_are_not_diverged() -> None:
    now = replace(WELL, drift={"dns": ("/etc/unbound/u",)}, pending=("proxy",))
    assert verdict(now).state == "drifted"


def test_a_rollback_on_the_node_is_told_as_the_reason_of_its_drift() -> None:
    now = replace(WELL, drift={"proxy": ("/etc/nginx/a",)}, rolled_back_here="to abc by alice")
    assert "rolled back on the node itself (to abc by alice)" in verdict(now).reason


def test_sentences_name_paths_and_counts() -> None:
    assert "/etc/nginx/a" in verdict(replace(WELL, drift={"proxy": ("/etc/nginx/a",)})).reason
    assert verdict(replace(WELL, pending=("proxy",), behind=1)).reason.startswith("1 commit not applied yet, in proxy")
    older = verdict(replace(WELL, pending=("proxy",), behind=0))
    assert (older.state, "older than what sync/000003 brought, in proxy" in older.reason) == ("changes_pending", True)


def test_worst_names_the_backup_and_knows_every_state() -> None:
    verdicts = {"fw2": Verdict("in_sync", "equal", ""), "fw3": Verdict("unreachable", "no answer", "look")}
    found = worst(verdicts)
    assert (found.state, found.remedy) == ("unreachable", "look")
    assert found.reason == "fw3: no answer"
    assert set(SEVERITY) == {state for state, _ in TABLE} - {"standalone"}


def test_worst_does_not_name_the_backup_twice() -> None:
    assert worst({"fw2": Verdict("unreachable", "fw2 does not answer", "look")}).reason == "fw2 does not answer"
