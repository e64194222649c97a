"""Names that a Git tree cannot hold, or that Git itself would read. Pure.

One decision for both ways: a live file of such a name is reported and left out, an incoming tree that holds one is
hostile. The rules are those of Git's fsck (fsck.c, path.c ``is_ntfs_dotgit``, utf8.c ``is_hfs_dotgit``), so that
what we write stays clean under ``git fsck --strict`` and clones everywhere; ``.gitmodules`` is among them, since
fsck refuses many contents of it and a configuration has no submodules.
"""

from __future__ import annotations

import re

_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Code points that HFS+ drops from a name; the list is Git's."""

_ATTRIBUTES_LINE = 2048
"""Bytes: fsck refuses a .gitattributes file with a line of this length or longer (attr.h ATTR_MAX_LINE_LENGTH)."""

_DOTGIT = re.compile(rb"(?:\.git|git~1)[. ]*(?:[:\\].*)?\Z", re.IGNORECASE | re.DOTALL)


def _ntfs(name: bytes, short: bytes) -> re.Pattern[bytes]:
    """What NTFS may take for ``.name``: itself, its short name, or the fall-back short name of eight characters."""
    fallback = b"|".join(short[:kept] + rb"~[1-9]" + rb"[0-9]" * (6 - kept) for kept in range(7))
    return re.compile(rb"(?:\.%b|%b~[1-4]|%b)[. ]*(?::.*)?\Z" % (name, name[:6], fallback), re.IGNORECASE | re.DOTALL)


_GITMODULES = _ntfs(b"gitmodules", b"gi7eba")
_GITATTRIBUTES = _ntfs(b"gitattributes", b"gi7d29")


def unsafe_name(name: bytes) -> str | None:
    """Why Git cannot hold ``name`` as one component of a path; None where it can.

    Args:
        name: one component, as the file system has it.
    """
    if not name:
        return "an empty name"
    if name in (b".", b".."):
        return f"the name {name.decode()}"
    if b"/" in name or b"\0" in name:
        return "a slash or a zero byte in the name"
    if _means(name, b".git", _DOTGIT):
        return "Git takes this name for its own .git"
    if _means(name, b".gitmodules", _GITMODULES):
        return "Git takes this name for its own .gitmodules"
    return None


def unsafe_content(name: bytes, content: bytes) -> str | None:
    """Why Git refuses ``content`` under ``name`` though it could hold the name; None where it does not.

    Args:
        name: one component for which unsafe_name is None.
        content: what the file holds.
    """
    if not _means(name, b".gitattributes", _GITATTRIBUTES):
        return None
    if max(map(len, content.split(b"\n"))) >= _ATTRIBUTES_LINE:
        return f"Git refuses attributes with lines of {_ATTRIBUTES_LINE} bytes and more"
    return None


def _means(name: bytes, hfs: bytes, ntfs: re.Pattern[bytes]) -> bool:
    """Whether a file system would take the name, or a part of it behind a backslash, for one of Git's own."""
    if not name.isascii() and _as_hfs(name) == hfs:
        return True
    at = 0
    while True:
        if ntfs.match(name, at):
            return True
        at = name.find(b"\\", at) + 1
        if at == 0:
            return False


def _as_hfs(name: bytes) -> bytes:
    """The name as Git reads it for HFS+: it ends at the first byte that is not UTF-8, and cases are the same."""
    text = name.decode("utf-8", "surrogateescape")
    whole = next((text[:at] for at, char in enumerate(text) if "\udc80" <= char <= "\udcff"), text)
    return _HFS_IGNORED.sub("", whole).encode("utf-8").lower()
