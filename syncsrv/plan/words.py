"""How lists are put into sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 5
"""How many items a sentence names before it counts the rest."""


def listed(items: Iterable[str]) -> str:
    """``a, b, c and 4 more``."""
    shown = list(items)
    rest = len(shown) - SHOWN
    return ", ".join(shown[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
