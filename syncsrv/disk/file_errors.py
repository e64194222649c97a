"""What can go wrong with one managed path. Each error names the path and says what to do about it.

Pure but for the translation of an ``OSError``, which reads only its number.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

from syncsrv.errors import SyncsrvError


class FileError(SyncsrvError):
    """A managed path could not be read or written.

    Attributes:
        path: the tree path concerned.
    """

    code: ClassVar[str] = "file"

    def __init__(self, path: bytes, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.path = path


def printable(path: bytes) -> str:
    """A tree path for a message: bytes that are not UTF-8, and control characters, as escapes."""
    shown = path.decode("utf-8", "backslashreplace")
    return "/" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


class UnsafePathError(FileError):
    """The path itself is not one that we write: ``..``, a NUL, a name that is too long, one of our own temp names."""

    code = "unsafe-path"

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(path, f"cannot use the path {printable(path)}: {why}", "remove it from the tree that names it")
        self.why = why


class UnsafeTreeError(FileError):
    """The tree contradicts itself: something lies below an entry that is no directory."""

    code = "unsafe-tree"

    def __init__(self, path: bytes, parent: bytes, why: str) -> None:
        super().__init__(
            path,
            f"cannot write {printable(path)}: {printable(parent)} {why} in the same tree",
            "this tree was not made by syncsrv: look at the commit and do not synchronize it",
        )
        self.parent = parent


class ForbiddenEntryError(FileError):
    """An entry that no sync may bring: setuid, setgid, a file capability, a link without a target."""

    code = "forbidden-entry"

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(
            path, f"cannot write {printable(path)}: {why}", "set it by hand on this node, or exclude the path"
        )
        self.why = why


class LinkInPathError(FileError):
    """A directory on the way to the path is a symbolic link here; links are never followed.

    Attributes:
        component: tree path of the link.
    """

    code = "link-in-path"

    def __init__(self, path: bytes, component: bytes) -> None:
        super().__init__(
            path,
            f"cannot reach {printable(path)}: {printable(component)} is a link here, and links are not followed",
            f"make {printable(component)} a directory, as on the other node, or manage the path that it points to",
        )
        self.component = component


class NotDirectoryError(FileError):
    """Something on the way to the path is neither a directory nor a link.

    Attributes:
        component: tree path of the thing in the way.
    """

    code = "not-a-directory"

    def __init__(self, path: bytes, component: bytes) -> None:
        super().__init__(
            path,
            f"cannot reach {printable(path)}: {printable(component)} is not a directory on this node",
            f"move {printable(component)} out of the way",
        )
        self.component = component


class MissingDirectoryError(FileError):
    """A directory on the way to the path has gone."""

    code = "missing-directory"

    def __init__(self, path: bytes, component: bytes) -> None:
        super().__init__(
            path,
            f"cannot reach {printable(path)}: the directory {printable(component)} does not exist",
            "if somebody removed it during the apply, run it again",
        )
        self.component = component


class SpecialFileError(FileError):
    """The live path is a socket, a FIFO or a device: reported, never opened, never replaced."""

    code = "special-file"

    def __init__(self, path: bytes, what: str) -> None:
        super().__init__(
            path, f"cannot manage {printable(path)}: it is a {what} on this node", "remove it, or exclude the path"
        )
        self.what = what


class ChangedError(FileError):
    """The live path is not what it was when the apply began; somebody else's work is never overwritten."""

    code = "changed"

    def __init__(self, path: bytes, how: str) -> None:
        super().__init__(
            path,
            f"cannot write {printable(path)}: it was changed during the apply ({how})",
            "wait until nobody edits it, look at the change with `syncsrv log`, and run it again",
        )
        self.how = how


class DirectoryNotEmptyError(FileError):
    """A directory that should go still holds something that is not ours to delete.

    Attributes:
        holding: names of what it holds, the first few.
    """

    code = "not-empty"

    def __init__(self, path: bytes, holding: Sequence[bytes]) -> None:
        names = ", ".join(printable(name).lstrip("/") for name in holding)
        super().__init__(
            path,
            f"cannot remove the directory {printable(path)}: it holds {names}, which is not under management",
            "move that away, or keep the directory in the tree",
        )
        self.holding = tuple(holding)


