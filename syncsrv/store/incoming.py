"""Objects that came from a peer and are not believed yet: a pack, parsed while it streams into an anonymous file.

Only what our own sender emits is taken: a pack of version 2 with whole objects, no deltas (so no bombs of them). Bounds
are checked before memory or disk is used; of each object only its place in the file is remembered.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from syncsrv.errors import SyncsrvError
from syncsrv.plan.names import unsafe_content, unsafe_name
from syncsrv.store import commits, gitformat
from syncsrv.store.cache import Recent
from syncsrv.store.commits import CommitInfo
from syncsrv.store.files import write_all, writing
from syncsrv.store.gitformat import Child, MalformedObjectError
from syncsrv.store.packs import KIND_OF, decode_entry
from syncsrv.store.repo import Store

_FLUSH_AT = 1024 * 1024
_WHAT = "what the peer sends to"
_LONGEST_NAME = 256
"""Bytes: the longest name of Linux, and a plus for its metadata."""

_SUSPECT_LINE = b"x" * 4096
"""Content that Git refuses under a name that it reads attributes from."""


class HostileObjectsError(SyncsrvError):
    """What a peer sent is not what an honest one sends; nothing of it was kept. Never forcible."""

    code = "hostile-objects"

    def __init__(self, why: str, object_id: str = "", peer: str = "the peer") -> None:
        named = f"object {object_id}: " if object_id else ""
        super().__init__(
            f"cannot accept what {peer} sent: {named}{why}",
            f"look at the repository of {peer}: `git fsck --strict` there",
        )
        self.why = why
        self.object_id = object_id


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much from a peer.

    Attributes:
        objects: in one transfer.
        object_bytes: of one file's content.
        structure_bytes: of one tree, commit or tag.
        total_bytes: of all content, uncompressed.
    """

    objects: int = 500_000
    object_bytes: int = 512 * 1024 * 1024
    structure_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 8 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """An object in the file."""

    kind: str
    offset: int
    length: int


class _Entry:
    """The object that is streaming in."""

    def __init__(self, kind: str, size: int, offset: int) -> None:
        self.kind = kind
        self.size = size
        self.offset = offset
        self.inflate = zlib.decompressobj()
        self.digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), size), usedforsecurity=False)
        self.got = 0
        self.kept = bytearray()
        self.piece = 4096


