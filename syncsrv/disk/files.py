"""The only writer of managed files (DESIGN laws 4, 7, 8).

A file is written beside its target under a temporary name, made exactly what it shall be, synced, and renamed over the
target once that is seen to be still what the apply began with. Nothing here decides what is to be written, and
nothing here follows a link below the root.

What no user of rename can close: between the last look at the target and the rename pass some microseconds, and who
saves a file just then loses that save. The look is therefore made twice, the second time right before the rename.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from syncsrv.disk.attributes import check_entry, set_exactly
from syncsrv.disk.fault import Checkpoint, no_checkpoint
from syncsrv.disk.file_errors import (
    ChangedError,
    DirectoryNotEmptyError,
    ForbiddenEntryError,
    LinkInPathError,
    MissingDirectoryError,
    NotDirectoryError,
)
from syncsrv.disk.observe import Seen, blob_id, differences, identity_at
from syncsrv.disk.reader import LiveReader
from syncsrv.disk.syncfs import sync_filesystem
from syncsrv.disk.walk import DIRECTORY_FLAGS, checked_path
from syncsrv.errors import DamagedError
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind

_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NAMED = 5

MANY = 64
"""Files above which a whole file system is synced instead of each file."""

_LONGEST_TARGET = 4095


class LiveFiles(LiveReader):
    """The managed files of one root. One job at a time; each starts with ``begin``.

    Args:
        root: the managed root.
        read_blob: the content of a blob by its id.
        cluster_file: where the entry CLUSTER_PATH lives; None where it is not touched. Mode and owner of that file are
            this node's own: only its content is compared and written.
        checkpoint: called after each durable step (see fault.py).
    """

    def __init__(
        self,
        root: Path,
        read_blob: Callable[[str], bytes],
        *,
        cluster_file: Path | None = None,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        super().__init__(root, cluster_file)
        self.checkpoint = checkpoint
        self._read_blob = read_blob
        self._temps: dict[bytes, tuple[int, int]] = {}
        self._unsynced: dict[bytes, None] = {}
        self._dirty: set[bytes] = set()

    def begin(self) -> None:
        """Forget what an earlier job left in memory: its temporaries, and who had which number then."""
        self.owners.forget()
        self._temps.clear()
        self._unsynced.clear()
        self._dirty.clear()

    def prepare(self, path: bytes, entry: Entry, temp: bytes, *, restoring: bool = False) -> None:
        """Make a temporary with everything that the entry says; ``settle`` makes it durable.

        Args:
            path: where it will stand.
            entry: file, directory or link.
            temp: tree path of the temporary, on the same filesystem; a leftover of that name is an error.
            restoring: the entry is this node's own earlier state (see attributes.check_entry).

        Raises:
            ForbiddenEntryError, UnknownOwnerError, NoSpaceError, NotPermittedError, and the other FileErrors.
            DamagedError: the content does not read back from the store as what it was stored.
        """
        checked_path(path)
        checked_path(temp, temporary=True)
        check_entry(path, entry, restoring=restoring)
        data = self._content(path, entry)
        with self._kernel(path, "write"), self._walker.parent(temp) as (handle, name):
            entry, uid, gid = self._as_written(path, entry, restoring)
            if entry.kind is Kind.LINK:
                self._make_link(handle, name, temp, data, uid, gid)
                return
            if entry.kind is Kind.DIRECTORY:
                os.mkdir(name, 0o700, dir_fd=handle)
                self.checkpoint("temp.made")
                opened = os.open(name, DIRECTORY_FLAGS, dir_fd=handle)
            else:
                opened = os.open(name, _CREATE_FLAGS, 0o600, dir_fd=handle)
                self.checkpoint("temp.made")
            try:
                self._remember(temp, os.fstat(opened), entry.kind)
                _write(opened, data)
                self.checkpoint("temp.written")
                set_exactly(opened, path, entry, uid, gid, self.checkpoint)
            finally:
                os.close(opened)

    def settle(self) -> None:
        """Make every prepared temporary durable; from here on nothing but renames is left to do.

        Many are made durable with all else that their file system has to write: one wait instead of thousands.
        """
        if len(self._unsynced) > MANY:
            filesystems = {self._temps[temp][0]: temp for temp in self._unsynced}
            for temp in filesystems.values():
                with self._kernel(temp, "write"), self._walker.parent(temp) as (handle, _):
                    sync_filesystem(handle)
                self.checkpoint("filesystem.synced")
            self._unsynced.clear()
        for temp in self._unsynced:
            with self._kernel(temp, "write"), self._walker.parent(temp) as (handle, name):
                opened = os.open(name, _REOPEN_FLAGS, dir_fd=handle)
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)
            self.checkpoint("temp.synced")
        self._unsynced.clear()
        self.flush()

    def commit_temp(self, path: bytes, temp: bytes, expected: Entry | None) -> None:
        """Put the temporary in its place, if that is still what is expected.

        Raises:
            ChangedError: the path, or the temporary, is not what it was.
            DirectoryNotEmptyError, BusyError, NotPermittedError, and the other FileErrors.
        """
        checked_path(path)
        with (
            self._kernel(path, "write"),
            self._walker.parent(temp) as (source, temp_base),
            self._walker.parent(path) as (handle, name),
        ):
            seen = self._require(handle, name, path, expected)
            if (identity_at(source, temp_base) or ())[:2] != self._temps.get(temp):
                raise ChangedError(path, "its temporary file was replaced")
            self._still(handle, name, path, seen)
            os.rename(temp_base, name, src_dir_fd=source, dst_dir_fd=handle)
            self.checkpoint("temp.renamed")
        del self._temps[temp]
        self._touched(path, temp)

    def set_metadata(self, path: bytes, entry: Entry, expected: Entry | None, *, restoring: bool = False) -> None:
        """Give a directory its owner, mode and attributes in place.

        Raises:
            ChangedError: the directory is not what is expected.
        """
        checked_path(path)
        check_entry(path, entry, restoring=restoring)
        with self._kernel(path, "write"), self._walker.parent(path) as (handle, name):
            uid, gid = self.owners.numbers(path, entry, restoring=restoring)
            seen = self._require(handle, name, path, expected)
            opened = os.open(name, DIRECTORY_FLAGS, dir_fd=handle)
            try:
                if seen is None or _inode(os.fstat(opened)) != seen.identity[:2]:
                    raise ChangedError(path, "it was replaced by another directory")
                set_exactly(opened, path, entry, uid, gid, self.checkpoint)
                os.fsync(opened)
                self.checkpoint("directory.changed")
            finally:
                os.close(opened)

    def remove(self, path: bytes, expected: Entry) -> None:
        """Delete a file, a link or an empty directory, if it is still what is expected.

        Raises:
            ChangedError: it is not.
            DirectoryNotEmptyError: the directory holds something; the error names it.
        """
        checked_path(path)
        with self._kernel(path, "remove"), self._walker.parent(path) as (handle, name):
            seen = self._require(handle, name, path, expected)
            self._still(handle, name, path, seen)
            if expected.kind is Kind.DIRECTORY:
                self._remove_directory(handle, name, path)
            else:
                os.unlink(name, dir_fd=handle)
            self.checkpoint("path.removed")
        self._touched(path)

    def discard(self, temp: bytes) -> None:
        """Delete a temporary, if it is there."""
        checked_path(temp, temporary=True)
        with self._kernel(temp, "remove"):
            try:
                with self._walker.parent(temp) as (handle, name):
                    if stat.S_ISDIR(os.lstat(name, dir_fd=handle).st_mode):
                        os.rmdir(name, dir_fd=handle)
                    else:
                        os.unlink(name, dir_fd=handle)
            except (FileNotFoundError, MissingDirectoryError, NotDirectoryError, LinkInPathError):
                return
            self.checkpoint("temp.discarded")
        self._temps.pop(temp, None)
        self._unsynced.pop(temp, None)
        self._touched(temp)

    def flush(self) -> None:
        """Make the names in every directory touched so far durable."""
        for directory in sorted(self._dirty):
            with self._kernel(directory, "write"):
                try:
                    opened = self._walker.open_directory(directory, directory)
                except (MissingDirectoryError, NotDirectoryError, LinkInPathError):
                    continue
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)
            self.checkpoint("directory.synced")
        self._dirty.clear()

    def _require(self, handle: int, name: bytes, path: bytes, expected: Entry | None) -> Seen | None:
        here = self.as_here(path, expected, restoring=True) if expected else None
        seen = self._look(handle, name, path)
        if (seen.entry if seen else None) != here:
            raise ChangedError(path, differences(here, seen.entry if seen else None))
        self.checkpoint("path.seen")
        return seen

    def _still(self, handle: int, name: bytes, path: bytes, seen: Seen | None) -> None:
        if identity_at(handle, name) != (seen.identity if seen else None):
            raise ChangedError(path, "while it was looked at")

    def _content(self, path: bytes, entry: Entry) -> bytes:
        if entry.kind is Kind.DIRECTORY:
            return b""
        data = self._read_blob(entry.blob)
        if blob_id(data) != entry.blob:
            raise DamagedError(
                f"cannot write /{os.fsdecode(path)}: its content {entry.blob} in the repository is damaged",
                "check the repository with `git fsck`, and fetch it again from the peer",
            )
        if entry.kind is Kind.LINK and (not data or b"\0" in data or len(data) > _LONGEST_TARGET):
            raise ForbiddenEntryError(path, "it is a link whose target no filesystem can hold")
        return data

    def _as_written(self, path: bytes, entry: Entry, restoring: bool) -> tuple[Entry, int, int]:
        """The entry and its owner's numbers; the cluster file keeps the mode and the owner that it has here."""
        if path != CLUSTER_PATH:
            return (entry, *self.owners.numbers(path, entry, restoring=restoring))
        if entry.kind is not Kind.FILE:
            raise ForbiddenEntryError(path, "cluster.yaml can only be a file")
        with self._walker.parent(path) as (handle, name):
            try:
                now = os.lstat(name, dir_fd=handle)
            except FileNotFoundError:
                return Entry(Kind.FILE, 0o644, blob=entry.blob), os.geteuid(), os.getegid()
        mode = stat.S_IMODE(now.st_mode) & 0o777
        return Entry(Kind.FILE, mode, blob=entry.blob), now.st_uid, now.st_gid

    def _make_link(self, handle: int, name: bytes, temp: bytes, target: bytes, uid: int, gid: int) -> None:
        """A link has no descriptor to change its owner by; an O_PATH one of /proc makes sure that it is our link."""
        os.symlink(target, name, dir_fd=handle)
        self.checkpoint("temp.made")
        opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        try:
            status = os.fstat(opened)
            self._remember(temp, status, Kind.LINK)
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.chown(f"/proc/self/fd/{opened}", uid, gid)
        finally:
            os.close(opened)
        self.checkpoint("temp.written")

    def _remember(self, temp: bytes, status: os.stat_result, kind: Kind) -> None:
        """Note what was made, after a look that nobody has put something of their own under its name meanwhile.

        Where another user may write the directory, a hard link to any file could stand there now.
        """
        kinds = {Kind.FILE: stat.S_ISREG, Kind.DIRECTORY: stat.S_ISDIR, Kind.LINK: stat.S_ISLNK}
        if status.st_uid != os.geteuid() or not kinds[kind](status.st_mode):
            raise ChangedError(temp, "a temporary file was replaced")
        self._temps[temp] = _inode(status)
        if kind is not Kind.LINK:
            self._unsynced[temp] = None
        self._touched(temp)

    def _remove_directory(self, handle: int, name: bytes, path: bytes) -> None:
        try:
            os.rmdir(name, dir_fd=handle)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            opened = os.open(name, DIRECTORY_FLAGS, dir_fd=handle)
            try:
                holding = sorted(os.fsencode(held) for held in os.listdir(opened))
            finally:
                os.close(opened)
            raise DirectoryNotEmptyError(path, holding[:_NAMED]) from error

    def _touched(self, *paths: bytes) -> None:
        self._dirty.update(path.rpartition(b"/")[0] for path in paths)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
