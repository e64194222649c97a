"""One object read piece by piece: its size without its content, its content without ever having it whole.

An object that a pack holds as a delta is the exception: what it stands on has to be whole, and so is it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEAD = 8192
"""Bytes at least that are there at once; a smaller object is whole."""

_READ = 64 * 1024
_PIECE = 256 * 1024
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFS_DELTA, _REF_DELTA = 6, 7
_LONGEST_HEADER = 64


class CutShortError(ValueError):
    """A file ends before its object does, or does not hold one."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """An object that is there.

    Attributes:
        kind: ``blob``, ``tree``, ``commit`` or ``tag``.
        size: bytes of its content.
        head: the first HEAD bytes of it or more; all of it where it has no more.
        pieces: yields all of it, compared with its id at the end; may be called again.
    """

    kind: str
    size: int
    head: bytes
    pieces: Callable[[], Iterator[bytes]]

    @property
    def is_whole(self) -> bool:
        """Whether ``head`` is all."""
        return len(self.head) == self.size


def whole(kind: str, data: bytes) -> Streamed:
    """What is in memory anyhow."""
    return Streamed(kind, len(data), data, lambda: (data[at : at + _PIECE] for at in range(0, len(data), _PIECE)))


@dataclass(frozen=True, slots=True)
class Opened:
    """An object in an open file, read up to its head; ``kind`` is empty for a delta, whose content is not read."""

    kind: str
    size: int
    content: Iterator[bytes]


def open_loose(file: BinaryIO) -> Opened:
    """The object that a file of its own holds.

    Raises:
        CutShortError, zlib.error: it holds none.
    """
    content = _inflated(file)
    first = next(content, b"")
    header, zero, rest = first.partition(b"\0")
    kind, _, size = header[:_LONGEST_HEADER].decode("latin-1").partition(" ")
    if not zero or kind not in _KINDS.values() or not size.isdecimal():
        raise CutShortError("its file is not an object")
    return Opened(kind, int(size), _chained(rest, content))


def open_packed(file: BinaryIO, offset: int) -> Opened:
    """The object that a pack has at an offset; of a delta only what size it has once it is applied.

    Raises:
        CutShortError, zlib.error: there is none.
    """
    file.seek(offset)
    byte = _byte(file)
    number, size, shift = byte >> 4 & 7, byte & 0x0F, 4
    while byte & 0x80:
        byte = _byte(file)
        size |= (byte & 0x7F) << shift
        shift += 7
    if number in _KINDS:
        return Opened(_KINDS[number], size, _inflated(file))
    if number == _REF_DELTA:
        file.read(20)
    elif number == _OFS_DELTA:
        while _byte(file) & 0x80:
            pass
    else:
        raise CutShortError("its pack has something else there")
    delta = iter(next(_inflated(file), b""))
    _varint(delta)
    return Opened("", _varint(delta), iter(()))


def head_of(opened: Opened) -> bytes:
    """The first HEAD bytes or more.

    Raises:
        CutShortError, zlib.error: it has fewer than it says.
    """
    head = b""
    for piece in opened.content:
        head += piece
        if len(head) >= min(HEAD, opened.size):
            break
    if len(head) < min(HEAD, opened.size) or len(head) > opened.size:
        raise CutShortError("its content is not as long as it says")
    return head


def checked(object_id: str, opened: Opened) -> Iterator[bytes]:
    """All its pieces.

    Raises:
        CutShortError, zlib.error: at the end, where they are not what its id says.
    """
    digest = hashlib.sha1(f"{opened.kind} {opened.size}\0".encode(), usedforsecurity=False)
    for piece in opened.content:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != object_id:
        raise CutShortError("its content is not what its id says")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    engine = zlib.decompressobj()
    size = HEAD + _LONGEST_HEADER
    while not engine.eof:
        data = engine.unconsumed_tail or file.read(_READ)
        piece = engine.decompress(data, size)
        if piece:
            yield piece
            size = min(2 * size, _PIECE)
        elif not data:
            raise CutShortError("its file is torn")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _byte(file: BinaryIO) -> int:
    data = file.read(1)
    if not data:
        raise CutShortError("its pack is torn")
    return data[0]


def _varint(data: Iterator[int]) -> int:
    value, shift = 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value
        shift += 7
    raise CutShortError("its delta is torn")
