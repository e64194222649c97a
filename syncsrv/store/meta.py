r"""What Git cannot hold of an entry, as lines of text. Pure.

Beside the mirrored files the tree has one file of lines for each directory that needs one:
``.syncsrv/meta/+etc/+nginx/entries`` is for /etc/nginx, each directory on the way with a plus before its name. A line
is ``NAME\tTYPE\tMODE\tUSER:UID\tGROUP:GID[\tXATTR=VALUE…]``, lines sorted bytewise, and stands only where something
differs from the default: owner root:root, mode 0644, 0755 for directories and for files that Git marks executable, no
attributes. ``.`` is the directory itself, and is also there when the directory is empty. Names and values are written
with ``%XX`` for each byte that is no visible ASCII character, for ``%``, and for ``:`` in owners and ``=`` in attribute
names. Read is any sequence of such lines, since people may push by hand; what is malformed has a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import ROOT, Entry, Kind, Owner

META = b"meta"
ENTRIES = b"entries"
SELF = b"."
DEFAULT_DIRECTORY = Entry(Kind.DIRECTORY, 0o755)

_MODE = re.compile(rb"[0-7]{4}\Z")
_NUMBER = re.compile(rb"[0-9]{1,10}\Z")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")


class BadMetadataError(SyncsrvError):
    """A file of metadata lines, or the tree that holds them, is not as the format says."""

    code = "bad-metadata"

    def __init__(self, directory: bytes, why: str) -> None:
        path = b"/".join((b".syncsrv/meta", *(b"+" + part for part in directory.split(b"/") if part), ENTRIES))
        super().__init__(
            f"cannot read the metadata in {path.decode('utf-8', 'backslashreplace')}: {why}",
            "correct the line, or take it away: the entry is then root's with a default mode",
        )
        self.directory = directory
        self.why = why


def parse_lines(directory: bytes, data: bytes) -> dict[bytes, Entry]:
    """The lines of one directory by name; blobs are empty, what Git knows better is not looked at.

    Args:
        directory: its path in the tree, for messages.
        data: the content of its file.

    Raises:
        BadMetadataError: a line is malformed or stands twice.
    """
    found: dict[bytes, Entry] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            continue
        try:
            name, entry = _parse_line(line)
        except ValueError as error:
            raise BadMetadataError(directory, f"line {number}: {error}") from error
        if name in found:
            raise BadMetadataError(directory, f"line {number}: the name stands twice")
        found[name] = entry
    return found


def format_lines(own: Entry | None, files: Mapping[bytes, Entry], *, empty: bool) -> bytes:
    """The file of one directory; empty bytes where it needs none.

    Args:
        own: the directory itself; None for the root, which is no entry.
        files: the files and links in it.
        empty: whether nothing else shows that the directory exists.
    """
    lines = [_format_line(name, entry) for name, entry in files.items() if not is_default(entry)]
    if own is not None and (empty or not is_default(own)):
        lines.append(_format_line(SELF, own))
    return b"".join(sorted(lines))


def is_default(entry: Entry) -> bool:
    """Whether Git alone can hold the entry."""
    if entry.user != ROOT or entry.group != ROOT or entry.xattrs:
        return False
    if entry.kind is Kind.LINK:
        return True
    return entry.mode == (0o755 if entry.kind is Kind.DIRECTORY or entry.mode & 0o100 else 0o644)


def merge(line: Entry | None, kind: Kind, blob: str, *, executable: bool) -> Entry:
    """An entry as it is: type, content and x from Git, all else from its line.

    Args:
        line: what its line says; a line of another type counts for nothing.
        kind: Git's type.
        blob: Git's id of the content.
        executable: Git's x bit.
    """
    if line is None or line.kind is not kind:
        mode = 0o777 if kind is Kind.LINK else 0o755 if executable else 0o644
        return Entry(kind, mode, blob=blob)
    if kind is Kind.LINK:
        return replace(line, mode=0o777, blob=blob)
    mode = line.mode
    if executable and not mode & 0o100:
        mode |= (mode & 0o444) >> 2 | 0o100
    elif not executable and mode & 0o100:
        mode &= ~0o111
    return replace(line, mode=mode, blob=blob)


def encode(raw: bytes, also: bytes = b"") -> bytes:
    """``raw`` as visible ASCII; ``also`` are further bytes to escape."""
    escaped = b"%" + also
    return b"".join(bytes((b,)) if 0x21 <= b <= 0x7E and b not in escaped else b"%%%02X" % b for b in raw)


def decode(text: bytes) -> bytes:
    """The inverse of encode; bytes that need not have been escaped may stand as they are.

    Raises:
        ValueError: a % without two hex digits.
    """
    return _ENCODED.sub(_decode_one, text)


def _decode_one(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        raise ValueError("a % without two hex digits")
    return bytes.fromhex(match[1].decode())


def _format_line(name: bytes, entry: Entry) -> bytes:
    fields = [
        name if name == SELF else encode(name),
        entry.kind.value.encode(),
        b"%04o" % entry.mode,
        _format_owner(entry.user),
        _format_owner(entry.group),
        *(_format_xattr(key, value) for key, value in sorted(entry.xattrs)),
    ]
    return b"\t".join(fields) + b"\n"


def _format_owner(owner: Owner) -> bytes:
    return encode(owner.name.encode("utf-8", "surrogateescape"), b":") + b":%d" % owner.number


def _format_xattr(name: str, value: bytes) -> bytes:
    return encode(name.encode("utf-8", "surrogateescape"), b"=") + b"=" + encode(value)


def _parse_line(line: bytes) -> tuple[bytes, Entry]:
    fields = line.split(b"\t")
    if len(fields) < 5:
        raise ValueError("it needs name, type, mode, user and group with tabs between")
    name = decode(fields[0])
    if not name or name == b".." or b"/" in name or b"\0" in name:
        raise ValueError("its name cannot be one")
    try:
        kind = Kind(fields[1].decode("latin-1"))
    except ValueError:
        raise ValueError("its type is none of f, d and l") from None
    if (kind is Kind.DIRECTORY) != (name == SELF):
        raise ValueError("a directory's line is the . of its own file, and only that")
    if not _MODE.match(fields[2]):
        raise ValueError("its mode is not four octal digits")
    xattrs = tuple(sorted(_parse_xattrs(fields[5:])))
    return name, Entry(kind, int(fields[2], 8), _parse_owner(fields[3]), _parse_owner(fields[4]), "", xattrs)


def _parse_owner(field: bytes) -> Owner:
    name, colon, number = field.rpartition(b":")
    if not colon or not _NUMBER.match(number) or int(number) > 0xFFFF_FFFE:
        raise ValueError("an owner is not NAME:NUMBER")
    raw = decode(name)
    if b"\0" in raw or b":" in name:
        raise ValueError("an owner's name cannot be one")
    return Owner(raw.decode("utf-8", "surrogateescape"), int(number))


def _parse_xattrs(fields: Iterable[bytes]) -> Iterable[tuple[str, bytes]]:
    seen = set()
    for field in fields:
        name, equals, value = field.partition(b"=")
        raw = decode(name)
        if not equals or not raw or b"\0" in raw or raw in seen:
            raise ValueError("an attribute is not NAME=VALUE, or stands twice")
        seen.add(raw)
        yield raw.decode("utf-8", "surrogateescape"), decode(value)
