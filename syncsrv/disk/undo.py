"""Put back what an apply has written, as far as it came. Right after an error, and at the next start after a crash.

Nothing is remembered but the journal's operations: what has to be done is read from the disk. Each path that an
operation names is in one of few states, since every step of ``write_all`` (and of this) is one rename, unlink or rmdir:

- as the pre-image says: nothing to do;
- as it was wanted, or absent where a directory changes places with a file, or a directory of which some attributes
  are changed and others not yet: put back;
- anything else: a person has changed it since. Their work is not ours to overwrite. It stays, is reported, and the
  next scan commits it as drift, with the pre-image before it in the history.

So an undo may be killed at any point and run again. It keeps going where one path fails, and says so: what could be
put back is, and the caller keeps the journal until nothing failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from syncsrv.disk.attributes import ACCESS_ACL
from syncsrv.disk.file_errors import (
    ChangedError,
    DirectoryNotEmptyError,
    FileError,
    LinkInPathError,
    MissingDirectoryError,
    NotDirectoryError,
    SpecialFileError,
)
from syncsrv.disk.files import LiveFiles
from syncsrv.disk.observe import differences
from syncsrv.disk.operations import Operation, undo_temp
from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import Entry, Kind, Tree

_TAKEN = (ChangedError, DirectoryNotEmptyError, LinkInPathError, NotDirectoryError, MissingDirectoryError)
"""What it looks like when somebody else has taken a path, or a directory on the way to it."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A path that somebody changed between the apply and its undo; left as it is.

    Attributes:
        path: which.
        how: it differs from what stood there before the apply, in words.
    """

    path: bytes
    how: str


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What an undo did.

    Attributes:
        restored: paths that were put back.
        edited: paths that were left to whoever changed them.
        failed: why others could not be put back; the journal has to stay, and the undo to be run again.
    """

    restored: tuple[bytes, ...]
    edited: tuple[Edited, ...]
    failed: tuple[SyncsrvError, ...]


def undo(files: LiveFiles, job: str, operations: Sequence[Operation], pre: Tree, wanted: Tree) -> UndoReport:
    """Make every path that operations name what it was before them.

    Args:
        files: where.
        job: the job's id, as in its temporaries' names.
        operations: as the journal has them.
        pre: the pre-image.
        wanted: what the operations were to bring about.
    """
    return _Undo(files, job, operations, pre, wanted).run()


