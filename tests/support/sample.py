"""A random part of a long matrix, so that `make test` stays short and sees all of it over the days."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def left_out(cases: Iterable[tuple[T, Hashable, int]], seed: int) -> set[T]:
    """Which cases do not run.

    Args:
        cases: each with the matrix that it belongs to, and how many of that matrix run.
        seed: the same one leaves out the same cases.
    """
    matrices: dict[Hashable, list[T]] = {}
    most: dict[Hashable, int] = {}
    for case, matrix, count in cases:
        matrices.setdefault(matrix, []).append(case)
        most[matrix] = count
    dice = random.Random(seed)
    found: set[T] = set()
    for matrix, members in matrices.items():
        found.update(dice.sample(members, max(0, len(members) - most[matrix])))
    return found
