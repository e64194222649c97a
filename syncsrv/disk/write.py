"""The writing of an apply, from the first temporary to the last fsync (DESIGN 4.4, steps 5 and 6).

On any error it stops where it is: putting things back is ``undo``'s, the same after an error as after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from syncsrv.disk.files import LiveFiles
from syncsrv.disk.operations import WRITES, Op, Operation
from syncsrv.plan.tree import Tree

Progress: TypeAlias = Callable[[int, int], None]
"""Called before each step with how many are done and how many there are. It may raise, to abort the apply."""


def no_progress(done: int, total: int) -> None:
    """For who does not watch."""


def write_all(
    files: LiveFiles,
    operations: Sequence[Operation],
    pre: Tree,
    wanted: Tree,
    progress: Progress = no_progress,
) -> None:
    """Carry out operations, and return when all of it is durable.

    Args:
        files: where they are written.
        operations: from ``plan_operations``, in the journal by now.
        pre: what stands there; each path is looked at again before it is touched.
        wanted: what shall stand there.
        progress: see ``Progress``; contents and live paths count as one step each.

    Raises:
        FileError: a path could not be written; ChangedError: somebody else changed it meanwhile.
    """
    files.begin()
    writing = [operation for operation in operations if operation.op in WRITES]
    total = len(writing) + len(operations)
    for done, operation in enumerate(writing):
        progress(done, total)
        entry = wanted.get(operation.path) or files.parent_entry()
        files.prepare(operation.path, entry, operation.temp)
    files.settle()
    absent = _absent(operations)
    for done, operation in enumerate(operations, start=len(writing)):
        progress(done, total)
        _carry_out(files, operation, pre, wanted, absent)
    files.flush()
    progress(total, total)


def _absent(operations: Iterable[Operation]) -> frozenset[bytes]:
    """Paths that an operation makes room at before another one fills them."""
    removed = {operation.path for operation in operations if operation.op in {Op.REMOVE, Op.RMDIR}}
    return frozenset(operation.path for operation in operations if operation.op in WRITES and operation.path in removed)


def _carry_out(files: LiveFiles, operation: Operation, pre: Tree, wanted: Tree, absent: frozenset[bytes]) -> None:
    path = operation.path
    expected = pre.get(path)
    match operation.op:
        case Op.CREATE | Op.REPLACE | Op.MKDIR:
            files.commit_temp(path, operation.temp, None if path in absent else expected)
        case Op.META:
            files.set_metadata(path, wanted[path], pre[path])
        case Op.REMOVE | Op.RMDIR:
            files.remove(path, pre[path])
