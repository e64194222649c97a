"""Changes as files that are shown: all of them or a part, with what they hold as far as that is text and fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncsrv.control.shapes_history import AreaCount, FileChange, Slice
from syncsrv.core.planned import counted_by_area
from syncsrv.errors import UsageError
from syncsrv.plan.areas import Areas
from syncsrv.plan.diff import Change
from syncsrv.plan.patch import LARGEST, is_binary, unified
from syncsrv.plan.tree import Entry, Kind, show_path, tree_path
from syncsrv.store.repo import Store

ALL_TEXTS = 8 * 1024 * 1024
"""Bytes of contents that one reply tells of; what would be more is marked as large, and can be asked for alone."""

_KINDS = {Kind.FILE: "file", Kind.LINK: "link", Kind.DIRECTORY: "directory"}


@dataclass(slots=True)
class _Room:
    """What is left of ALL_TEXTS."""

    left: int = ALL_TEXTS

    def takes(self, size: int) -> bool:
        if size > self.left:
            return False
        self.left -= size
        return True


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a change; ``data`` is its head where it is larger than can be shown."""

    size: int
    data: bytes


def files_of(store: Store, changes: Sequence[Change], part: Slice, *, patch: bool) -> tuple[FileChange, ...]:
    """The changes that are asked for.

    Args:
        store: where their contents are.
        changes: all, by path.
        part: which of them, and whether with both texts.
        patch: whether with a unified difference.
    """
    room = _Room()
    return tuple(_file(store, change, room, patch=patch, texts=part.texts) for change in _part(changes, part))


def _part(changes: Sequence[Change], part: Slice) -> Sequence[Change]:
    if part.offset < 0 or part.limit < 0:
        raise UsageError(f"cannot show {part.limit} files from the {part.offset}th", "ask for none or more")
    if part.paths:
        wanted = {tree_path(path) for path in part.paths}
        changes = [change for change in changes if change.path in wanted]
    if not part.limit:
        return changes[part.offset :]
    return sorted(changes, key=_rank)[part.offset : part.offset + part.limit]


def _rank(change: Change) -> int:
    """Deletions first, then what comes, then what becomes another; a sort keeps the order by path within them."""
    return 0 if change.new is None else 1 if change.old is None else 2


def counts(changes: Iterable[Change], areas: Areas) -> tuple[AreaCount, ...]:
    """Those of the areas that have changes, in the order of cluster.yaml; last what belongs to none any more."""
    names = (*areas.names, "")
    found = {one.area: one for one in counted_by_area(changes, names)}
    return tuple(found[name] for name in names if found[name] != AreaCount(name))


def _file(store: Store, change: Change, room: _Room, *, patch: bool, texts: bool) -> FileChange:
    old, new = change.old, change.new
    same = old is not None and new is not None and (old.kind, old.blob) == (new.kind, new.blob)
    before = _side(store, old)
    after = before if same else _side(store, new)
    sides = [side for side in (before, after) if side is not None]
    binary = any(is_binary(side.data) for side in sides)
    is_link = any(entry is not None and entry.kind is Kind.LINK for entry in (old, new))
    is_text = not binary and (not same or is_link) and bool(sides)
    large = not same and any(side.size > LARGEST for side in sides)
    if is_text and not large and (patch or texts):
        large = not room.takes(sum(side.size for side in sides) * (patch + texts))
    shown = is_text and not large
    contents = [None if side is None else side.data for side in (before, after)]
    if shown and (patch or texts):
        contents = [_whole(store, side, entry) for side, entry in ((before, old), (after, new))]
    return FileChange(
        path=show_path(change.path),
        status=change.difference.value,
        area=change.area,
        old_mode=f"{old.mode:04o}" if old else None,
        new_mode=f"{new.mode:04o}" if new else None,
        old_owner=f"{old.user}:{old.group}" if old else None,
        new_owner=f"{new.user}:{new.group}" if new else None,
        binary=binary,
        patch=unified(change.path, contents[0], contents[1]) if shown and patch else "",
        old_size=before.size if before else None,
        new_size=after.size if after else None,
        old_blob=old.blob if old else "",
        new_blob=new.blob if new else "",
        large=large,
        old_text=_text(contents[0]) if shown and texts else None,
        new_text=_text(contents[1]) if shown and texts else None,
        old_kind=_KINDS[old.kind] if old else "",
        new_kind=_KINDS[new.kind] if new else "",
    )


def _side(store: Store, entry: Entry | None) -> _Side | None:
    if entry is None or entry.kind is Kind.DIRECTORY:
        return None
    found = store.open_blob(entry.blob)
    return _Side(found.size, found.head)


def _whole(store: Store, side: _Side | None, entry: Entry | None) -> bytes | None:
    if side is None or entry is None:
        return None
    return side.data if len(side.data) == side.size else store.blob(entry.blob)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")
