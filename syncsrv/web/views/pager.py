"""One page of a long list. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pager:
    """Where a page stands; ``start`` and ``end`` count from 1, ``previous`` and ``next`` are addresses or empty."""

    page: int
    last: int
    size: int
    start: int
    end: int
    total: int
    previous: str
    next: str


def pager(page: int, total: int, size: int, to: Callable[[int], str]) -> Pager:
    """The page asked for, or the nearest that there is.

    Args:
        page: from 1.
        total: items of the whole list.
        size: items of one page.
        to: the address of a page by its number.
    """
    last = max(1, -(-total // size))
    page = min(max(1, page), last)
    start = (page - 1) * size
    return Pager(
        page=page,
        last=last,
        size=size,
        start=start + 1,
        end=min(total, start + size),
        total=total,
        previous=to(page - 1) if page > 1 else "",
        next=to(page + 1) if page < last else "",
    )
