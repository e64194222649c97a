"""Managed trees for tests of what reads and writes live files: contents by a dict, a disk read independently."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from syncsrv.plan.tree import Entry, Kind, Owner


class Blobs(dict[str, bytes]):
    """Contents by the id that Git gives them: what a store is to the writer of live files."""

    def put(self, data: bytes) -> str:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self[blob] = data
        return blob

    def read(self, blob: str) -> bytes:
        return self[blob]


ME = Owner("", os.geteuid())
MY_GROUP = Owner("", os.getegid())


def file(blobs: Blobs, data: bytes, mode: int = 0o644, user: Owner | None = None, group: Owner | None = None) -> Entry:
    return Entry(Kind.FILE, mode, user or ME, group or MY_GROUP, blobs.put(data))


def link(blobs: Blobs, target: bytes) -> Entry:
    return Entry(Kind.LINK, 0o777, ME, MY_GROUP, blobs.put(target))


def folder(mode: int = 0o755, user: Owner | None = None, group: Owner | None = None) -> Entry:
    return Entry(Kind.DIRECTORY, mode, user or ME, group or MY_GROUP)


def scan(root: Path) -> dict[bytes, Entry]:
    """Everything below a root, read with plain calls: owners as bare numbers, every extended attribute kept."""
    found: dict[bytes, Entry] = {}
    top = os.fsencode(root)
    pending = [b""]
    while pending:
        above = pending.pop()
        for name in os.listdir(os.path.join(top, above)):
            path = os.path.join(above, name)
            real = os.path.join(top, path)
            status = os.lstat(real)
            kind, data = Kind.FILE, b""
            if stat.S_ISLNK(status.st_mode):
                kind, data = Kind.LINK, os.readlink(real)
            elif stat.S_ISDIR(status.st_mode):
                kind = Kind.DIRECTORY
                pending.append(path)
            else:
                data = Path(os.fsdecode(real)).read_bytes()
            blob = "" if kind is Kind.DIRECTORY else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            names = sorted(os.listxattr(real, follow_symlinks=False)) if kind is not Kind.LINK else []
            found[path] = Entry(
                kind,
                0o777 if kind is Kind.LINK else stat.S_IMODE(status.st_mode),
                Owner("", status.st_uid),
                Owner("", status.st_gid),
                blob,
                tuple((each, os.getxattr(real, each)) for each in names if not each.startswith("security.")),
            )
    return found


def build(root: Path, tree: Mapping[bytes, Entry], blobs: Blobs) -> None:
    """Make a tree on the disk with plain calls."""
    top = os.fsencode(root)
    for path in sorted(tree):
        entry = tree[path]
        real = os.path.join(top, path)
        if entry.kind is Kind.DIRECTORY:
            os.mkdir(real)
        elif entry.kind is Kind.LINK:
            os.symlink(blobs[entry.blob], real)
        else:
            Path(os.fsdecode(real)).write_bytes(blobs[entry.blob])
    for path in sorted(tree, reverse=True):
        entry = tree[path]
        real = os.path.join(top, path)
        os.chown(real, entry.user.number, entry.group.number, follow_symlinks=False)
        if entry.kind is not Kind.LINK:
            for name, value in entry.xattrs:
                os.setxattr(real, name, value)
            os.chmod(real, entry.mode)


def plain(tree: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    """A tree with owners as bare numbers, as ``scan`` reads them."""
    return {
        path: Entry(
            entry.kind,
            entry.mode,
            Owner("", entry.user.number),
            Owner("", entry.group.number),
            entry.blob,
            entry.xattrs,
        )
        for path, entry in tree.items()
    }
