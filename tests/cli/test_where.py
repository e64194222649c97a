"""How a command finds core, and for whom it speaks."""

from __future__ import annotations

import os

import pytest

from syncsrv.cli.where import named
from syncsrv.control.shapes_history import CommitReply
from tests.cli.toycore import Toy


def test_it_speaks_for_whoever_called_sudo(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    toy.will("commit", CommitReply(None, "", 0, ()))
    toy.cli("commit")
    (caller,) = toy.callers
    assert (caller.power, caller.via) == ("admin", "cli")
    if os.geteuid() == 0:
        assert caller.person == "alice"


@pytest.mark.parametrize(
    "typed, path",
    [
        ("/etc/a", "/etc/a"),
        ("etc/a/", "/etc/a"),
        ("/", "/"),
        ("/etc/caf\udce9", "/etc/caf\\xe9"),
        ("/a\\x41", "/a\\x5cx41"),
    ],
)
def test_a_path_as_core_knows_it(typed: str, path: str) -> None:
    assert named(typed) == path
