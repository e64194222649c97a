"""What a managed file *is*: the words that store, watch, plan and apply share. Pure.

A tree maps paths to entries. A path is bytes below the managed root without a leading slash
(``b"etc/nginx/nginx.conf"``), kept byte for byte, so that names that are not UTF-8 live through everything.
Parents of an area are not in the tree; every directory inside an area is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

CLUSTER_PATH = b".syncsrv/cluster.yaml"
"""Where the tree keeps cluster.yaml, the built-in area ``cluster``."""

_ESCAPED = re.compile(rb"\\x(5c|[89a-f][0-9a-f])")


class Kind(enum.StrEnum):
    """The types that Git can hold; the letters are those of the metadata format."""

    FILE = "f"
    DIRECTORY = "d"
    LINK = "l"


@dataclass(frozen=True, slots=True, eq=False)
class Owner:
    """A user or a group: equal by name, since two hosts number their daemons differently; by number where it has none.

    Attributes:
        name: as in passwd or group of the node where it was read; empty where the number has no name there.
        number: uid or gid on that node.
    """

    name: str
    number: int

    @property
    def key(self) -> str | int:
        return self.name or self.number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owner) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.name or f"#{self.number}"


ROOT = Owner("root", 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or link.

    Attributes:
        kind: file, directory or link.
        mode: permission bits, 0o0000 to 0o7777; always 0o777 for a link.
        user: owner.
        group: owning group.
        blob: Git's id of the content (of the target for a link), 40 hex digits; empty for a directory.
        xattrs: carried extended attributes, sorted by name.
    """

    kind: Kind
    mode: int
    user: Owner = ROOT
    group: Owner = ROOT
    blob: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()


Tree: TypeAlias = Mapping[bytes, Entry]


def show_path(path: bytes) -> str:
    """A path for people, JSON and YAML: ``/etc/nginx/nginx.conf``; a byte that is not UTF-8 as an escape.

    Text in between must be valid Unicode everywhere it goes, so surrogates would not do. A literal backslash before an
    ``x`` is escaped too, so that tree_path finds the same bytes again.
    """
    return "/" + path.replace(b"\\x", b"\\x5cx").decode("utf-8", "backslashreplace")


def tree_path(shown: str) -> bytes:
    """The inverse of show_path, for configuration and the command line."""
    raw = shown.strip("/").encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw)


def is_below(path: bytes, top: bytes) -> bool:
    """Whether ``path`` is ``top`` or lies below it."""
    return path == top or top == b"" or path.startswith(top + b"/")


def parents(path: bytes) -> list[bytes]:
    """The directories above a path, deepest first, without the root."""
    found = []
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        found.append(path)
    return found
