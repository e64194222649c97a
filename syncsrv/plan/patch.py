"""The difference between two contents as text. Pure."""

from __future__ import annotations

import difflib

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
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        "/dev/null" if old is None else f"a{show_path(path)}",
        "/dev/null" if new is None else f"b{show_path(path)}",
        lineterm="",
    )
    return "\n".join(lines)


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    if lines[-1] == "":
        lines.pop()
    elif data:
        lines[-1] += "\n\\ No newline at end of file"
    return lines
