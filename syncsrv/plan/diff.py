"""The difference between two trees, as data. Pure.

The same comparison serves the page, the plan, drift and the read-back, so that none of them can disagree with
another about what "equal" means.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from syncsrv.plan.tree import Entry, Kind, Tree


class Difference(enum.StrEnum):
    """How a path differs; of several, the first in this order is named."""

    ADDED = "added"
    REMOVED = "removed"
    TYPE = "type"
    CHANGED = "changed"
    MODE = "mode"
    OWNER = "owner"
    XATTR = "xattr"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs; ``old`` or ``new`` is None where it does not exist on that side."""

    path: bytes
    area: str
    old: Entry | None
    new: Entry | None

    @property
    def difference(self) -> Difference:
        old, new = self.old, self.new
        if old is None:
            return Difference.ADDED
        if new is None:
            return Difference.REMOVED
        if old.kind is not new.kind:
            return Difference.TYPE
        if old.blob != new.blob:
            return Difference.CHANGED
        if old.mode != new.mode:
            return Difference.MODE
        return Difference.XATTR if (old.user, old.group) == (new.user, new.group) else Difference.OWNER

    @property
    def is_deletion(self) -> bool:
        """Whether a file or link goes away; an emptied directory alone loses nobody's work."""
        return self.new is None and self.old is not None and self.old.kind is not Kind.DIRECTORY


def compare(old: Tree, new: Tree, area_of: Callable[[bytes], str | None]) -> tuple[Change, ...]:
    """Every path that differs between two trees, by path; paths outside all areas do not count."""
    changes = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        area = area_of(path)
        if area is not None:
            changes.append(Change(path, area, before, after))
    return tuple(changes)


def restrict(tree: Tree, names: Iterable[str], area_of: Callable[[bytes], str | None]) -> dict[bytes, Entry]:
    """The part of a tree that belongs to the named areas."""
    wanted = frozenset(names)
    return {path: entry for path, entry in tree.items() if area_of(path) in wanted}


def deletions(changes: Iterable[Change]) -> int:
    """How many files and links go away."""
    return sum(change.is_deletion for change in changes)