class _Undo:
    def __init__(self, files: LiveFiles, job: str, operations: Sequence[Operation], pre: Tree, wanted: Tree) -> None:
        self._files = files
        self._job = job
        self._operations = operations
        self._pre = pre
        self._wanted = wanted
        self._numbers = {operation.path: number for number, operation in enumerate(operations)}
        self._restored: list[bytes] = []
        self._edited: dict[bytes, Edited] = {}
        self._failed: list[SyncsrvError] = []
        self._barred: set[bytes] = set()

    def run(self) -> UndoReport:
        self._files.begin()
        now = self._ours()
        self._reset_directories(now)
        self._discard_temporaries()
        self._clear(now)
        lost = {path: live for path, live in now.items() if path in self._pre and path not in self._barred}
        directories = [path for path in lost if _is_directory(self._pre[path])]
        for _, level in groupby(sorted(directories, key=_depth), key=_depth):
            self._refill({path: lost.pop(path) for path in level})
        self._refill(lost)
        with self._trying():
            self._files.flush()
        edited = tuple(self._edited[path] for path in sorted(self._edited))
        return UndoReport(tuple(sorted(self._restored)), edited, tuple(self._failed))

    def _ours(self) -> dict[bytes, Entry | None]:
        """What stands now at each path that the apply, and nobody else, has changed; sorted by path."""
        ours: dict[bytes, Entry | None] = {}
        for path in sorted(self._numbers):
            try:
                live = self._files.observe(path)
            except LinkInPathError:
                live = None
            except SpecialFileError as error:
                self._leave(path, f"it is a {error.what} now")
                continue
            except FileError as error:
                self._failed.append(error)
                continue
            before = self._here(path, self._pre, restoring=True)
            planned = self._here(path, self._wanted, restoring=False)
            if before is None and planned is None:
                planned = self._files.parent_entry()
            if live == before:
                continue
            if live == planned or _is_between(live, before, planned):
                ours[path] = live
            else:
                self._leave(path, differences(before, live))
        return ours

    def _here(self, path: bytes, tree: Tree, *, restoring: bool) -> Entry | None:
        entry = tree.get(path)
        return self._files.as_here(path, entry, restoring=restoring) if entry else None

    def _reset_directories(self, now: dict[bytes, Entry | None]) -> None:
        """Attributes first: a directory that we may not write could not give up its temporaries."""
        for path, live in list(now.items()):
            before = self._pre.get(path)
            if before is not None and _is_directory(before) and live is not None and _is_directory(live):
                del now[path]
                with self._trying(path):
                    self._files.set_metadata(path, before, live, restoring=True)
                    self._restored.append(path)

    def _discard_temporaries(self) -> None:
        """Those of the apply, and those of an undo that did not come to its end."""
        for number, operation in enumerate(self._operations):
            for temp in {operation.temp, undo_temp(operation.path, self._job, number)}:
                if temp:
                    with self._trying(operation.path):
                        self._files.discard(temp)

    def _clear(self, now: dict[bytes, Entry | None]) -> None:
        """Remove what was not there, and what bars the place of a directory or stands as one in a file's place."""
        for path in sorted(now, key=lambda path: (-path.count(b"/"), path)):
            live, before = now[path], self._pre.get(path)
            if live is None or (before is not None and _is_directory(live) is _is_directory(before)):
                continue
            with self._trying(path):
                self._files.remove(path, live)
                now[path] = None
                if before is None:
                    self._restored.append(path)

    def _refill(self, now: Mapping[bytes, Entry | None]) -> None:
        """Put back what was there: all contents first, then the renames."""
        ready: dict[bytes, bytes] = {}
        for path in now:
            temp = undo_temp(path, self._job, self._numbers[path])
            with self._trying(path):
                self._files.prepare(path, self._pre[path], temp, restoring=True)
                ready[path] = temp
            if path not in ready:
                with self._trying(path):
                    self._files.discard(temp)
        with self._trying():
            self._files.settle()
            for path in list(ready):
                with self._trying(path):
                    self._files.commit_temp(path, ready[path], now[path])
                    del ready[path]
                    self._restored.append(path)
        for path, temp in ready.items():
            with self._trying(path):
                self._files.discard(temp)

    def _leave(self, path: bytes, how: str) -> None:
        self._edited.setdefault(path, Edited(path, how))
        self._barred.add(path)

    @contextmanager
    def _trying(self, path: bytes | None = None) -> Iterator[None]:
        """Note what fails and go on: what can be put back shall be.

        Args:
            path: the path that it is about; None where it is about all.
        """
        try:
            yield
        except _TAKEN as error:
            if path is None:
                self._failed.append(error)
            else:
                self._leave(path, error.how if isinstance(error, ChangedError) else error.message)
        except SyncsrvError as error:
            self._failed.append(error)
            if path is not None:
                self._barred.add(path)


def _depth(path: bytes) -> int:
    return path.count(b"/")


def _is_directory(entry: Entry) -> bool:
    return entry.kind is Kind.DIRECTORY


def _is_between(live: Entry | None, before: Entry | None, planned: Entry | None) -> bool:
    """Whether this is what a step leaves that changes ``before`` into ``planned``, or back."""
    if before is None or planned is None:
        return False
    if not _is_directory(before) or not _is_directory(planned):
        return live is None and _is_directory(before) is not _is_directory(planned)
    if live is None or not _is_directory(live):
        return False
    return (
        live.mode in {before.mode, planned.mode}
        and live.user in {before.user, planned.user}
        and live.group in {before.group, planned.group}
        and all(_of_either(name, value, before, planned) for name, value in live.xattrs)
    )


def _of_either(name: str, value: bytes, before: Entry, planned: Entry) -> bool:
    """An ACL may be neither: a change of mode on the way rewrites its mask."""
    if name == ACCESS_ACL:
        return any(name == known for known, _ in (*before.xattrs, *planned.xattrs))
    return (name, value) in before.xattrs or (name, value) in planned.xattrs
