"""The alarm: on time, by the monotonic clock, never by a selector's rounding."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator

import pytest

from syncsrv.failover.timer import Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    with contextlib.closing(Timer()) as made:
        yield made


def rings(timer: Timer, within_s: float) -> bool:
    return bool(select.select([timer], [], [], within_s)[0])


def test_it_rings_at_its_time_and_not_before(timer: Timer) -> None:
    at = time.monotonic() + 0.0305
    timer.arm(at)
    assert not timer.acknowledge()
    assert rings(timer, 5)
    assert time.monotonic() >= at
    assert timer.acknowledge()
    assert not timer.acknowledge()


@pytest.mark.parametrize("at", [0.0, -5.0, 0.5])
def test_a_time_that_is_past_rings_at_once(timer: Timer, at: float) -> None:
    timer.arm(at)
    assert rings(timer, 5)


def test_a_new_time_replaces_the_old_one(timer: Timer) -> None:
    timer.arm(time.monotonic() + 3600)
    timer.arm(time.monotonic())
    assert rings(timer, 5)
    timer.arm(time.monotonic() + 3600)
    assert not rings(timer, 0)


def test_never_is_never(timer: Timer) -> None:
    timer.arm(time.monotonic())
    assert rings(timer, 5)
    timer.arm(None)
    assert not rings(timer, 0)


def test_it_is_not_rounded_to_milliseconds(timer: Timer) -> None:
    late = []
    for _ in range(30):  # the best of many: what the clock does, not what else the machine does
        at = time.monotonic() + 0.0013
        timer.arm(at)
        select.select([timer], [], [], 5)
        late.append(time.monotonic() - at)
        timer.acknowledge()
    assert 0 <= min(late) < 0.0005


def test_it_can_be_closed_twice(timer: Timer) -> None:
    timer.close()
    timer.close()