class Spool:
    """What came, over what the repository has: to the walk that checks it both are one.

    Args:
        store: the repository.
        folder: where the file lies.
        limits: what is too much.
    """

    def __init__(self, store: Store, folder: Path, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._folder = folder
        with writing(folder, _WHAT):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._unwritten = bytearray()
        self._buffer = b""
        self._at = 0
        self._written = 0
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._expected: int | None = None
        self._entry: _Entry | None = None
        self._total = 0
        self._ended = False
        self._places: dict[str, _Place] = {}
        self._children: Recent[str, dict[bytes, Child]] = Recent(200_000)
        self._commits: Recent[str, CommitInfo] = Recent(20_000)
        self.attributes: set[tuple[bytes, str]] = set()

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def feed(self, data: bytes) -> None:
        """Parse and keep some bytes.

        Raises:
            HostileObjectsError: they are not acceptable.
            NoSpaceError: they do not fit on the disk.
        """
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        try:
            while self._step():
                pass
        except MalformedObjectError as error:
            raise HostileObjectsError(error.why, error.object_id) from error

    def missing(self) -> str:
        """What has not come yet, in words; empty when all has."""
        if self._ended:
            return ""
        if self._expected is None:
            return "it ended before it began"
        return f"it ended after {len(self._places)} of {self._expected} objects"

    # what the walk reads

    def holds(self, object_id: str) -> bool:
        """Whether the object came now."""
        return object_id in self._places

    def has(self, object_id: str) -> bool:
        return object_id in self._places or self._store.has(object_id)

    def kind(self, object_id: str) -> str:
        place = self._places.get(object_id)
        return place.kind if place is not None else self._store.kind(object_id)

    def read(self, object_id: str, kind: str) -> bytes:
        place = self._places.get(object_id)
        if place is None:
            return self._store.read(object_id, kind)
        if place.kind != kind:
            raise MalformedObjectError(object_id, f"it is a {place.kind} where a {kind} belongs")
        self._flush()
        with writing(self._folder, _WHAT):
            return decode_entry(os.pread(self._file.fileno(), place.length, place.offset))[1]

    def read_commit(self, commit_id: str) -> CommitInfo:
        if commit_id not in self._places:
            return self._store.read_commit(commit_id)
        known = self._commits.get(commit_id)
        if known is None:
            known = commits.parse_commit(commit_id, self.read(commit_id, "commit"))
            self._commits.put(commit_id, known)
        return known

    def children(self, tree_id: str) -> dict[bytes, Child]:
        if tree_id not in self._places:
            return self._store.children(tree_id)
        known = self._children.get(tree_id)
        if known is None:
            known = gitformat.parse_tree(tree_id, self.read(tree_id, "tree"))
            self._children.put(tree_id, known, len(known) + 1)
        return known

    # the stream

    def _step(self) -> bool:
        """Take one part of the stream; False when more bytes are needed for it."""
        if self._ended:
            if self._at < len(self._buffer):
                raise HostileObjectsError("something follows after its end")
            return False
        if self._expected is None:
            return self._head()
        if self._entry is not None:
            return self._body(self._entry)
        if len(self._places) == self._expected:
            return self._tail(self._expected)
        return self._entry_head()

    def _head(self) -> bool:
        if len(self._buffer) < 12:
            return False
        if self._buffer[:8] != b"PACK\0\0\0\2":
            raise HostileObjectsError("it is no pack of version 2")
        self._expected = int.from_bytes(self._buffer[8:12], "big")
        if self._expected > self._limits.objects:
            raise HostileObjectsError(f"it has {self._expected} objects, more than {self._limits.objects}")
        self._take(12)
        return True

    def _entry_head(self) -> bool:
        """Type and size: four bits, then seven a byte, as long as the highest bit is set."""
        at, shift, byte = self._at, 4, 0x80
        if at >= len(self._buffer):
            return False
        byte = self._buffer[at]
        kind, size = KIND_OF.get(byte >> 4 & 7), byte & 0x0F
        while byte & 0x80:
            at += 1
            if shift > 40:
                raise HostileObjectsError("the size of an object is no number")
            if at >= len(self._buffer):
                return False
            byte = self._buffer[at]
            size |= (byte & 0x7F) << shift
            shift += 7
        if kind is None:
            raise HostileObjectsError("it holds a delta, or something of an unknown type")
        limit = self._limits.object_bytes if kind == "blob" else self._limits.structure_bytes
        if size > limit:
            raise HostileObjectsError(f"it holds a {kind} of {size} bytes, more than {limit}")
        self._total += size
        if self._total > self._limits.total_bytes:
            raise HostileObjectsError(f"it unfolds to more than {self._limits.total_bytes} bytes")
        self._entry = _Entry(kind, size, self._written)
        self._take(at + 1 - self._at)
        return True

    def _body(self, entry: _Entry) -> bool:
        piece = self._buffer[self._at : self._at + entry.piece]
        if not piece:
            return False
        entry.piece = min(entry.piece * 4, 1 << 20)
        try:
            data = entry.inflate.decompress(piece, 1 << 20)
        except zlib.error as error:
            raise HostileObjectsError(f"an object of it cannot be unpacked ({error})") from error
        # at the end unconsumed_tail may repeat what unused_data has: only one of them counts
        left = entry.inflate.unused_data if entry.inflate.eof else entry.inflate.unconsumed_tail
        self._take(len(piece) - len(left))
        entry.got += len(data)
        if entry.got > entry.size:
            raise HostileObjectsError("an object of it is longer than it says")
        entry.digest.update(data)
        if entry.kind != "blob":
            entry.kept += data
        if entry.inflate.eof:
            self._object(entry)
        return True

    def _object(self, entry: _Entry) -> None:
        object_id = entry.digest.hexdigest()
        if entry.got != entry.size:
            raise HostileObjectsError("an object of it is shorter than it says", object_id)
        if object_id in self._places:
            raise HostileObjectsError("it comes twice", object_id)
        if entry.kind == "tree":
            self._check_tree(object_id, bytes(entry.kept))
        elif entry.kind == "commit":
            commits.parse_commit(object_id, bytes(entry.kept))
        elif entry.kind == "tag":
            _check_tag(object_id, bytes(entry.kept))
        self._places[object_id] = _Place(entry.kind, entry.offset, self._written - entry.offset)
        self._entry = None

    def _check_tree(self, tree_id: str, data: bytes) -> None:
        for name, child in gitformat.parse_tree(tree_id, data).items():
            why = unsafe_name(name)
            if why is None and len(name) > _LONGEST_NAME:
                why = f"a name of {len(name)} bytes"
            if why is not None:
                shown = name[:40].decode("utf-8", "backslashreplace")
                raise MalformedObjectError(tree_id, f"it is a tree that holds {shown!r} ({why})")
            if child.id == "0" * 40:
                raise MalformedObjectError(tree_id, "it is a tree that names the null id")
            plain = name.isascii() and b"~" not in name and b"gi" not in name.lower()
            if not plain and child.mode != gitformat.DIRECTORY and unsafe_content(name, _SUSPECT_LINE) is not None:
                self.attributes.add((name, child.id))

    def _tail(self, expected: int) -> bool:
        if len(self._buffer) - self._at < 20:
            return False
        if self._buffer[self._at : self._at + 20] != self._digest.digest():
            raise HostileObjectsError(f"its checksum after {expected} objects does not fit")
        self._at += 20
        self._ended = True
        return True

    def _take(self, count: int) -> None:
        """Move bytes from the buffer to the file."""
        data = self._buffer[self._at : self._at + count]
        self._at += count
        self._written += count
        self._digest.update(data)
        self._unwritten += data
        if len(self._unwritten) >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        if self._unwritten:
            with writing(self._folder, _WHAT):
                write_all(self._file.fileno(), bytes(self._unwritten))
            self._unwritten.clear()


def _check_tag(tag_id: str, data: bytes) -> None:
    headers = gitformat.parse_headers(tag_id, data)
    if [name for name, _ in headers.fields] != ["object", "type", "tag", "tagger"]:
        raise MalformedObjectError(tag_id, "it is a tag whose head is not in Git's order")
    target, kind, _, tagger = (value for _, value in headers.fields)
    gitformat.header_id(tag_id, target)
    gitformat.parse_ident(tag_id, tagger)
    if kind != b"commit":
        raise MalformedObjectError(tag_id, "it does not tag a commit")
