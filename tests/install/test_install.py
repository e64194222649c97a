"""Parts of an installation that need no systemd; the rest is done by tests/lab on machines that have one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.serve import Server
from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door, Verb
from syncsrv.install.install import await_jobs
from syncsrv.install.outcome import InstallError


@dataclass(frozen=True, slots=True)
class Job:
    """As status has it."""

    job: str
    kind: str
    state: str


@dataclass(frozen=True, slots=True)
class Status:
    """As much of it as is looked at."""

    jobs: tuple[Job, ...]


@contextmanager
def core(run_dir: Path, *answers: Status) -> Iterator[None]:
    """Answers one after the other, and the last one for ever."""
    left = list(answers)

    def status(caller: Caller, request: Empty, call: Call) -> Status:
        return left.pop(0) if len(left) > 1 else left[0]

    table = {"status": Verb("status", Empty, Status, "viewer", frozenset({Door.LOCAL}))}
    server = Server(table, {"status": status}, node="fw1", version="1")
    server.serve_unix(run_dir / "core.sock", Door.LOCAL, mode=0o600)
    try:
        yield
    finally:
        server.close()


RUNNING = Status((Job("j0", "pull", "done"), Job("j1", "sync", "running")))
DONE = Status((Job("j0", "pull", "done"), Job("j1", "sync", "done")))


def test_a_job_under_way_is_waited_for_and_named_once(short_tmp: Path) -> None:
    said: list[str] = []
    with core(short_tmp, RUNNING, RUNNING, DONE):
        await_jobs(short_tmp, said.append)
    assert said == ["waiting for job j1 (sync), which the end of core would abort"]


def test_one_that_does_not_end_leaves_core_alone(short_tmp: Path) -> None:
    with core(short_tmp, RUNNING), pytest.raises(InstallError, match=r"job j1 \(sync\) is still under way after 0 s"):
        await_jobs(short_tmp, lambda _: None, deadline_s=0)


def test_a_core_that_is_away_has_none(short_tmp: Path) -> None:
    await_jobs(short_tmp, lambda _: pytest.fail("there is nothing to wait for"))
