"""A tree as it lies on the disk, read with plain calls: the demo believes nothing that the program says of itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Found:
    """One path of a tree.

    Attributes:
        kind: file, link, directory or other.
        mode: four octal digits; a link's is always the same.
        owner: UID:GID.
        content: of a file its bytes, of a link its target, else empty.
    """

    kind: str
    mode: str
    owner: str
    content: bytes = b""


Snapshot: TypeAlias = Mapping[str, Found]
"""Path below the top: what stands there."""


_A = {"file": "a file", "link": "a link", "directory": "a directory", "other": "something else"}


def snapshot(top: Path) -> dict[str, Found]:
    """Everything below a directory, links not followed.

    Args:
        top: the directory; not part of the answer itself.
    """
    found: dict[str, Found] = {}
    for where, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(where, name)
            found[str(path.relative_to(top))] = _read(path)
    return found


def _read(path: Path) -> Found:
    status = path.lstat()
    mode, owner = f"{stat.S_IMODE(status.st_mode):04o}", f"{status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return Found("link", mode, owner, os.fsencode(path.readlink()))
    if stat.S_ISDIR(status.st_mode):
        return Found("directory", mode, owner)
    if stat.S_ISREG(status.st_mode):
        return Found("file", mode, owner, path.read_bytes())
    return Found("other", mode, owner)


def differences(wanted: Snapshot, seen: Snapshot) -> list[str]:
    """What of ``seen`` is not as wanted, one sentence a path; empty where both are equal in everything."""
    return [
        f"{path}: {_difference(wanted.get(path), seen.get(path))}"
        for path in sorted({*wanted, *seen})
        if wanted.get(path) != seen.get(path)
    ]


def _difference(wanted: Found | None, seen: Found | None) -> str:
    if seen is None:
        return "is missing"
    if wanted is None:
        return "should not be there"
    if wanted.kind != seen.kind:
        return f"is {_A[seen.kind]} where {_A[wanted.kind]} should be"
    if wanted.content != seen.content:
        return "has another content" if wanted.kind == "file" else "has another target"
    if wanted.mode != seen.mode:
        return f"has mode {seen.mode}, not {wanted.mode}"
    return f"belongs to {seen.owner}, not to {wanted.owner}"


def summary(tree: Snapshot) -> str:
    """How many of what: ``12 files, 2 links, 7 directories (1 of them empty)``."""
    kinds = [one.kind for one in tree.values()]
    full = {os.path.dirname(path) for path in tree}
    empty = sum(one.kind == "directory" and path not in full for path, one in tree.items())
    parts = []
    for kind, many in (("file", "files"), ("link", "links"), ("directory", "directories"), ("other", "others")):
        count = kinds.count(kind)
        if count:
            parts.append(f"{count} {kind if count == 1 else many}")
    return ", ".join(parts) + (f" ({empty} of them empty)" if empty else "")
