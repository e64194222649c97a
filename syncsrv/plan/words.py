"""How lists, counts and sizes are put into sentences. Pure."""

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


def sized(size: int) -> str:
    """``96 MiB``, ``3.4 MiB``: bytes in the largest unit that leaves at least one, two digits of it."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1023.5:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 9.95 else f"{amount:.0f} {unit}"
