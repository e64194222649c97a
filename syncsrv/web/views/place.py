"""At which tag a node stands whose areas need not all be at the same one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncsrv.plan.words import listed

SYNC = "sync/"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands.

    Attributes:
        tag: what every area that lags has at least; the newest where none lags; empty for nothing.
        newest: the newest that it has anything of.
        areas: those that have the newest, where others lag; empty where all stand together.
    """

    tag: str
    newest: str
    areas: tuple[str, ...] = ()

    @property
    def partly(self) -> str:
        """``sync/000005 only in dns, firewall``; empty where all stand together."""
        return f"{self.newest} only in {listed(self.areas)}" if self.areas else ""


def place(newest: str | None, areas: Mapping[str, str], lacks: Iterable[str]) -> Place:
    """Where a node stands.

    Args:
        newest: the newest tag applied there.
        areas: area to the tag applied there.
        lacks: areas in which the master has something else.
    """
    newest = newest or ""
    behind = [areas.get(area, "") for area in lacks] if areas else []
    tag = min([*behind, newest], key=by_number)
    return Place(tag, newest, tuple(area for area, has in areas.items() if has == newest) if tag != newest else ())


def by_number(tag: str) -> tuple[bool, int, str]:
    """Orders tags: what somebody made by hand first, then sync tags by their number, however many digits it has."""
    return tag.startswith(SYNC), len(tag), tag
