"""Which lines correspond: always a true account, readable where it can be, and never endless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.plan.patience import Effort, Piece, hunks, pieces
from tests.support.work import calls

LINES = st.lists(st.sampled_from("abcdefgh"), max_size=40)
EFFORTS = st.sampled_from([0, 5, 50, 1000, 4_000_000])


def rebuilt(old: Sequence[str], new: Sequence[str], found: Sequence[Piece]) -> tuple[list[str], list[str]]:
    before: list[str] = []
    after: list[str] = []
    for piece in found:
        if piece.same:
            assert old[piece.old : piece.old_end] == new[piece.new : piece.new_end]
        assert (piece.old, piece.new) == (len(before), len(after)), "no item is left out or told twice"
        before += old[piece.old : piece.old_end]
        after += new[piece.new : piece.new_end]
    return before, after


@given(LINES, LINES, EFFORTS)
def test_the_pieces_are_both_sides_whatever_was_paid(old: list[str], new: list[str], paid: int) -> None:
    found = pieces(old, new, Effort(paid))
    assert rebuilt(old, new, found) == (old, new)
    assert all(a.same != b.same for a, b in pairwise(found)), "by turns"


@given(LINES, LINES, st.integers(0, 4))
def test_hunks_hold_every_difference_and_their_context(old: list[str], new: list[str], context: int) -> None:
    found = pieces(old, new, Effort())
    told = [piece for hunk in hunks(found, context) for piece in hunk]
    assert [one for one in told if not one.same] == [one for one in found if not one.same]
    assert all(one.old_end - one.old <= 2 * context for one in told if one.same)
    around = {at for one in found if not one.same for at in range(one.old - context, one.old_end + context)}
    shown = {at for one in told for at in range(one.old, one.old_end)}
    assert shown == around & set(range(len(old)))


def test_a_moved_brace_does_not_tie_unrelated_blocks_together() -> None:
    old = ["server one {", "}", "", "server two {", "}"]
    new = ["server one {", "}", "", "server new {", "}", "", "server two {", "}"]
    changed = [one for one in pieces(old, new, Effort()) if not one.same]
    assert len(changed) == 1
    assert changed[0].old == changed[0].old_end


def test_what_differs_in_the_middle_is_found_in_the_middle() -> None:
    old = [str(number) for number in range(100)]
    new = [*old[:50], "new", *old[51:]]
    assert [one for one in pieces(old, new, Effort()) if not one.same] == [Piece(False, 50, 51, 50, 51)]


CASES: dict[str, Callable[[], tuple[list[str], list[str]]]] = {
    "one line, over and over, one more": lambda: (["x"] * 5000, ["y"] + ["x"] * 5000 + ["z"]),
    "two lines by turns against each other": lambda: (["a", "b"] * 2500, ["b", "b", "a"] * 1700),
    "all different": lambda: ([f"a{n}" for n in range(5000)], [f"b{n}" for n in range(5000)]),
    "backwards": lambda: ([str(n) for n in range(5000)], [str(n) for n in reversed(range(5000))]),
    "growing runs": lambda: (
        [c for n in range(99) for c in "a" * n + "b"],
        [c for n in range(99, 0, -1) for c in "a" * n + "b"],
    ),
    "two hundred thousand": lambda: (["a", "b"] * 100_000, ["b", "a", "a"] * 66_000),
}


@pytest.mark.parametrize("name", CASES)
def test_text_made_to_hurt_ends_soon(name: str) -> None:
    old, new = CASES[name]()
    effort = Effort()
    given = effort.left
    found, steps = calls(lambda: pieces(old, new, effort))
    assert rebuilt(old, new, found) == (old, new)
    assert effort.left >= 0
    assert steps < 5 * (len(old) + len(new) + given - effort.left), "what it does is paid for"


def test_what_cannot_be_paid_is_compared_place_by_place() -> None:
    old = ["x"] * 1000
    new = ["y"] + ["x"] * 498 + ["y"] + ["x"] * 499 + ["y"]
    changed = [one for one in pieces(old, new, Effort(0)) if not one.same]
    assert [(one.old, one.old_end) for one in changed] == [(0, 1), (499, 500), (999, 1000)]
