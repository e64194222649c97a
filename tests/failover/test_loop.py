"""The loop: what has come in counts before what is due, and by rank."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from syncsrv.failover.loop import BUSY_S, Loop, Rank


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


class Turns:
    """A loop that notes what happened; ends after ``turns`` looks at what is due."""

    def __init__(self, turns: int, next_at: float | None) -> None:
        self.happened: list[str] = []
        self._turns = turns
        self._next_at = next_at
        self.loop = Loop(lambda: self.happened.append("woke"), self._due)

    def read(self, handle: int, word: str) -> None:
        os.read(handle, 10)
        self.happened.append(word)

    def _due(self) -> float | None:
        self.happened.append("due")
        self._turns -= 1
        if self._turns <= 0:
            self.loop.end()
        return self._next_at


def test_what_waits_is_served_by_rank_before_a_timer_that_is_late() -> None:
    turns = Turns(2, time.monotonic() - 1)
    with pipe() as (client, to_client), pipe() as (packet, to_packet), pipe() as (signal, to_signal):
        for handle, rank, word in (
            (client, Rank.CLIENT, "client"),
            (signal, Rank.SIGNAL, "signal"),
            (packet, Rank.PACKET, "packet"),
        ):
            turns.loop.watch(handle, rank, lambda _, handle=handle, word=word: turns.read(handle, word))  # type: ignore[misc]  # bound at once
        for handle in (to_client, to_packet, to_signal):
            os.write(handle, b"x")
        turns.loop.run()
        turns.loop.close()
    assert turns.happened == ["due", "woke", "signal", "packet", "client", "due"]


def test_it_wakes_when_something_is_due_and_not_before() -> None:
    at = time.monotonic() + 0.05
    turns = Turns(2, at)
    turns.loop.run()
    assert at <= time.monotonic() < at + 1
    turns.loop.close()


def test_what_one_callback_closes_is_not_served_any_more() -> None:
    turns = Turns(2, None)
    with pipe() as (first, to_first), pipe() as (second, to_second):
        turns.loop.watch(first, Rank.SIGNAL, lambda _: turns.loop.forget(second))
        turns.loop.watch(second, Rank.CLIENT, lambda _: turns.read(second, "second"))
        os.write(to_first, b"x")
        os.write(to_second, b"x")
        turns.loop.run()
        turns.loop.forget(second)  # which it has been already
        turns.loop.close()
    assert turns.happened == ["due", "woke", "due"]


def test_it_pauses_while_something_is_always_ready_or_the_kernel_would_end_a_real_time_process() -> None:
    ends_at = time.monotonic() + 4 * BUSY_S

    def due() -> float | None:
        if time.monotonic() >= ends_at:
            loop.end()
        return None

    loop = Loop(lambda: None, due)
    with pipe() as (reading, writing):
        os.write(writing, b"x")
        loop.watch(reading, Rank.PACKET, lambda _: None)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        loop.run()
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
        loop.close()
    assert waits >= 2


def test_long_work_within_a_turn_can_pause_too() -> None:
    loop = Loop(lambda: None, lambda: None)
    ends_at = time.monotonic() + 4 * BUSY_S
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    while time.monotonic() < ends_at:
        loop.breathe()
    loop.close()
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before >= 2
