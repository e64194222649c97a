"""Many loose objects and packs become one pack. Nothing is ever pruned by it: what nothing refers to goes along.

The pack is built beside a repository in use, from objects that never change; only to put it in the place of what it
holds does it take the writer lock. Versions of one path are written as deltas of the next newer one: where a text or a
tree was edited in one place, a delta is two copies with something in between, which needs no search.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from syncsrv.store import gitformat
from syncsrv.store.files import DamagedObjectError, writing
from syncsrv.store.gitformat import DIRECTORY
from syncsrv.store.packs import PackWriter, read_all
from syncsrv.store.repo import Store

LOOSE_DUE = 3000
PACKS_DUE = 40
_DEEPEST = 40
"""Deltas on deltas: each is a read more for the oldest version."""

_COPY_MOST = 0xFFFF
_INSERT_MOST = 0x7F
_BESIDE_A_PACK = (".idx", ".rev", ".bitmap", ".mtimes", ".pack")
"""In the order in which they go: without its index nobody opens a pack any more."""


def is_due(store: Store) -> bool:
    """Whether so much is loose, or in so many packs, that reading becomes slow."""
    folder = store.path / "objects"
    loose = sum(len(os.listdir(entry)) for entry in os.scandir(folder) if len(entry.name) == 2)
    return loose > LOOSE_DUE or len(list((folder / "pack").glob("*.pack"))) > PACKS_DUE


def repack(store: Store, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Put all objects that are there now into one pack.

    Args:
        store: the repository; it may be read and written meanwhile.
        should_stop: asked between objects; True ends it with nothing changed.

    Returns:
        How many objects the pack has; 0 where it was stopped, or there is nothing to gain.

    Raises:
        DamagedObjectError: one cannot be read; nothing was changed.
        NoSpaceError, UnwritableError: nothing was lost.
    """
    folder = store.path / "objects" / "pack"
    old_packs = [path for path in folder.glob("*.pack") if not path.with_suffix(".keep").exists()]
    ids = set(store.objects.ids())
    loose = {object_id for object_id in ids if _loose(store, object_id).exists()}
    if not ids or (not loose and len(old_packs) == 1):
        return 0
    with writing(store.path):
        new = _write(store, folder, ids, should_stop)
        if new is None:
            return 0
        _read_back(new, ids)
        with store.writer():
            _remove(store, new, loose, old_packs)
    return len(ids)


def _write(store: Store, folder: Path, ids: set[str], should_stop: Callable[[], bool]) -> Path | None:
    writer = PackWriter(folder)
    try:
        for object_id, base in _order(store, ids):
            if should_stop():
                writer.abort()
                return None
            _add(store, writer, object_id, base)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def _read_back(pack: Path, ids: set[str]) -> None:
    """Be sure, before anything goes, that all is in the pack as it was; else the pack goes."""
    left = set(ids)
    try:
        for object_id, found in read_all(pack):
            if gitformat.object_id(*found) != object_id:
                raise DamagedObjectError(object_id, "it was not packed as it is")
            left.discard(object_id)
        if left:
            raise DamagedObjectError(min(left), "it was not packed")
    except DamagedObjectError:
        for suffix in _BESIDE_A_PACK:
            pack.with_suffix(suffix).unlink(missing_ok=True)
        raise


def _remove(store: Store, new: Path, loose: set[str], old_packs: list[Path]) -> None:
    store.objects.packs.refresh()
    for pack in old_packs:
        if pack != new:
            (pack.parent / "multi-pack-index").unlink(missing_ok=True)
            for suffix in _BESIDE_A_PACK:
                pack.with_suffix(suffix).unlink(missing_ok=True)
    for object_id in loose:
        _loose(store, object_id).unlink(missing_ok=True)
    store.objects.packs.refresh()


def _order(store: Store, ids: set[str]) -> Iterator[tuple[str, str | None]]:
    """Every object, with the newer version of the same path where there is one before it."""
    left = set(ids)
    for versions in _versions(store).values():
        base = None
        for object_id in versions:
            if object_id in left:
                left.discard(object_id)
                yield object_id, base
                base = object_id
    yield from ((object_id, None) for object_id in sorted(left))


def _versions(store: Store) -> dict[bytes, list[str]]:
    """The objects that refs reach, by path, newest first; commits and tags have paths that no file has."""
    found: dict[bytes, list[str]] = {b"//commits": [], b"//tags": []}
    seen: set[str] = set()
    todo = []
    for object_id in store.refs().values():
        if store.kind(object_id) == "tag":
            found[b"//tags"].append(object_id)
        with contextlib.suppress(gitformat.MalformedObjectError):  # a name for a tree or a file: no history below it
            todo.append(store.peel(object_id))
    commits = set(todo)
    while todo:
        fresh = [parent for parent in store.parents(todo.pop()) if parent not in commits]
        commits.update(fresh)
        todo.extend(fresh)
    for commit in sorted(commits, key=lambda one: store.read_commit(one).at_utc, reverse=True):
        found[b"//commits"].append(commit)
        stack = [(b"", store.read_commit(commit).tree)]
        while stack:
            path, tree = stack.pop()
            if tree in seen:
                continue
            seen.add(tree)
            found.setdefault(path + b"/", []).append(tree)
            for name, child in store.children(tree).items():
                if child.mode == DIRECTORY:
                    stack.append((path + b"/" + name, child.id))
                elif child.id not in seen:
                    seen.add(child.id)
                    found.setdefault(path + b"/" + name, []).append(child.id)
    return found


def _add(store: Store, writer: PackWriter, object_id: str, base: str | None) -> None:
    kind, data = store.objects.read(object_id)
    if base is not None and writer.depth(base) < _DEEPEST:
        base_kind, base_data = store.objects.read(base)
        delta = make_delta(base_data, data)
        if base_kind == kind and len(delta) * 2 < len(data):
            writer.add_delta(object_id, base, delta)
            return
    writer.add(object_id, kind, data)


def make_delta(base: bytes, data: bytes) -> bytes:
    """Git's delta from ``base`` to ``data``: what they begin with, what is between, what they end with."""
    start = _common(base, data)
    most = min(len(base), len(data)) - start
    end = _common(base[len(base) - most :][::-1], data[len(data) - most :][::-1]) if most else 0
    middle = data[start : len(data) - end]
    inserts = (middle[at : at + _INSERT_MOST] for at in range(0, len(middle), _INSERT_MOST))
    return b"".join(
        (
            _size(len(base)),
            _size(len(data)),
            *_copies(0, start),
            *(bytes((len(piece),)) + piece for piece in inserts),
            *_copies(len(base) - end, end),
        )
    )


def _common(a: bytes, b: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _copies(offset: int, count: int) -> Iterator[bytes]:
    while count:
        size = min(count, _COPY_MOST)
        command, arguments = 0x80, bytearray()
        for bit, byte in enumerate((*offset.to_bytes(4, "little"), *size.to_bytes(2, "little"))):
            if byte:
                command |= 1 << bit
                arguments.append(byte)
        yield bytes((command,)) + bytes(arguments)
        offset += size
        count -= size


def _size(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _loose(store: Store, object_id: str) -> Path:
    return store.path / "objects" / object_id[:2] / object_id[2:]
