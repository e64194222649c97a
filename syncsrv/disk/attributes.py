"""Owner, mode and extended attributes of an open file or directory: read, and set exactly.

Everything goes through a descriptor, never through a name, so that nobody can slip another file under it. The order
of the steps matters: a change of owner clears bits, a change of mode rewrites the mask of an ACL, an ACL rewrites the
group bits of the mode, and `user.*` needs the right to write, which the final mode may take away.
"""

from __future__ import annotations

import errno
import os
import stat

from syncsrv.disk.fault import Checkpoint
from syncsrv.disk.file_errors import AttributesError, ChangedError, ForbiddenEntryError
from syncsrv.plan.tree import Entry, Kind
from syncsrv.watch.reading import NotSettledError, carried_xattrs

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"
CAPABILITY = "security.capability"

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP})
_TOO_MUCH = frozenset({errno.ENOSPC, errno.E2BIG, errno.ERANGE})
"""ext4 says ENOSPC where a file's attributes do not fit into their one block, however empty the disk is."""


def read_attributes(handle: int) -> tuple[tuple[str, bytes], ...] | None:
    """The extended attributes that a scan takes in as well; None where they change while they are read."""
    try:
        return carried_xattrs(handle)
    except NotSettledError:
        return None


def check_entry(path: bytes, entry: Entry, *, restoring: bool) -> None:
    """The last assertion before a write: what a plan has to refuse never gets past here.

    Args:
        path: for the error.
        entry: what is to be written.
        restoring: it is this node's own earlier state, which may be whatever its owner had made it.

    Raises:
        ForbiddenEntryError: setuid, setgid on a file, a mode that is none, or an attribute that is not carried.
    """
    if not 0 <= entry.mode <= 0o7777:
        raise ForbiddenEntryError(path, f"its mode {entry.mode:o} is not a mode")
    forbidden = {Kind.FILE: stat.S_ISUID | stat.S_ISGID, Kind.DIRECTORY: stat.S_ISUID, Kind.LINK: 0}[entry.kind]
    if entry.mode & forbidden and not restoring:
        raise ForbiddenEntryError(path, f"it carries a setuid or setgid bit ({entry.mode:04o})")
    for name, _ in entry.xattrs:
        if not _may_be_set(name, entry.kind, restoring):
            raise ForbiddenEntryError(path, f"it carries the attribute {name!r}")
    if entry.xattrs and entry.kind is Kind.LINK:
        raise ForbiddenEntryError(path, "a link with extended attributes")


def _may_be_set(name: str, kind: Kind, restoring: bool) -> bool:
    if not name.isprintable():  # a NUL ends the name for the kernel
        return False
    if name == CAPABILITY:
        return restoring and kind is Kind.FILE
    if name == DEFAULT_ACL:
        return kind is Kind.DIRECTORY
    return name.startswith("user.") or name == ACCESS_ACL


def set_owner(handle: int, uid: int, gid: int) -> None:
    """Give an open file or directory its owner; asks nothing of the kernel where it is right already."""
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (uid, gid):
        os.fchown(handle, uid, gid)


def set_exactly(handle: int, path: bytes, entry: Entry, uid: int, gid: int, checkpoint: Checkpoint) -> None:
    """Make owner, attributes and mode of an open file or directory those of the entry, and none but those.

    Raises:
        AttributesError: the filesystem cannot hold an attribute.
        ForbiddenEntryError: an attribute's value is malformed.
        OSError: as the kernel says.
    """
    set_owner(handle, uid, gid)
    checkpoint("attributes.owner")
    wanted = dict(entry.xattrs)
    found = read_attributes(handle)
    if found is None:
        raise ChangedError(path, "its extended attributes change")
    present = dict(found)
    for name in present.keys() - wanted.keys():
        os.removexattr(handle, name)
        checkpoint("attributes.removed")
    for name, value in entry.xattrs:
        if name.startswith("user.") and present.get(name) != value:
            _set(handle, path, name, value)
            checkpoint("attributes.set")
    _set_mode(handle, entry.mode)
    checkpoint("attributes.mode")
    for name, value in entry.xattrs:
        if not name.startswith("user.") and _get(handle, name) != value:
            _set(handle, path, name, value)
            checkpoint("attributes.acl")
    _set_mode(handle, entry.mode)


def _set_mode(handle: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(handle).st_mode) != mode:
        os.fchmod(handle, mode)


def _get(handle: int, name: str) -> bytes | None:
    try:
        return os.getxattr(handle, name)
    except OSError as error:
        if error.errno == errno.ENODATA or error.errno in _UNSUPPORTED:
            return None
        raise


def _set(handle: int, path: bytes, name: str, value: bytes) -> None:
    try:
        os.setxattr(handle, name, value)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise AttributesError(path, name, "does not support it") from error
        if error.errno in _TOO_MUCH:
            raise AttributesError(path, name, "has no room for it") from error
        if error.errno == errno.EINVAL:
            raise ForbiddenEntryError(path, f"its attribute {name} is malformed") from error
        raise
