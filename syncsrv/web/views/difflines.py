"""Two texts as hunks of lines, unified or side by side, with the words that differ marked. Pure.

What is shown is a true account: the text of every line with its ending, no line that differs left out. Only the middle
of a very long line is not shown, and its length is said instead. Text made to hurt costs what ``Effort`` allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from syncsrv.plan.patience import Effort, Piece, hunks, pieces

CONTEXT = 3
LONGEST_LINE = 2000
"""Characters of a line that are shown."""
LONGEST_MARKED = 1000
"""Characters of a line above which no words are marked in it."""
MOST_MARKED = 200
"""Lines of a block above which no words are marked in it."""
LEAST_ALIKE = 0.4
"""Part of two lines' text that must be the same; below, marks would be noise."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_HEADING = re.compile(r"[A-Za-z_$\[<]")
_LOOKED_BACK = 300
_LONGEST_HEADING = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one side.

    Attributes:
        number: from 1.
        text: without its ending; where ``cut``, only the begin of it.
        ending: newline, carriage return and newline, or empty at the end of a text that does not end in one.
        marks: begin and end of what differs from the line opposite, in order.
        cut: how many characters at its end are not shown.
    """

    number: int
    text: str
    ending: str = "\n"
    marks: tuple[tuple[int, int], ...] = ()
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One line on both sides, or on one; ``same`` where both say the same."""

    old: Line | None
    new: Line | None
    same: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that are the same, or that became others; ``paired``: each with its own successor opposite."""

    same: bool
    old: tuple[Line, ...]
    new: tuple[Line, ...]
    paired: bool = False


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that differ, with those around them.

    Attributes:
        old_start, new_start: numbers of the first line on both sides.
        new_size: how many new lines it has, whether shown or not.
        heading: the nearest line above that begins a section.
        blocks: the lines.
    """

    old_start: int
    new_start: int
    new_size: int
    heading: str
    blocks: tuple[Block, ...]

    def unified(self) -> Iterator[Row]:
        """Old lines above new ones; one by one where each has its successor."""
        for block in self.blocks:
            if block.same:
                yield from (Row(a, b, True) for a, b in zip(block.old, block.new, strict=True))
            elif block.paired:
                for a, b in zip(block.old, block.new, strict=True):
                    yield Row(a, None, False)
                    yield Row(None, b, False)
            else:
                yield from (Row(line, None, False) for line in block.old)
                yield from (Row(None, line, False) for line in block.new)

    def split(self) -> Iterator[Row]:
        """Old lines left of new ones."""
        for block in self.blocks:
            for a, b in zip_longest(block.old, block.new):
                yield Row(a, b, block.same)


@dataclass(slots=True)
class Efforts:
    """What the differences of one page may cost together: finding lines, and words in them; and how many lines."""

    lines: Effort = field(default_factory=lambda: Effort(6_000_000))
    words: Effort = field(default_factory=lambda: Effort(4_000_000))
    room: Effort = field(default_factory=lambda: Effort(200_000))


@dataclass(frozen=True, slots=True)
class TextDiff:
    """The whole difference; its lines are made when they are asked for, since half a million may differ.

    Attributes:
        added, removed: how many lines.
        left, right: the lines of both sides.
        found: what differs, with its context, hunk by hunk.
        words: what marking words may cost.
    """

    added: int
    removed: int
    left: Sequence[str]
    right: Sequence[str]
    found: tuple[tuple[Piece, ...], ...]
    words: Effort

    def rows(self, split: bool = False) -> int:
        """How many rows all hunks have, unified or side by side."""
        both = max if split else _sum
        return sum(
            one.old_end - one.old if one.same else both(one.old_end - one.old, one.new_end - one.new)
            for hunk in self.found
            for one in hunk
        )

    def hunks(self, limit: int | None = None) -> Iterator[Hunk]:
        """Hunk by hunk; with ``limit`` only so many lines of either side, and none of the hunks after them."""
        for pieces_ in self.found:
            if limit is not None and limit <= 0:
                return
            blocks = []
            for one in pieces_:
                room = limit if limit is not None else one.old_end + one.new_end
                blocks.append(_block(one, self.left, self.right, self.words, room))
                if limit is not None:
                    limit -= max(one.old_end - one.old, one.new_end - one.new)
                    if limit <= 0:
                        break
            first, last = pieces_[0], pieces_[-1]
            lines, start = (self.right, first.new) if self.right else (self.left, first.old)
            yield Hunk(first.old + 1, first.new + 1, last.new_end - first.new, _heading(lines, start), tuple(blocks))


