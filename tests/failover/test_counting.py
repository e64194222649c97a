"""Counters of adverts count up, whatever clocks and processes do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from syncsrv.failover.counting import Counter, base_of


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.day = datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return self.day


def test_each_is_higher_also_within_one_reading_of_the_clock_and_after_a_step_of_the_day() -> None:
    clock = Hand()
    counter = Counter(clock, base_of(clock))
    first = [counter.next() for _ in range(3)]
    clock.day -= timedelta(days=400)
    clock.at += 0.5
    later = counter.next()
    assert first == [first[0], first[0] + 1, first[0] + 2]
    assert later - first[0] == 500_000_000
    assert 0 < later < 1 << 63


def test_who_stands_in_for_another_continues_above_it() -> None:
    clock = Hand()
    base = base_of(clock)
    agent = Counter(clock, base)
    last = [agent.next() for _ in range(5)][-1]
    clock.at += 0.001
    assert Counter(clock, base).next() > last


def test_after_a_reboot_it_goes_on_with_the_day() -> None:
    clock = Hand()
    last = Counter(clock, base_of(clock)).next()
    clock.at = 3.0
    clock.day += timedelta(minutes=1)
    assert Counter(clock, base_of(clock)).next() > last
