"""How bytes reach the repository's disk: errors with a name, and temporary files that a sweep knows."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from syncsrv.errors import DamagedError, SyncsrvError

OBJECT_MODE = 0o400
"""Objects and packs never change; the repository is for its owner only."""

_COUNTER = itertools.count()


class NoSpaceError(SyncsrvError):
    """The file system is full; what was there before is untouched."""

    code = "no-space"

    def __init__(self, path: Path, what: str = "the repository") -> None:
        super().__init__(f"cannot write {what} {path}: no space left", "make room on its file system")
        self.path = path


class UnwritableError(SyncsrvError):
    """It cannot be written for another reason of the system."""

    code = "unwritable"

    def __init__(self, path: Path, why: str, what: str = "the repository") -> None:
        super().__init__(f"cannot write {what} {path}: {why}", "see the system's log for this file system")
        self.path = path
        self.why = why


class DamagedObjectError(DamagedError):
    """An object cannot be read, or is not what its id says."""

    def __init__(self, object_id: str, why: str) -> None:
        super().__init__(
            f"cannot read object {object_id} of the repository: {why}",
            "run `git fsck` on it; save the file or sync again to write the object anew, or copy the repository back",
        )
        self.object_id = object_id


class MissingObjectError(DamagedError):
    """An object that something refers to is not there."""

    code = "missing-object"

    def __init__(self, object_id: str, needed_for: str = "") -> None:
        reason = f" ({needed_for})" if needed_for else ""
        super().__init__(
            f"cannot read object {object_id} of the repository: it is missing{reason}",
            "`git fsck` on the repository lists all that is missing; copy these object files from a peer's repository, "
            "or copy the repository back",
        )
        self.object_id = object_id


@contextlib.contextmanager
def writing(path: Path, what: str = "the repository") -> Iterator[None]:
    """Give the system's errors their names.

    Args:
        path: what is written, for the message.
        what: what that is.

    Raises:
        NoSpaceError: disk or quota is full.
        UnwritableError: any other error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(path, what) from error
        raise UnwritableError(path, error.strerror or str(error), what) from error


def temporary(folder: Path, kind: str) -> Path:
    """A name that nobody else uses; ``kind`` is ``obj``, ``pack`` or ``idx``, as Git's own (and its prune) have it."""
    return folder / f"tmp_{kind}_{os.getpid()}_{next(_COUNTER)}"


def create(path: Path) -> int:
    """Open a new file for writing and reading."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def write_all(handle: int, data: bytes) -> None:
    """Write every byte; one call to the system may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def make_folder(path: Path) -> list[Path]:
    """Create a directory and what is missing above it, 0700.

    Returns:
        The directories whose names changed, to be synced.
    """
    changed = []
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        changed.append(folder.parent)
    return changed
