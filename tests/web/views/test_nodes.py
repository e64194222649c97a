"""Two nodes row by row: the sign between says what is known, and what is not known is not the same."""

from __future__ import annotations

import pytest

from syncsrv.control.shapes import JobInfo
from syncsrv.web.views.cells import Row
from syncsrv.web.views.nodes import Pair, pairs
from tests.web.views.standings import NOW, backup, master, peer, service


def only(found: tuple[Pair, ...]) -> Pair:
    assert len(found) == 1
    return found[0]


def row(pair: Pair, label: str) -> Row:
    return next(row for row in pair.rows if row.label == label)


@pytest.mark.parametrize(
    ("state", "sign", "kind", "link"),
    [
        ("in_sync", "same", "", None),
        ("changes_pending", "different", "todo", ("See 3 changes", "/changes?node=fw2")),
        ("awaiting_first_sync", "different", "todo", ("See what it would get", "/changes?node=fw2")),
        ("syncing", "different", "todo", ("Show steps", "/jobs")),
        ("drifted", "different", "warn", ("See drift", "/drift")),
        ("rolled_back", "different", "warn", ("See why", "/jobs")),
        ("held", "different", "warn", None),
        ("diverged", "different", "bad", ("See drift", "/drift")),
        ("failed", "different", "bad", ("See step", "/jobs")),
        ("blocked", "different", "bad", ("See what is in the way", "/changes?node=fw2")),
        ("unreachable", "unknown", "", None),
        ("unknown", "unknown", "", None),
    ],
)
def test_the_configuration_of_a_backup(state: str, sign: str, kind: str, link: object) -> None:
    found = row(only(pairs(master({"fw2": peer(state, behind=3)}), NOW)), "Configuration")
    assert (found.sign, found.kind, found.right.state, found.right.link) == (sign, kind, state, link)


@pytest.mark.parametrize("state", ["unreachable", "unknown"])
def test_what_was_not_read_is_lost_in_every_row(state: str) -> None:
    pair = only(pairs(master({"fw2": peer(state, services=(service(),))}), NOW))
    assert pair.right.lost
    assert not pair.left.lost
    assert {row.sign for row in pair.rows} == {"unknown"}
    assert any(note.startswith("What to check:") for note in row(pair, "Configuration").right.notes)


def test_the_master_stands_left_on_either_page() -> None:
    assert [only(pairs(status, NOW)).left.name for status in (master(), backup())] == ["fw1", "fw1"]


def test_several_peers_are_several_tables() -> None:
    assert [pair.right.name for pair in pairs(master({"fw2": peer(), "fw3": peer()}), NOW)] == ["fw2", "fw3"]


def test_what_the_master_has_since_its_last_tag() -> None:
    assert row(only(pairs(master(), NOW)), "Configuration").left.text == "Nothing since"
    found = row(only(pairs(master(untagged=2), NOW)), "Configuration").left
    assert (found.text, found.tag) == ("2 changes since", "sync/000002")
    assert row(only(pairs(master(last_tag=None), NOW)), "Configuration").left.text == "Nothing was tagged yet"
    assert row(only(pairs(master(last_tag=None, head=None), NOW)), "Configuration").left.text.startswith("Nothing")


def test_what_is_tagged_and_lacks_on_the_backup_is_not_nothing() -> None:
    areas = {"dns": "sync/000002", "web": "sync/000001"}
    found = row(
        only(pairs(master({"fw2": peer("changes_pending", behind=2, areas=areas, lacks=("web",))}), NOW)),
        "Configuration",
    )
    assert (found.left.text, found.left.tag) == ("Everything stands in", "sync/000002")
    assert found.left.notes[0] == "fw2 lacks some of it, in web"
    assert "It has sync/000002 only in dns." in found.right.notes


def test_a_long_reason_stands_in_full_elsewhere() -> None:
    found = row(only(pairs(master({"fw2": peer("failed", reason="why " * 100)}), NOW)), "Configuration")
    assert len(found.right.notes[0]) < 100


@pytest.mark.parametrize(
    ("services", "kind", "text"),
    [
        ((service(), service("app")), "ok", "2 of 2 running"),
        ((service(), service("app", restart_pending=True)), "warn", "Restart pending: app"),
        ((service(), service("app", "failed", reason="exit 1")), "bad", "Not well: app"),
        ((service(), service("app", health="failing")), "bad", "Not well: app"),
        ((service(), service("app", "unknown")), "bad", "Not well: app"),
        ((service(), service("app", "stopped", health="none")), "warn", "Stopped: app"),
        ((service(), service("app", "stopped", health="none", run_on="never")), "off", "1 of 2 running"),
        ((service(health="unknown"),), "off", "1 of 1 running"),
        ((), "off", "none configured"),
    ],
)
def test_services_are_green_only_when_all_are_well(services: tuple[object, ...], kind: str, text: str) -> None:
    found = row(only(pairs(master({"fw2": peer(services=services)}), NOW)), "Services")
    assert (found.right.kind, found.right.text) == (kind, text)
    assert found.sign == ("same" if kind == "ok" else "different")


def test_two_releases_are_different() -> None:
    found = row(only(pairs(master({"fw2": peer(version="1.1")}), NOW)), "Software")
    assert (found.sign, found.kind) == ("different", "bad")
    assert row(only(pairs(master({"fw2": peer("unknown")}), NOW)), "Software").sign == "unknown"


def test_virtual_addresses_have_a_row_only_where_there_are_any() -> None:
    assert [row.label for row in only(pairs(master(), NOW)).rows] == ["Configuration", "Services", "Software"]


def test_the_job_that_changed_a_node_is_one_click_away() -> None:
    jobs = (
        JobInfo("3", "services", "done", "mara", NOW, results={"fw1": "done"}),
        JobInfo("2", "sync", "done", "mara", NOW, results={"fw2": "failed"}),
        JobInfo("1", "sync", "done", "mara", NOW, results={"fw2": "done"}),
    )
    found = row(only(pairs(master({"fw2": peer("failed")}, jobs=jobs), NOW)), "Configuration")
    assert found.right.link == ("See step", "/jobs/2")
