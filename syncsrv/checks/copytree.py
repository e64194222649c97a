"""Copy a directory's content into one of our own: by descriptors, following no link, within bounds.

For where an overlay cannot be had. Imported by the sandbox's child, so only os and stat. Sockets, FIFOs and devices
are left out; extended attributes too.
"""

from __future__ import annotations

import os
import stat

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TooMuchError(Exception):
    """The copy would be larger than its bounds allow."""


class Budget:
    """What copies may still take.

    Args:
        size: bytes of content.
        entries: files, directories and links.
    """

    def __init__(self, size: int, entries: int) -> None:
        self._size = size
        self._entries = entries

    def take(self, size: int) -> None:
        """Count one more entry with ``size`` bytes."""
        self._size -= size
        self._entries -= 1
        if self._size < 0 or self._entries < 0:
            raise TooMuchError


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs's mark for "deleted": a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def copy_content(source: int, target: int, budget: Budget, *, keep_whiteouts: bool = False) -> None:
    """Copy what is in the open directory ``source`` into the open directory ``target``, over what is there.

    Args:
        source: it stays on its filesystem: a directory that another is mounted on is copied empty.
        target: a directory of our own.
        budget: bounds.
        keep_whiteouts: copy a whiteout as one; else it deletes its name in ``target``.

    Raises:
        TooMuchError: beyond the bounds.
        OSError: as the kernel says.
    """
    device = os.fstat(source).st_dev
    for name in os.listdir(source):
        copy_entry(source, target, os.fsencode(name), budget, device=device, keep_whiteouts=keep_whiteouts)


def copy_entry(
    source: int, target: int, name: bytes, budget: Budget, *, device: int, keep_whiteouts: bool = False
) -> None:
    """Copy what ``source`` holds under ``name`` to the same name in ``target``; otherwise as copy_content.

    Args:
        source: open directory.
        target: open directory of our own.
        name: one component.
        budget: bounds.
        device: a directory on another filesystem than this is copied empty.
        keep_whiteouts: as in copy_content.
    """
    status = os.lstat(name, dir_fd=source)
    if stat.S_ISDIR(status.st_mode):
        budget.take(0)
        _copy_directory(source, target, name, status, budget, status.st_dev != device, keep_whiteouts)
    elif stat.S_ISREG(status.st_mode):
        budget.take(status.st_size)
        remove(target, name)
        _copy_file(source, target, name)
    elif stat.S_ISLNK(status.st_mode):
        budget.take(0)
        remove(target, name)
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        own_link(target, name, status.st_uid, status.st_gid)
    elif is_whiteout(status):
        remove(target, name)
        if keep_whiteouts:
            os.mknod(name, stat.S_IFCHR, dir_fd=target)


def _copy_directory(
    source: int, target: int, name: bytes, status: os.stat_result, budget: Budget, foreign: bool, keep_whiteouts: bool
) -> None:
    deeper = make_directory(target, name)
    try:
        if not foreign:
            below = os.open(name, DIRECTORY, dir_fd=source)
            try:
                copy_content(below, deeper, budget, keep_whiteouts=keep_whiteouts)
            finally:
                os.close(below)
        set_like(deeper, status)
    finally:
        os.close(deeper)


def _copy_file(source: int, target: int, name: bytes) -> None:
    reading = os.open(name, _READ, dir_fd=source)
    try:
        status = os.fstat(reading)
        writing = os.open(name, _WRITE, 0o600, dir_fd=target)
        try:
            while os.sendfile(writing, reading, None, 1 << 20):
                continue
            set_like(writing, status)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def make_directory(target: int, name: bytes) -> int:
    """Open the directory ``name`` in ``target``, made if it is none yet; the caller closes it."""
    try:
        os.mkdir(name, 0o700, dir_fd=target)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=target).st_mode):
            os.unlink(name, dir_fd=target)
            os.mkdir(name, 0o700, dir_fd=target)
    return os.open(name, DIRECTORY, dir_fd=target)


def set_like(handle: int, status: os.stat_result) -> None:
    """Give an open file or directory owner and permission bits, but no setuid."""
    own(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode) & ~stat.S_ISUID)


def own(handle: int, uid: int, gid: int) -> None:
    """Give an open file or directory its owner; who is not root keeps it."""
    if os.geteuid() == 0:
        os.fchown(handle, uid, gid)


def own_link(target: int, name: bytes, uid: int, gid: int) -> None:
    """Give the link ``name`` its owner; who is not root keeps it."""
    if os.geteuid() == 0:
        os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)


def remove(target: int, name: bytes) -> None:
    """Delete ``name`` in ``target`` with all below it; nothing where it does not exist."""
    try:
        status = os.lstat(name, dir_fd=target)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=target)
        return
    deeper = os.open(name, DIRECTORY, dir_fd=target)
    try:
        for below in os.listdir(deeper):
            remove(deeper, os.fsencode(below))
    finally:
        os.close(deeper)
    os.rmdir(name, dir_fd=target)
