"""Which lines of two texts correspond: patience first, the longest runs in what it leaves, and an end to the effort.

Anchors are lines that stand once on both sides, in their longest common order (as Bram Cohen's patience diff has it):
a moved brace never ties unrelated blocks together. Between anchors the longest common run decides, as in difflib. That
search can take the square or the cube of the length for text made to hurt, so every step is paid for from an
``Effort``; what can no longer be paid is compared place by place. Pure.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(slots=True)
class Effort:
    """How many steps (some 0.1 µs each) comparing may still take; may be shared by several comparisons."""

    left: int = 4_000_000

    def pay(self, steps: int) -> bool:
        """Whether that much is left; if so, it is gone now."""
        if steps > self.left:
            return False
        self.left -= steps
        return True


@dataclass(frozen=True, slots=True)
class Block:
    """A run of ``size`` items that are the same: from ``old`` on one side, from ``new`` on the other."""

    old: int
    new: int
    size: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Old items from ``old`` to ``old_end`` correspond to new ones from ``new`` to ``new_end``; the same, or not."""

    same: bool
    old: int
    old_end: int
    new: int
    new_end: int


@dataclass(frozen=True, slots=True)
class _Gap:
    old: int
    old_end: int
    new: int
    new_end: int


def pieces(old: Sequence[Hashable], new: Sequence[Hashable], effort: Effort) -> tuple[Piece, ...]:
    """Both sides from begin to end, what is the same and what is not by turns."""
    found = []
    at, at_new = 0, 0
    for block in (*_blocks(old, new, effort), Block(len(old), len(new), 0)):
        if block.old > at or block.new > at_new:
            found.append(Piece(False, at, block.old, at_new, block.new))
        at, at_new = block.old + block.size, block.new + block.size
        if block.size:
            found.append(Piece(True, block.old, at, block.new, at_new))
    return tuple(found)


def hunks(found: Iterable[Piece], context: int = 3) -> Iterator[tuple[Piece, ...]]:
    """What differs, with up to ``context`` equal items around it; differences that near to each other go together."""
    hunk: list[Piece] = []
    whole = tuple(found)
    for number, piece in enumerate(whole):
        if not piece.same:
            hunk.append(piece)
            continue
        size = piece.old_end - piece.old
        last = number == len(whole) - 1
        if hunk and not last and size <= 2 * context:
            hunk.append(piece)
            continue
        if hunk:
            yield (*hunk, _part(piece, 0, min(context, size))) if context else tuple(hunk)
            hunk = []
        if not last and context:
            hunk = [_part(piece, max(0, size - context), size)]
    if any(not piece.same for piece in hunk):
        yield tuple(hunk)


def _part(piece: Piece, start: int, end: int) -> Piece:
    return Piece(True, piece.old + start, piece.old + end, piece.new + start, piece.new + end)


def _blocks(old: Sequence[Hashable], new: Sequence[Hashable], effort: Effort) -> list[Block]:
    """Every run that is the same, in order, none that touches the next."""
    numbers: dict[Hashable, int] = {}
    left = [numbers.setdefault(item, len(numbers)) for item in old]
    right = [numbers.setdefault(item, len(numbers)) for item in new]
    found: list[Block] = []
    todo = [_Gap(0, len(left), 0, len(right))]
    while todo:
        gap = _trimmed(left, right, todo.pop(), found)
        if gap is None:
            continue
        if not effort.pay(gap.old_end - gap.old + gap.new_end - gap.new):
            found += _by_place(left, right, gap)
            continue
        anchors = _anchors(left, right, gap)
        if not anchors:
            found += _longest_runs(left, right, gap, effort)
            continue
        ends = [(gap.old - 1, gap.new - 1), *anchors, (gap.old_end, gap.new_end)]
        found += (Block(one, other, 1) for one, other in anchors)
        todo += (_Gap(a[0] + 1, b[0], a[1] + 1, b[1]) for a, b in pairwise(ends))
    return _joined(found)


def _trimmed(left: list[int], right: list[int], gap: _Gap, found: list[Block]) -> _Gap | None:
    """The gap without what its begin and its end have in common, which is noted; None where nothing can be left."""
    old, old_end, new, new_end = gap.old, gap.old_end, gap.new, gap.new_end
    while old < old_end and new < new_end and left[old] == right[new]:
        old, new = old + 1, new + 1
    if old > gap.old:
        found.append(Block(gap.old, gap.new, old - gap.old))
    while old < old_end and new < new_end and left[old_end - 1] == right[new_end - 1]:
        old_end, new_end = old_end - 1, new_end - 1
    if old_end < gap.old_end:
        found.append(Block(old_end, new_end, gap.old_end - old_end))
    return _Gap(old, old_end, new, new_end) if old < old_end and new < new_end else None


def _anchors(left: list[int], right: list[int], gap: _Gap) -> list[tuple[int, int]]:
    """Items that stand once on both sides: the longest chain of them that keeps its order."""
    here, there = Counter(left[gap.old : gap.old_end]), Counter(right[gap.new : gap.new_end])
    places = {right[at]: at for at in range(gap.new, gap.new_end) if there[right[at]] == 1}
    pairs = [(at, places[left[at]]) for at in range(gap.old, gap.old_end) if here[left[at]] == 1 and left[at] in places]
    tops: list[int] = []  # of each pile the place on the new side
    piles: list[int] = []  # of each pile which pair lies on top
    below: list[int] = []
    for number, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        below.append(piles[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [place]
        piles[pile : pile + 1] = [number]
    chain = []
    number = piles[-1] if piles else -1
    while number >= 0:
        chain.append(pairs[number])
        number = below[number]
    return chain[::-1]


def _longest_runs(left: list[int], right: list[int], gap: _Gap, effort: Effort) -> list[Block]:
    """As difflib finds them, each search paid for before it begins."""
    here, there = left[gap.old : gap.old_end], right[gap.new : gap.new_end]
    matcher = difflib.SequenceMatcher(None, here, there, autojunk=False)
    times = Counter(there)
    cost = list(accumulate((1 + times[item] for item in here), initial=0))
    found = []
    todo = [_Gap(0, len(here), 0, len(there))]
    while todo:
        one = todo.pop()
        if one.old == one.old_end or one.new == one.new_end:
            continue
        if not effort.pay(cost[one.old_end] - cost[one.old]):
            found += [
                Block(block.old + gap.old, block.new + gap.new, block.size) for block in _by_place(here, there, one)
            ]
            continue
        at, at_new, size = matcher.find_longest_match(one.old, one.old_end, one.new, one.new_end)
        if size:
            found.append(Block(at + gap.old, at_new + gap.new, size))
            todo.append(_Gap(one.old, at, one.new, at_new))
            todo.append(_Gap(at + size, one.old_end, at_new + size, one.new_end))
    return found


def _by_place(left: list[int], right: list[int], gap: _Gap) -> list[Block]:
    """What stands at the same distance from the begin of the gap; its cost is its length."""
    both = zip(range(gap.old, gap.old_end), range(gap.new, gap.new_end), strict=False)
    return [Block(one, other, 1) for one, other in both if left[one] == right[other]]


def _joined(found: list[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in sorted(found, key=lambda one: one.old):
        last = joined[-1] if joined else None
        if last is not None and (last.old + last.size, last.new + last.size) == (block.old, block.new):
            joined[-1] = Block(last.old, last.new, last.size + block.size)
        else:
            joined.append(block)
    return joined
