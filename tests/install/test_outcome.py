"""How far an installation came is told, whatever ends it."""

from __future__ import annotations

import pytest

from syncsrv.errors import SyncsrvError
from syncsrv.install.outcome import InstallError, Outcome


def fail(error: Exception) -> None:
    raise error


def test_what_was_done_before_a_failure_is_told() -> None:
    outcome = Outcome()
    outcome.step("write a", lambda: None)
    with pytest.raises(InstallError) as told:
        outcome.step("write b", lambda: fail(PermissionError(13, "Permission denied", "/etc/b")))
    assert str(told.value) == (
        "cannot write b: /etc/b: permission denied; done before that: write a; "
        "correct that, and run the same command again"
    )
    with pytest.raises(InstallError, match="cannot start c: it is masked; done before that: write a; unmask it"):
        outcome.step("start c", lambda: fail(SyncsrvError("it is masked", "unmask it")))
    assert outcome.steps == ["write a"]


def test_a_dry_run_does_nothing_and_tells_all() -> None:
    outcome = Outcome(dry_run=True)
    outcome.step("write a", lambda: fail(AssertionError()))
    assert outcome.steps == ["write a"]
