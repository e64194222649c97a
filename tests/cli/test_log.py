"""What ``log`` tells a person, and what it asks for."""

from __future__ import annotations

from syncsrv.cli.log import who
from syncsrv.control.shapes_history import LogEntry, LogReply
from tests.cli.toycore import Toy

ONE = LogEntry(
    "a" * 40, "2026-11-23T02:13:04Z", "alice", "open the port", "cli", "fw1", ("/etc/a", "/etc/b"),
    ("sync/000001", "sync/000002"),
)  # fmt: skip
TWO = LogEntry("b" * 40, "2026-11-22T02:13:04Z", "fw1", "7 files changed", "watch", "fw1", tuple("abcdefg"), ())


def test_each_commit_in_a_few_lines(toy: Toy) -> None:
    toy.will("log", LogReply((ONE, TWO)))
    assert toy.cli("log").out.splitlines() == [
        "aaaaaaaaaa  2026-11-23T02:13:04Z  cli      alice on fw1 [sync/000001] [sync/000002]",
        "    open the port",
        "    /etc/a, /etc/b",
        "bbbbbbbbbb  2026-11-22T02:13:04Z  watch    fw1",
        "    7 files changed",
        "    a, b, c, d, e and 2 more",
    ]
    request = toy.request("log")
    assert (request.path, request.limit) == (None, 20)


def test_a_path_is_asked_for_as_the_tree_has_it(toy: Toy) -> None:
    toy.will("log", LogReply(()))
    assert toy.cli("log", "etc//caf\udce9/", "-n", "3").out.startswith("No commit of /etc")
    request = toy.request("log")
    assert (request.path, request.limit) == ("/etc//caf\\xe9", 3)


def test_what_is_asked_for_goes_along_only_where_it_is_given(toy: Toy) -> None:
    toy.will("log", LogReply(()))
    said = toy.cli("log", "--area", "app", "--author", "Al", "--via", "cli", "--node", "fw2").out
    request = toy.request("log")
    assert (request.area, request.author, request.via, request.node) == ("app", "Al", "cli", "fw2")
    assert said == "No commit is like that.\n"


def test_nothing_yet_and_json(toy: Toy) -> None:
    toy.will("log", LogReply(()))
    assert toy.cli("log").out == "No commit yet.\n"
    toy.will("log", LogReply((ONE,)))
    (commit,) = toy.cli("log", "--json").json["commits"]
    assert commit.keys() == {"commit", "at", "author", "subject", "via", "node", "paths", "tags", "areas", "tagged_at"}


def test_a_limit_that_makes_no_sense(toy: Toy) -> None:
    said = toy.cli("log", "-n", "0")
    assert (said.status, toy.asked) == (2, [])


def test_a_node_that_committed_by_itself_is_named_once() -> None:
    assert who({"author": "fw1", "node": "fw1"}) == "fw1"
    assert who({"author": "alice", "node": "fw1"}) == "alice on fw1"
