"""Read one file, link or directory's marks through its directory's descriptor, whole or not at all.

Nothing here follows a link or opens what is no regular file. How a torn read is noticed: the kernel stamps each
change with its clock's last tick (1 to 10 ms), so a change leaves its mark in ctime only if the change before it
lies in another tick. Hence a file is read when its ctime differs from the present by more than a margin that covers
the tick, and what was read counts if its signature is the same before and after, under the same name. For the same
reason a signature that was read this way stands for its content later on.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from syncsrv.clock import Clock
from syncsrv.plan.tree import Owner

Signature: TypeAlias = tuple[int, ...]
"""What changes when a file does; see signature()."""

MARGIN_S = 0.03
"""Seconds; more than a tick of the slowest kernel clock (10 ms) and the way from our clock's reading to fstat."""

COARSE_MARGIN_S = 1.05
"""Seconds; the same for a file system that keeps whole seconds (ext4 with inodes of 128 bytes)."""

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPEN_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_REPLACED = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EAGAIN, errno.ESTALE})
"""What an open says when the name means something else than a moment ago, or someone holds a lease on the file."""

_CARRIED = frozenset({"system.posix_acl_access", "system.posix_acl_default", "security.capability"})


class NotSettledError(Exception):
    """It changed while it was looked at, or so lately that a change in between would not show.

    Args:
        wait_s: seconds after which it is worth another look.
    """

    def __init__(self, wait_s: float = MARGIN_S) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class TooLargeError(Exception):
    """The file has more bytes than its area's limit.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class LinkInPathError(Exception):
    """A directory on the way is a link, which is never followed.

    Args:
        component: its tree path.
    """

    def __init__(self, component: bytes) -> None:
        super().__init__(component)
        self.component = component


@dataclass(frozen=True, slots=True)
class Contents:
    """A file or a link as it was at one moment.

    Attributes:
        signature: of that moment.
        data: the content, or a link's target.
        xattrs: the carried ones, sorted.
    """

    signature: Signature
    data: bytes
    xattrs: tuple[tuple[str, bytes], ...] = ()


def signature(found: os.stat_result) -> Signature:
    """What changes when content, owner, mode or attributes do."""
    return (
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_ino,
        found.st_dev,
        found.st_mode,
        found.st_uid,
        found.st_gid,
    )


def seconds_to_settle(changed_ns: int, now_utc: datetime) -> float:
    """How long until a new change would be stamped otherwise than the last one; 0 where it already would.

    Args:
        changed_ns: ctime. One far in the future (the clock was set back) is settled: no change now gets it again.
        now_utc: read before that ctime was.
    """
    margin_s = MARGIN_S if changed_ns % 1_000_000_000 else COARSE_MARGIN_S
    age_s = now_utc.timestamp() - changed_ns / 1e9
    return margin_s - age_s if abs(age_s) <= margin_s else 0.0


def read_file(at: int, name: bytes, limit: int, clock: Clock) -> Contents:
    """Read a regular file.

    Args:
        at: descriptor of its directory.
        name: its name there.
        limit: bytes; a larger file is not read.
        clock: whose wall time is compared with the file's.

    Raises:
        NotSettledError: it is no regular file any more, changes, or changed just now.
        TooLargeError: it is larger than limit.
        OSError: it cannot be read.
    """
    now_utc = clock.utc()
    fd = _open(name, _OPEN_FILE, at)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise NotSettledError
        if before.st_size > limit:
            raise TooLargeError(before.st_size)
        wait_s = seconds_to_settle(before.st_ctime_ns, now_utc)
        if wait_s > 0:
            raise NotSettledError(wait_s)
        data = _read_all(fd, before.st_size)
        xattrs = carried_xattrs(fd)
        after = os.fstat(fd)
        there = _lstat(name, at)
    finally:
        os.close(fd)
    seen = signature(before)
    if not seen == signature(after) == signature(there) or len(data) != before.st_size:
        raise NotSettledError
    return Contents(seen, data, xattrs)


def read_link(at: int, name: bytes, clock: Clock) -> Contents:
    """Read a link's target; never what it points to.

    Raises:
        NotSettledError: it is no link any more, or was made just now.
        OSError: it cannot be read.
    """
    now_utc = clock.utc()
    fd = _open(name, _OPEN_LINK, at)
    try:
        found = os.fstat(fd)
        if not stat.S_ISLNK(found.st_mode):
            raise NotSettledError
        wait_s = seconds_to_settle(found.st_ctime_ns, now_utc)
        if wait_s > 0:
            raise NotSettledError(wait_s)
        target = os.readlink(b"", dir_fd=fd)
    finally:
        os.close(fd)
    return Contents(signature(found), target)


def carried_xattrs(fd: int) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes that belong to configuration, sorted by name; none where there can be none.

    ``security.capability`` is among them so that the receiver can refuse it by name.

    Raises:
        NotSettledError: they change.
        OSError: they cannot be read.
    """
    try:
        names = [name for name in os.listxattr(fd) if name.startswith("user.") or name in _CARRIED]
        return tuple((name, os.getxattr(fd, name)) for name in sorted(names))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        if error.errno in (errno.ENODATA, errno.ERANGE):
            raise NotSettledError from error
        raise


def open_below(root: int, path: bytes) -> int:
    """A descriptor (O_PATH) of a directory below the root, reached without following a link.

    Raises:
        LinkInPathError: a component is a link.
        OSError: a component is missing or no directory.
    """
    at = os.open(b".", _OPEN_PARENT, dir_fd=root)
    reached = b""
    for name in path.split(b"/") if path else ():
        reached = reached + b"/" + name if reached else name
        try:
            below = os.open(name, _OPEN_PARENT, dir_fd=at)
        except NotADirectoryError as error:
            if stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                raise LinkInPathError(reached) from error
            raise
        finally:
            os.close(at)
        at = below
    return at


def user_name(uid: int) -> str:
    """As in passwd; empty where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def group_name(gid: int) -> str:
    """As in group; empty where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


class Owners:
    """Names of users and groups, asked once a scan.

    Args:
        user_name: the name of a uid, empty where it has none.
        group_name: the name of a gid, likewise.
    """

    def __init__(
        self, user_name: Callable[[int], str] = user_name, group_name: Callable[[int], str] = group_name
    ) -> None:
        self._user_name = user_name
        self._group_name = group_name
        self._users: dict[int, Owner] = {}
        self._groups: dict[int, Owner] = {}

    def user(self, uid: int) -> Owner:
        found = self._users.get(uid)
        if found is None:
            found = self._users[uid] = Owner(self._user_name(uid), uid)
        return found

    def group(self, gid: int) -> Owner:
        found = self._groups.get(gid)
        if found is None:
            found = self._groups[gid] = Owner(self._group_name(gid), gid)
        return found

    def refresh(self) -> bool:
        """Ask for every known number again; True where a name is another one now."""
        users = {uid: Owner(self._user_name(uid), uid) for uid in self._users}
        groups = {gid: Owner(self._group_name(gid), gid) for gid in self._groups}
        changed = users != self._users or groups != self._groups
        self._users, self._groups = users, groups
        return changed


def _open(name: bytes, flags: int, at: int) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in _REPLACED:
            raise NotSettledError from error
        raise


def _lstat(name: bytes, at: int) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except OSError as error:
        if error.errno in _REPLACED:
            raise NotSettledError from error
        raise


def _read_all(fd: int, size: int) -> bytes:
    """Up to one byte more than ``size``, so that growth shows."""
    parts = []
    left = size + 1
    while left > 0:
        part = os.read(fd, left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
