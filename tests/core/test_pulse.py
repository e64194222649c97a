"""What shows that core works: its own answer, and the timetable."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.serve import Server
from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door, Verb
from syncsrv.core.pulse import Pulse
from tests.support.wait import until

VERBS = {"status": Verb("status", Empty, Empty, "viewer", frozenset({Door.LOCAL}))}


class Core:
    """Answers, or does not."""

    def __init__(self, path: Path) -> None:
        self.hangs = threading.Event()
        self.goes_on = threading.Event()
        self.asked = 0
        self.server = Server(VERBS, {"status": self.answer}, node="fw1", version="1")
        self.server.serve_unix(path, Door.LOCAL, mode=0o600)

    def answer(self, caller: Caller, request: Empty, call: Call) -> Empty:
        self.asked += 1
        if self.hangs.is_set():
            self.goes_on.wait(30)
        return Empty()


@pytest.fixture
def core(short_tmp: Path) -> Iterator[Core]:
    core = Core(short_tmp / "core.sock")
    yield core
    core.goes_on.set()
    core.server.close()


def pulse_of(short_tmp: Path, fired_at: float = 1e9) -> Pulse:
    return Pulse(short_tmp / "core.sock", lambda: fired_at, SystemClock())


def test_a_core_that_answers_has_one(core: Core, short_tmp: Path) -> None:
    pulse = pulse_of(short_tmp)
    until(lambda: pulse.beats(0.5) and core.asked > 3)


def test_a_core_whose_workers_hang_has_none_until_they_go_on(core: Core, short_tmp: Path) -> None:
    pulse = pulse_of(short_tmp)
    core.hangs.set()
    until(lambda: not pulse.beats(0.2), what="the pulse to stop")
    core.hangs.clear()
    core.goes_on.set()
    until(lambda: pulse.beats(0.2), what="the pulse to come back")


def test_a_core_that_does_not_listen_has_none(short_tmp: Path) -> None:
    pulse = pulse_of(short_tmp)
    until(lambda: not pulse.beats(0.1))


def test_a_timetable_that_stands_still_stops_it(core: Core, short_tmp: Path) -> None:
    assert not pulse_of(short_tmp, SystemClock().monotonic() - 100).beats(60)
