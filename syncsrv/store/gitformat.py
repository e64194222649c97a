"""Git's objects as bytes: ids, trees, headers of commits and tags. Pure, and strict both ways.

What is parsed here may come from a peer: whatever Git itself would not write is a MalformedObjectError, never a guess.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from syncsrv.errors import SyncsrvError

KINDS = ("commit", "tree", "blob", "tag")
DIRECTORY, FILE, EXECUTABLE, LINK = 0o40000, 0o100644, 0o100755, 0o120000
_MODES = {b"40000": DIRECTORY, b"100644": FILE, b"100755": EXECUTABLE, b"120000": LINK}
_MODE_TEXT = {mode: text for text, mode in _MODES.items()}
_ID = re.compile(rb"[0-9a-f]{40}\Z")
_IDENT = re.compile(rb"(?:([^<>\n]*) )?<([^<>\n]*)> (0|[1-9][0-9]{0,14}) ([+-][0-9]{4})\Z")
"""As fsck wants it, save that a name may be missing there only with its space; zero padded dates are refused."""


class MalformedObjectError(SyncsrvError):
    """An object is not what Git would have written."""

    code = "malformed-object"

    def __init__(self, object_id: str, why: str) -> None:
        super().__init__(f"cannot use object {object_id}: {why}")
        self.object_id = object_id
        self.why = why


@dataclass(frozen=True, slots=True)
class Child:
    """One line of a tree: DIRECTORY, FILE, EXECUTABLE or LINK, and the id of what it names."""

    mode: int
    id: str


@dataclass(frozen=True, slots=True)
class Headers:
    """The head of a commit or a tag, in order, with the lines of folded values joined by newlines; and its message."""

    fields: tuple[tuple[str, bytes], ...]
    message: bytes

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


@dataclass(frozen=True, slots=True)
class Ident:
    """Who and when, as the head of a commit has it; ``at`` in seconds of the epoch."""

    name: str
    email: str
    at: int


def object_id(kind: str, data: bytes) -> str:
    """The name that Git gives to ``data``."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()


def is_id(text: str) -> bool:
    """Whether ``text`` is a whole object id."""
    return len(text) == 40 and _ID.match(text.encode("ascii", "replace")) is not None


def parse_tree(tree_id: str, data: bytes) -> dict[bytes, Child]:
    """The children of a tree by name, in its order.

    Raises:
        MalformedObjectError: modes other than the four, lines out of order, a name twice, an end in the middle. What
            the names mean is not looked at.
    """
    children: dict[bytes, Child] = {}
    at, last = 0, b""
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        zero = data.find(b"\0", space)
        if space < 0 or zero < 0 or zero + 21 > len(data):
            raise MalformedObjectError(tree_id, "it is a tree that ends in the middle of a line")
        mode = _MODES.get(data[at:space])
        if mode is None:
            raise MalformedObjectError(tree_id, f"it is a tree with the mode {data[at:space]!r}")
        name = data[space + 1 : zero]
        key = name + b"/" if mode == DIRECTORY else name
        if name in children or (children and key <= last):
            raise MalformedObjectError(tree_id, f"it is a tree whose names are double or out of order at {name!r}")
        children[name] = Child(mode, data[zero + 1 : zero + 21].hex())
        at, last = zero + 21, key
    return children


def format_tree(children: Iterable[tuple[bytes, Child]]) -> bytes:
    """The bytes of a tree with these children, given in any order."""
    ordered = sorted(children, key=lambda item: item[0] + b"/" if item[1].mode == DIRECTORY else item[0])
    return b"".join(_MODE_TEXT[child.mode] + b" " + name + b"\0" + bytes.fromhex(child.id) for name, child in ordered)


def parse_headers(object_id: str, data: bytes) -> Headers:
    """Head and message of a commit or a tag.

    Raises:
        MalformedObjectError: a zero byte, a line without a name, no empty line after the head.
    """
    head, separator, message = data.partition(b"\n\n")
    if b"\0" in data:
        raise MalformedObjectError(object_id, "it holds a zero byte")
    if not separator:
        head, message = data.removesuffix(b"\n"), b""
        if head == data:
            raise MalformedObjectError(object_id, "its last line does not end")
    fields: list[tuple[str, bytes]] = []
    for line in head.split(b"\n"):
        if line.startswith(b" ") and fields:
            name, value = fields[-1]
            fields[-1] = (name, value + b"\n" + line[1:])
            continue
        key, space, value = line.partition(b" ")
        if not space or not key or not key.isascii():
            raise MalformedObjectError(object_id, "a line of its head has no name or no value")
        fields.append((key.decode(), value))
    return Headers(tuple(fields), message)


def header_id(object_id: str, value: bytes) -> str:
    """An object id in a head.

    Raises:
        MalformedObjectError: it is not one.
    """
    if not _ID.match(value):
        raise MalformedObjectError(object_id, "an object id in its head is not one")
    return value.decode()


def format_headers(fields: Iterable[tuple[str, bytes]], message: bytes) -> bytes:
    """The bytes of a commit or a tag; newlines in values are folded."""
    lines = [name.encode() + b" " + value.replace(b"\n", b"\n ") + b"\n" for name, value in fields]
    return b"".join(lines) + b"\n" + message


def parse_ident(object_id: str, value: bytes) -> Ident:
    """An author, committer or tagger line.

    Raises:
        MalformedObjectError: fsck would refuse it.
    """
    match = _IDENT.match(value)
    if match is None:
        raise MalformedObjectError(object_id, "an author, committer or tagger in it is malformed")
    name, email, at, _zone = match.groups()
    return Ident((name or b"").decode("utf-8", "replace"), email.decode("utf-8", "replace"), int(at))


def format_ident(ident: Ident) -> bytes:
    """The inverse of parse_ident, always in UTC; characters that Git gives a meaning are left out."""
    name = _plain(ident.name) or "unknown"
    return f"{name} <{_plain(ident.email)}> {max(ident.at, 0)} +0000".encode("utf-8", "backslashreplace")


def _plain(text: str) -> str:
    return re.sub(r"[<>\x00-\x1f]", "", text).strip(" .,:;\"'\\")
