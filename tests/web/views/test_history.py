"""How the list of the history is arranged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from syncsrv.control.shapes import HeadInfo, PeerInfo, Status, SyncInfo
from syncsrv.control.shapes_history import LogEntry
from syncsrv.web.views.history import Asked, chosen, file_address, rows, stands, who, why_no_rollback

NOW = datetime(2026, 11, 23, 4, 21, tzinfo=UTC)
SYNC = SyncInfo("in_sync", "", "", "sync/000002", {}, 0, (), None, None, None, None)
PEER = PeerInfo("backup", True, "2026-11-23T04:20:00Z", 1.0, "1", "in_sync", "", "", "sync/000002")


def entry(letter: str, at: str, *tags: str, via: str = "watch", node: str = "fw1", author: str = "alice") -> LogEntry:
    return LogEntry(letter * 40, at, author, f"subject {letter}", via, node, ("/etc/a",), tags, ("app",))


A = entry("a", "2026-11-23T04:02:00Z")
B = entry("b", "2026-11-23T03:41:00Z", "sync/000002")
C = entry("c", "2026-11-22T23:59:59Z", author="fw1")
D = entry("d", "2025-10-30T18:50:00Z", "sync/000001", via="rollback")
HEAD = HeadInfo(A.commit, A.at, A.subject)
STATUS = Status("fw1", "master", "1", "edge", HEAD, "sync/000002", 1, SYNC, {"fw2": PEER}, ())


def test_days_are_named_once_and_relative_to_now() -> None:
    found = rows((A, B, C, D), STATUS, "fw1", NOW, first=True)
    assert [row.day for row in found] == [
        "Today, Monday 23 November", "", "Yesterday, Sunday 22 November", "Thursday 30 October 2025"
    ]  # fmt: skip
    assert [row.time for row in found] == ["04:02", "03:41", "23:59", "18:50"]
    assert [(row.kind, row.icon) for row in found] == [("", ""), ("", ""), ("", ""), ("warn", "back")]
    assert [row.rollback for row in found] == [False, True, True, True]


def test_who_stands_where() -> None:
    assert [one.text for one in stands(A, STATUS, "fw1", newest=True)] == ["live on fw1"]
    assert [one.text for one in stands(B, STATUS, "fw1", newest=False)] == ["fw2 stands here"]
    lost = replace(STATUS, peers={"fw2": replace(PEER, reachable=False)})
    assert [(one.text, one.lost) for one in stands(B, lost, "fw1", newest=False)] == [("fw2 stood here", True)]
    assert [one.text for one in stands(B, STATUS, "fw2", newest=True)] == ["the newest known of fw2"]
    backup = replace(STATUS, role="backup", node="fw2", peers={"fw1": replace(PEER, applied_tag=None)}, head=None)
    assert [one.text for one in stands(B, backup, "fw1", newest=False)] == ["fw2 stands here"]
    assert stands(C, STATUS, "fw1", newest=False) == ()


def test_only_what_was_here_or_has_a_tag_is_offered_for_a_rollback() -> None:
    assert why_no_rollback(C, STATUS, "fw1") == ""
    assert "is live on fw1" in why_no_rollback(A, STATUS, "fw1")
    assert "never live on fw1" in why_no_rollback(C, STATUS, "fw2")
    assert why_no_rollback(B, STATUS, "fw2") == ""


def test_the_newest_is_compared_with_the_newest_tag_below_it() -> None:
    found = rows((A, B, C, D), STATUS, "fw1", NOW, first=True)
    assert chosen(Asked(), found) == (B.commit, A.commit)
    assert chosen(Asked(a=D.commit), found) == (D.commit, A.commit)
    assert chosen(Asked(), found[1:2]) == ("", B.commit)
    assert chosen(Asked(), []) == ("", "")
    assert chosen(Asked(), [found[0], found[2]]) == (C.commit, A.commit)


def test_a_node_that_committed_by_itself_is_named_once_and_names_are_visible() -> None:
    assert who(C) == "fw1"
    assert who(A) == "alice on fw1"
    assert "\u202e" not in who(replace(A, author="al\u202eice"))
    (row,) = rows((replace(A, subject="a\x1b[2J\u202e"),), STATUS, "fw1", NOW, first=True)
    assert not {"\x1b", "\u202e"} & set(row.subject)


@pytest.mark.parametrize(
    "asked, address",
    [
        (Asked(), "/history"),
        (Asked(path="/etc/caf\\xe9&x", area="app"), "/history?path=%2Fetc%2Fcaf%5Cxe9%26x&area=app"),
        (Asked(node="fw2", before="abc"), "/history?node=fw2&before=abc"),
    ],
)
def test_addresses_carry_what_is_asked_for(asked: Asked, address: str) -> None:
    assert asked.to() == address
    assert Asked().to(**asked.fields()) == address


def test_a_file_has_an_address() -> None:
    assert file_address("a" * 4, "/etc/a b\n?") == "/history/aaaa/file?path=/etc/a%20b%0A%3F"
    assert file_address("a", "/e", download=True) == "/history/a/file?path=/e&download=1"
