"""When noticed changes are due, with a clock moved by hand."""

from __future__ import annotations

from syncsrv.watch.gather import MANY, Gather


def test_nothing_is_never_due() -> None:
    gather = Gather()
    assert gather.due_at() is None
    gather.note([], 5)
    assert gather.due_at() is None
    assert gather.take() == frozenset()


def test_due_after_the_quiet_period_with_all_that_was_noted() -> None:
    gather = Gather(quiet_s=2, most_s=60)
    gather.note([b"a"], 10)
    assert gather.due_at() == 12
    gather.note([b"b", b"a"], 11.5)
    assert gather.due_at() == 13.5
    assert gather.take() == frozenset({b"a", b"b"})
    assert gather.due_at() is None


def test_what_never_rests_is_due_after_the_bound() -> None:
    gather = Gather(quiet_s=2, most_s=60)
    for tenth in range(1000):
        gather.note([b"log"], 100 + tenth / 10)
    assert gather.due_at() == 160


def test_bound_counts_from_the_first_change_after_taking() -> None:
    gather = Gather(quiet_s=2, most_s=60)
    gather.note([b"a"], 0)
    gather.take()
    gather.note([b"b"], 59)
    assert gather.due_at() == 61
    assert gather.take() == frozenset({b"b"})


def test_anything_swallows_names_before_and_after() -> None:
    gather = Gather(quiet_s=2, most_s=60)
    gather.note([b"a"], 0)
    gather.note(None, 1)
    gather.note([b"b"], 1.5)
    assert gather.due_at() == 3.5
    assert gather.take() is None
    gather.note([b"c"], 5)
    assert gather.take() == frozenset({b"c"})


def test_anything_alone_is_due_too() -> None:
    gather = Gather(quiet_s=2, most_s=60)
    gather.note(None, 1)
    assert gather.due_at() == 3


def test_too_many_names_become_anything() -> None:
    gather = Gather()
    gather.note((b"%d" % number for number in range(MANY)), 0)
    gather.note([b"one more"], 0)
    assert gather.take() is None
