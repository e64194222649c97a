"""The difference between two contents as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncsrv.plan.patience import Effort, Piece, hunks, pieces
from syncsrv.plan.tree import show_path

LOOKED_AT = 8000
"""Bytes in which a NUL makes content binary, as Git does it."""

LARGEST = 1024 * 1024
"""Bytes above which no difference is computed."""


def is_binary(data: bytes) -> bool:
    """Whether content is not text, by Git's rule."""
    return b"\0" in data[:LOOKED_AT]


def unified(path: bytes, old: bytes | None, new: bytes | None) -> str:
    """A unified difference; empty where one side is binary or too large.

    Args:
        path: named in its head.
        old: content before; None where there was none.
        new: content after; None where there is none.
    """
    before, after = old or b"", new or b""
    if is_binary(before) or is_binary(after) or max(len(before), len(after)) > LARGEST:
        return ""
    left, right = _lines(before), _lines(after)
    found = list(hunks(pieces(left, right, Effort())))
    if not found:
        return ""
    head = [
        f"--- {'/dev/null' if old is None else f'a{show_path(path)}'}",
        f"+++ {'/dev/null' if new is None else f'b{show_path(path)}'}",
    ]
    return "\n".join([*head, *(line for hunk in found for line in _hunk(hunk, left, right))])


def _hunk(hunk: Sequence[Piece], left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    first, last = hunk[0], hunk[-1]
    yield f"@@ -{_range(first.old, last.old_end)} +{_range(first.new, last.new_end)} @@"
    for piece in hunk:
        if piece.same:
            yield from (f" {line}" for line in left[piece.old : piece.old_end])
        else:
            yield from (f"-{line}" for line in left[piece.old : piece.old_end])
            yield from (f"+{line}" for line in right[piece.new : piece.new_end])


def _range(start: int, end: int) -> str:
    """As diff writes it: a count of one is left out, and an empty range names the line before it."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + 1 if count else start},{count}"


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    if lines[-1] == "":
        lines.pop()
    elif data:
        lines[-1] += "\n\\ No newline at end of file"
    return lines
