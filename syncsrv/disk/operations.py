"""From what stands on the disk and what shall stand there to an ordered list of operations. Pure.

The order is the apply's promise (DESIGN 4.4): what is new or changed comes first, a directory before what it holds;
what goes comes last, deepest first, so that no file refers to one that has gone already. Only where a directory becomes
a file does what it held have to go before. Every step leaves each path either as it was, or as it shall be, or, where
a directory changes places with a file, absent; ``undo`` relies on that.

Temporaries stand in the closest directory that is one before and after: beside the target, unless its directory is
itself new. So all contents can be written, and a full disk found, before the first live path changes.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from syncsrv.disk.file_errors import UnsafeTreeError
from syncsrv.disk.walk import checked_path, temp_name
from syncsrv.plan.tree import Entry, Kind, Tree


class Op(enum.StrEnum):
    """What is done to one path; the words stand in the journal."""

    CREATE = "create"
    REPLACE = "replace"
    REMOVE = "remove"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    META = "meta"


WRITES = frozenset({Op.CREATE, Op.REPLACE, Op.MKDIR})
"""Operations that a temporary is made for."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of an apply.

    Attributes:
        op: what is done.
        path: to which path.
        temp: tree path of its temporary; empty for what needs none.
    """

    op: Op
    path: bytes
    temp: bytes = b""


def plan_operations(pre: Tree, wanted: Tree, job: str, missing: Iterable[bytes] = ()) -> tuple[Operation, ...]:
    """What to do, in order, so that ``pre`` becomes ``wanted``; nothing where they are equal.

    Args:
        pre: what stands there now, of the areas concerned.
        wanted: what shall stand there, of the same areas, directories that have to stay included.
        job: id of the job, for the temporaries' names.
        missing: directories above the areas that do not exist (LiveFiles.missing_parents); each becomes a ``mkdir``
            of a path that neither tree has.

    Raises:
        UnsafePathError: a path in ``wanted`` that we would never write.
        UnsafeTreeError: something in ``wanted`` lies below what is no directory there.
        ValueError: ``job`` does not fit into a file name.
    """
    check_tree(pre, wanted)
    above = frozenset(missing)
    return tuple(_Planner(pre, wanted, job, above).steps())


def check_tree(pre: Tree, wanted: Tree) -> None:
    """Refuse a tree that no disk could hold, such as a link ``x`` beside ``x/y``.

    Raises:
        UnsafePathError, UnsafeTreeError: see ``plan_operations``.
    """
    sound: set[bytes] = set()
    for path in sorted(wanted):
        checked_path(path)
        for parent in _above(path):
            if parent in sound:
                break
            entry = wanted.get(parent)
            if entry is not None and entry.kind is not Kind.DIRECTORY:
                raise UnsafeTreeError(path, parent, "is not a directory")
            if entry is None and parent in pre:
                raise UnsafeTreeError(path, parent, "is missing")
            sound.add(parent)


class _Planner:
    def __init__(self, pre: Tree, wanted: Tree, job: str, missing: frozenset[bytes]) -> None:
        self._pre = pre
        self._wanted = wanted
        self._job = job
        self._missing = missing
        self._planned: list[Operation] = []
        self._going = sorted(path for path in pre if path not in wanted)

    def steps(self) -> list[Operation]:
        gone: set[bytes] = set()
        for path in sorted(self._missing | self._wanted.keys()):
            entry, before = self._wanted.get(path), self._pre.get(path)
            if entry is None:
                if before is None:
                    self._add(Op.MKDIR, path)
            elif before is None:
                self._add(Op.MKDIR if entry.kind is Kind.DIRECTORY else Op.CREATE, path)
            elif _is_directory(before) and not _is_directory(entry):
                below = self._below(path)
                self._remove(below)
                gone.update(below)
                self._add(Op.RMDIR, path)
                self._add(Op.CREATE, path)
            elif _is_directory(entry) and not _is_directory(before):
                self._add(Op.REMOVE, path)
                self._add(Op.MKDIR, path)
            elif before != entry:
                self._add(Op.META if _is_directory(entry) else Op.REPLACE, path)
        self._remove(path for path in self._going if path not in gone)
        return self._planned

    def _below(self, path: bytes) -> list[bytes]:
        first = bisect_left(self._going, path + b"/")
        return self._going[first : bisect_left(self._going, path + b"0", first)]  # "0" is what follows "/"

    def _remove(self, paths: Iterable[bytes]) -> None:
        for path in sorted(paths, key=lambda path: (-path.count(b"/"), path)):
            self._add(Op.RMDIR if _is_directory(self._pre[path]) else Op.REMOVE, path)

    def _add(self, op: Op, path: bytes) -> None:
        temp = b""
        if op in WRITES:
            temp = beside(self._steady(path), temp_name(self._job, len(self._planned)))
        self._planned.append(Operation(op, path, temp))

    def _steady(self, path: bytes) -> bytes:
        """The closest directory above ``path`` that is there before, and stays."""
        for parent in _above(path):
            entry, before = self._wanted.get(parent), self._pre.get(parent)
            if parent in self._missing or (entry is None) is not (before is None):
                continue
            if (entry is None or _is_directory(entry)) and (before is None or _is_directory(before)):
                return parent
        return b""


def _above(path: bytes) -> Iterator[bytes]:
    """The directories above a path, deepest first; one at a time, since hostile paths are two thousand deep."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _is_directory(entry: Entry) -> bool:
    return entry.kind is Kind.DIRECTORY


def beside(directory: bytes, name: bytes) -> bytes:
    """The tree path of a name in a directory."""
    return directory + b"/" + name if directory else name


def undo_temp(path: bytes, job: str, number: int) -> bytes:
    """The temporary that an undo makes for its ``number``-th operation: always beside the target."""
    return beside(path.rpartition(b"/")[0], temp_name(job, number))
