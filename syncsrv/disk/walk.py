"""From a tree path to the open directory that holds it, following no link below the root.

Each component is opened from the one above it with O_NOFOLLOW, so a link that somebody puts in the way, before or
while we look, ends the walk instead of leading it elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncsrv.disk.file_errors import (
    ChangedError,
    LinkInPathError,
    MissingDirectoryError,
    NotDirectoryError,
    RootError,
    UnsafePathError,
)
from syncsrv.plan.tree import CLUSTER_PATH

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_LONGEST_NAME = 255
_LONGEST_PATH = 4095
_TEMP_NAME = re.compile(rb"\.syncsrv-[A-Za-z0-9-]{1,64}-[0-9]{1,10}\.tmp")
_NEVER = (b"//", b"/./", b"/../")
_OWN_FOLDER = CLUSTER_PATH.rpartition(b"/")[0]


def temp_name(job: str, number: int) -> bytes:
    """The base name of the temporary of a job's ``number``-th operation; the leading dot keeps include globs away.

    Raises:
        ValueError: the job's id does not fit into a name.
    """
    name = f".syncsrv-{job}-{number}.tmp".encode("ascii", "replace")
    if not is_temp_name(name):
        raise ValueError(f"not an id of a job: {job!r}")
    return name


def is_temp_name(name: bytes) -> bool:
    """Whether a base name is that of one of our temporaries."""
    return name.startswith(b".syncsrv-") and _TEMP_NAME.fullmatch(name) is not None


def checked_path(path: bytes, *, temporary: bool = False) -> bytes:
    """The path itself, if it is one that we would write.

    Args:
        path: a tree path.
        temporary: it has to be one of our temporaries; else it must not be.

    Raises:
        UnsafePathError: absolute, empty or long components, ``.`` or ``..``, a NUL, or a temporary's name.
    """
    if b"\0" in path:
        raise UnsafePathError(path, "it contains a NUL")
    if path.startswith(b"/"):
        raise UnsafePathError(path, "it is absolute")
    if len(path) > _LONGEST_PATH:
        raise UnsafePathError(path, f"it is longer than {_LONGEST_PATH} bytes")
    framed = b"/" + path + b"/"
    for bad in _NEVER:
        if bad in framed:
            raise UnsafePathError(path, f"it has the component '{bad.decode().strip('/')}'")
    components = path.split(b"/")
    if max(map(len, components)) > _LONGEST_NAME:
        raise UnsafePathError(path, f"a name in it is longer than {_LONGEST_NAME} bytes")
    if is_temp_name(components[-1]) is not temporary or any(map(is_temp_name, components[:-1])):
        raise UnsafePathError(path, "names like .syncsrv-JOB-N.tmp are kept for an apply's own temporary files")
    if components[0] == _OWN_FOLDER and path != CLUSTER_PATH and not (temporary and len(components) == 2):
        raise UnsafePathError(path, f"nothing below {_OWN_FOLDER.decode()} but cluster.yaml is a file of a node")
    return path


class Walker:
    """Opens the directories of one managed root.

    Args:
        root: the managed root; it may be reached through links, since node.yaml names it.
        cluster_file: where CLUSTER_PATH lies on this node; None where it is not written at all.
    """

    def __init__(self, root: Path, cluster_file: Path | None) -> None:
        self._root = root
        self._cluster_file = cluster_file

    @contextmanager
    def parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The open directory that holds ``path``, and the path's name in it.

        Raises:
            LinkInPathError, NotDirectoryError, MissingDirectoryError, ChangedError: the way there is barred.
            RootError: not even the root can be opened.
            OSError: as the kernel says.
        """
        above, _, name = path.rpartition(b"/")
        if path == CLUSTER_PATH and self._cluster_file is not None:
            name = os.fsencode(self._cluster_file.name)
        handle = self.open_directory(path, above)
        try:
            yield handle, name
        finally:
            os.close(handle)

    def open_directory(self, path: bytes, above: bytes) -> int:
        """A descriptor of the directory ``above``, which the caller closes.

        Args:
            path: what it is opened for, for the error.
            above: tree path of the directory; empty for the root.
        """
        if above != _OWN_FOLDER:
            return self._walk(path, above)
        if self._cluster_file is None:
            raise UnsafePathError(path, "cluster.yaml is not written here")
        return _open_top(self._cluster_file.parent)

    def _walk(self, path: bytes, above: bytes) -> int:
        handle = _open_top(self._root)
        done: list[bytes] = []
        for component in above.split(b"/") if above else ():
            done.append(component)
            try:
                deeper = os.open(component, DIRECTORY_FLAGS, dir_fd=handle)
            except OSError as error:
                why = _why_barred(error, handle, component, path, b"/".join(done))
                raise why from error
            finally:
                os.close(handle)
            handle = deeper
        return handle


def _open_top(directory: Path) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RootError(str(directory), error.strerror or str(error)) from error


def _why_barred(error: OSError, handle: int, component: bytes, path: bytes, way: bytes) -> Exception:
    """Why a component did not open: with O_DIRECTORY the kernel says ENOTDIR for a link and for a file alike."""
    if error.errno == errno.ENOENT:
        return MissingDirectoryError(path, way)
    if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
        return error
    try:
        mode = os.lstat(component, dir_fd=handle).st_mode
    except FileNotFoundError:
        return MissingDirectoryError(path, way)
    if stat.S_ISLNK(mode):
        return LinkInPathError(path, way)
    if stat.S_ISDIR(mode):
        return ChangedError(path, "a directory on the way to it was replaced")
    return NotDirectoryError(path, way)
