"""``rollback``: what is asked for."""

from __future__ import annotations

from syncsrv.control.shapes import NodeResult
from tests.cli.toycore import Toy


def test_every_option_reaches_core_and_the_result_is_the_jobs(toy: Toy) -> None:
    toy.will_do("rollback", {"fw1": NodeResult("refused", "lock-out: sshd", "console", ("lock-out",))})
    said = toy.cli(
        "rollback", "sync/000003", "--area", "proxy", "--reason", "why", "--dry-run", "--force", "mass-deletion"
    )
    assert said.status == 4
    assert said.out.splitlines() == [
        "Roll back to sync/000003 (job j1)", "fw1: refused: lock-out: sshd", "  what to do: console"
    ]  # fmt: skip
    request = toy.request("rollback")
    assert (request.rev, request.areas, request.reason) == ("sync/000003", ("proxy",), "why")
    assert (request.dry_run, request.force) == (True, ("mass-deletion",))


def test_a_revision_is_needed(toy: Toy) -> None:
    assert toy.cli("rollback").status == 2
    assert toy.asked == []