class UnknownOwnerError(FileError):
    """A user or group that this node does not have.

    Attributes:
        name: of the user or group.
        kind: ``user`` or ``group``.
    """

    code = "unknown-owner"

    def __init__(self, path: bytes, name: str, kind: str) -> None:
        super().__init__(
            path,
            f"cannot write {printable(path)}: it belongs to the {kind} {name}, which does not exist on this node",
            f"install the package that makes the {kind} {name}, or add it here",
        )
        self.name = name
        self.kind = kind


class NoSpaceError(FileError):
    """The filesystem, or a quota on it, is full."""

    code = "no-space"

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(path, f"cannot write {printable(path)}: {why}", "make room on its filesystem and run it again")


class ReadOnlyError(FileError):
    """The filesystem is mounted read-only."""

    code = "read-only"

    def __init__(self, path: bytes) -> None:
        super().__init__(
            path, f"cannot write {printable(path)}: its filesystem is mounted read-only", "remount it read-write"
        )


class NotPermittedError(FileError):
    """The kernel forbids it: we are not root, or the path is immutable."""

    code = "not-permitted"

    def __init__(self, path: bytes, doing: str, *, privileged: bool) -> None:
        remedy = (
            "look for an immutable or append-only attribute (`lsattr`), or a security module that forbids it"
            if privileged
            else "run syncsrv as root, or manage only files that belong to its own user"
        )
        super().__init__(path, f"cannot {doing} {printable(path)}: not permitted", remedy)


class BusyError(FileError):
    """The path is a mount point."""

    code = "busy"

    def __init__(self, path: bytes, doing: str) -> None:
        super().__init__(
            path,
            f"cannot {doing} {printable(path)}: it is a mount point or in use by the kernel",
            "unmount or exclude it",
        )


class AttributesError(FileError):
    """The filesystem cannot hold an extended attribute or ACL that the entry has.

    Attributes:
        name: of the attribute.
    """

    code = "attributes"

    def __init__(self, path: bytes, name: str, why: str) -> None:
        super().__init__(
            path,
            f"cannot set {name} on {printable(path)}: its filesystem {why}",
            "remove the attribute at the source, or use a filesystem that holds it",
        )
        self.name = name


class RootError(SyncsrvError):
    """The managed root, or the configuration directory, cannot be opened."""

    code = "root"

    def __init__(self, directory: str, why: str) -> None:
        super().__init__(f"cannot open {directory}: {why}", "make it, or correct `root` in node.yaml")
        self.directory = directory


class InputOutputError(FileError):
    """Anything else that the kernel said."""

    code = "io"

    def __init__(self, path: bytes, doing: str, why: str) -> None:
        super().__init__(
            path, f"cannot {doing} {printable(path)}: {why}", "look at the kernel's log (`dmesg`) for its disk"
        )


def from_os(error: OSError, path: bytes, doing: str, *, privileged: bool) -> FileError:
    """The error of ours for what the kernel said about ``path`` while ``doing`` (a verb) it.

    Args:
        error: as caught.
        path: tree path.
        doing: infinitive for the sentence, as in ``cannot <doing> /etc/x``.
        privileged: whether this process is root, which decides what a permission error means.
    """
    match error.errno:
        case errno.ENOSPC:
            return NoSpaceError(path, "no space left on its filesystem")
        case errno.EDQUOT:
            return NoSpaceError(path, "the disk quota is used up")
        case errno.EROFS:
            return ReadOnlyError(path)
        case errno.EPERM | errno.EACCES:
            return NotPermittedError(path, doing, privileged=privileged)
        case errno.EBUSY:
            return BusyError(path, doing)
        case errno.EEXIST:
            return ChangedError(path, "something stands under the name of its temporary file")
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR | errno.ELOOP | errno.ENOTEMPTY | errno.ESTALE | errno.ENXIO:
            return ChangedError(path, "something else took its place")
        case errno.ENAMETOOLONG:
            return UnsafePathError(path, "its name is too long for this filesystem")
        case _:
            return InputOutputError(path, doing, error.strerror or str(error))