def _sum(one: int, other: int) -> int:
    return one + other


def split_lines(text: str) -> list[str]:
    """Lines with their newline; a form feed or a Unicode separator ends none."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def text_diff(old: str, new: str, efforts: Efforts | None = None) -> TextDiff:
    """Compare two texts.

    Args:
        old: text before; empty where there was none.
        new: text after.
        efforts: what it may cost, shared by all of a page.
    """
    efforts = efforts or Efforts()
    left, right = split_lines(old), split_lines(new)
    found = pieces(left, right, efforts.lines)
    changed = [one for one in found if not one.same]
    return TextDiff(
        added=sum(one.new_end - one.new for one in changed),
        removed=sum(one.old_end - one.old for one in changed),
        left=left,
        right=right,
        found=tuple(hunks(found, CONTEXT)),
        words=efforts.words,
    )


def _heading(lines: Sequence[str], start: int) -> str:
    for at in range(min(start, len(lines)) - 1, max(-1, start - _LOOKED_BACK), -1):
        if _HEADING.match(lines[at]):
            text = lines[at][: _LONGEST_HEADING + 1].strip()
            return text if len(text) <= _LONGEST_HEADING else text[: _LONGEST_HEADING - 1] + "…"
    return ""


def _block(piece: Piece, left: Sequence[str], right: Sequence[str], effort: Effort, room: int) -> Block:
    sizes = (piece.old_end - piece.old, piece.new_end - piece.new)
    old = left[piece.old : piece.old + min(sizes[0], room)]
    new = right[piece.new : piece.new + min(sizes[1], room)]
    nothing: list[Marks] = [()] * max(len(old), len(new))
    marks, marks_new, paired = nothing, nothing, False
    if not piece.same and 0 < sizes[0] == sizes[1] <= MOST_MARKED:
        both = [_marks(_body(a)[0], _body(b)[0], effort) for a, b in zip(old, new, strict=True)]
        paired = all(one is not None for one in both)
        marks, marks_new = [one[0] if one else () for one in both], [one[1] if one else () for one in both]
    return Block(
        piece.same,
        tuple(_line(piece.old + at + 1, text, marks[at]) for at, text in enumerate(old)),
        tuple(_line(piece.new + at + 1, text, marks_new[at]) for at, text in enumerate(new)),
        paired,
    )


Marks = tuple[tuple[int, int], ...]


def _body(line: str) -> tuple[str, str]:
    for ending in ("\r\n", "\n"):
        if line.endswith(ending):
            return line.removesuffix(ending), ending
    return line, ""


def _line(number: int, line: str, marks: Marks) -> Line:
    text, ending = _body(line)
    return Line(number, text[:LONGEST_LINE], ending, marks, max(0, len(text) - LONGEST_LINE))


def _marks(old: str, new: str, effort: Effort) -> tuple[Marks, Marks] | None:
    """What differs in two lines; None where they are not alike, too long, or it may cost no more."""
    if max(len(old), len(new)) > LONGEST_MARKED:
        return None
    left, right = _WORDS.findall(old), _WORDS.findall(new)
    found = pieces(left, right, effort)
    same = sum(len(word) for one in found if one.same for word in left[one.old : one.old_end] if not word.isspace())
    whole = sum(len(word) for word in (*left, *right) if not word.isspace())
    if whole and 2 * same <= LEAST_ALIKE * whole:
        return None
    changed = [one for one in found if not one.same]
    return (
        _places(left, [(one.old, one.old_end) for one in changed]),
        _places(right, [(one.new, one.new_end) for one in changed]),
    )


def _places(words: Sequence[str], ranges: Sequence[tuple[int, int]]) -> Marks:
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return tuple((starts[begin], starts[end]) for begin, end in ranges if begin < end)
