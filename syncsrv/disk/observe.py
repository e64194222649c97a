"""Read one live path as an entry, its content by the id that Git gives it. Never follows a link, never blocks."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TypeAlias

from syncsrv.disk.attributes import read_attributes
from syncsrv.disk.file_errors import ChangedError, SpecialFileError
from syncsrv.disk.owners import Owners
from syncsrv.disk.walk import DIRECTORY_FLAGS
from syncsrv.plan.tree import Entry, Kind

_BLOCK = 1024 * 1024
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ATTEMPTS = 3

Identity: TypeAlias = tuple[int, ...]
"""What changes whenever a file is replaced, written or changed in its metadata."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A path as it was at one moment.

    Attributes:
        entry: what it was.
        identity: to ask a moment later, without reading it again, whether it is still the same.
    """

    entry: Entry
    identity: Identity


def blob_id(data: bytes) -> str:
    """Git's id of a content."""
    return _hasher(len(data), data).hexdigest()


def identity(status: os.stat_result) -> Identity:
    """See ``Identity``."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def identity_at(handle: int, name: bytes) -> Identity | None:
    """The identity of a name in an open directory; None where it does not exist."""
    try:
        return identity(os.lstat(name, dir_fd=handle))
    except FileNotFoundError:
        return None


def look(handle: int, name: bytes, path: bytes, owners: Owners) -> Seen | None:
    """Read a name in an open directory; None where it does not exist.

    Raises:
        SpecialFileError: it is a socket, a FIFO or a device.
        ChangedError: it changed each time it was read.
        OSError: as the kernel says.
    """
    for _ in range(_ATTEMPTS):
        try:
            status = os.lstat(name, dir_fd=handle)
            entry = _read(handle, name, path, status, owners)
        except FileNotFoundError:
            return None
        if entry is not None and identity_at(handle, name) == identity(status):
            return Seen(entry, identity(status))
    raise ChangedError(path, "it keeps changing while it is read")


def _read(handle: int, name: bytes, path: bytes, status: os.stat_result, owners: Owners) -> Entry | None:
    """The entry, or None where it changed while it was read."""
    user, group = owners.user(status.st_uid), owners.group(status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return Entry(Kind.LINK, 0o777, user, group, blob_id(os.readlink(name, dir_fd=handle)))
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise SpecialFileError(path, _what(status.st_mode))
    is_file = stat.S_ISREG(status.st_mode)
    try:
        opened = os.open(name, _READ_FLAGS if is_file else DIRECTORY_FLAGS, dir_fd=handle)
    except NotADirectoryError:
        return None
    try:
        if identity(os.fstat(opened)) != identity(status):
            return None
        blob = _hash(opened, status.st_size) if is_file else ""
        xattrs = read_attributes(opened)
        if blob is None or xattrs is None:
            return None
        kind = Kind.FILE if is_file else Kind.DIRECTORY
        return Entry(kind, stat.S_IMODE(status.st_mode), user, group, blob, xattrs)
    finally:
        os.close(opened)


def _hash(handle: int, size: int) -> str | None:
    """Git's id of an open file, a block at a time; None where it has not ``size`` bytes."""
    hasher = _hasher(size)
    left = size
    while left >= 0:
        block = os.read(handle, min(_BLOCK, left + 1))
        if not block:
            break
        hasher.update(block)
        left -= len(block)
    return hasher.hexdigest() if left == 0 else None


def _hasher(size: int, data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(b"blob %d\0" % size + data, usedforsecurity=False)


def _what(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "block device" if stat.S_ISBLK(mode) else "character device"


def differences(expected: Entry | None, found: Entry | None) -> str:
    """How a path differs from what was expected, in words: ``its content changed, its mode is 0600, not 0644``."""
    if expected is None:
        return "it has appeared"
    if found is None:
        return "it has gone"
    if found.kind is not expected.kind:
        names = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.LINK: "link"}
        return f"it is a {names[found.kind]} now, not a {names[expected.kind]}"
    said = []
    if found.blob != expected.blob:
        said.append("its target changed" if found.kind is Kind.LINK else "its content changed")
    if found.mode != expected.mode:
        said.append(f"its mode is {found.mode:04o}, not {expected.mode:04o}")
    if found.user != expected.user:
        said.append(f"it belongs to {found.user}, not {expected.user}")
    if found.group != expected.group:
        said.append(f"its group is {found.group}, not {expected.group}")
    if found.xattrs != expected.xattrs:
        said.append("its ACL or extended attributes changed")
    return ", ".join(said) or "it was replaced by an equal one"
