"""Owner, mode and extended attributes of an open file or directory: read, and set exactly.

Everything goes through a descriptor, never through a name, so that nobody can slip another file under it. The order
of the steps matters: a change of owner clears bits, a change of mode rewrites the mask of an ACL, an ACL rewrites the
group bits of the mode, and `user.*` needs the right to write, which the final mode may take away.
"""

from __future__ import annotations

import errno
import os
import stat

from syncsrv.apply.fault import Checkpoint
from syncsrv.apply.file_errors import AttributesError, ForbiddenEntryError
from syncsrv.plan.tree import Entry, Kind

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP})


def is_carried(name: str) -> bool:
    """Whether an extended attribute is configuration: labels of a security module and capabilities are not."""
    return name.startswith("user.") or name in {ACCESS_ACL, DEFAULT_ACL}


def read_attributes(handle: int) -> tuple[tuple[str, bytes], ...]:
    """The carried extended attributes of an open file or directory, sorted by name; none where there can be none."""
    try:
        names = os.listxattr(handle)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return ()
        raise
    return tuple((name, os.getxattr(handle, name)) for name in sorted(names) if is_carried(name))


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
        if not is_carried(name) or (name == DEFAULT_ACL and entry.kind is not Kind.DIRECTORY):
            raise ForbiddenEntryError(path, f"it carries the attribute {name}")
    if entry.xattrs and entry.kind is Kind.LINK:
        raise ForbiddenEntryError(path, "a link with extended attributes")


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
    present = dict(read_attributes(handle))
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
            raise AttributesError(path, name) from error
        if error.errno == errno.EINVAL:
            raise ForbiddenEntryError(path, f"its attribute {name} is malformed") from error
        raise
