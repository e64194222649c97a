"""``commit``: what is asked for and what is told."""

from __future__ import annotations

from syncsrv.control.shapes_history import CommitReply, LeftOutInfo
from tests.cli.toycore import Toy

LEFT = LeftOutInfo("/etc/big", "proxy", "too-large", "")


def test_what_was_committed(toy: Toy) -> None:
    toy.will("commit", CommitReply("a" * 40, "open the port", 1, (LEFT,)))
    said = toy.cli("commit", "-m", "open the port", "/etc/a", "etc/b/")
    assert said.out == "aaaaaaaaaa open the port (1 path)\nnot in the history: /etc/big (too-large)\n"
    request = toy.request("commit")
    assert (request.message, request.paths) == ("open the port", ("/etc/a", "/etc/b"))


def test_nothing_to_commit_is_well_too(toy: Toy) -> None:
    toy.will("commit", CommitReply(None, "", 0, ()))
    said = toy.cli("commit")
    assert (said.status, said.out) == (0, "Nothing to commit: the history equals what is live.\n")
    assert toy.cli("commit", "--json").json == {"commit": None, "subject": "", "files": 0, "left_out": []}
