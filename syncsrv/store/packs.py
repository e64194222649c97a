"""Packs: those that lie there are read through dulwich, new ones are written without deltas.

A pack that we write is used for many objects at once (ten thousand new files are one fsync, not ten thousand). Stock
Git may repack at any time, so a pack that is gone is looked for again under its new name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID, hex_to_sha
from dulwich.pack import OFS_DELTA, Pack, PackFileDisappeared, UnresolvedDeltas, write_pack_index_v2

from syncsrv import durable
from syncsrv.store.files import OBJECT_MODE, DamagedObjectError, create, temporary, write_all

TYPE_NUMBERS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
KIND_OF = {number: kind for kind, number in TYPE_NUMBERS.items()}
_DELTA_CACHE = 16 * 1024 * 1024
_BROKEN = (
    ApplyDeltaError,
    AssertionError,  # how dulwich reports most of what is wrong in a pack
    ChecksumMismatch,
    IndexError,
    KeyError,
    UnresolvedDeltas,
    ValueError,
    struct.error,
    zlib.error,
)
_GONE = (FileNotFoundError, PackFileDisappeared)
_FLUSH_AT = 1024 * 1024


class Packs:
    """The packs of a repository, for any number of threads.

    Args:
        folder: ``objects/pack``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._packs: dict[str, Pack] = {}
        # dulwich's packs complain when they are still open while the interpreter shuts down
        self._closing = weakref.finalize(self, _close, self._packs)
        self.refresh()

    def has(self, object_id: str) -> bool:
        """Whether a pack that we know holds the object; new packs are seen after ``refresh``."""
        with self._lock:
            return self._find(object_id) is not None

    def place(self, object_id: str) -> tuple[Path, int] | None:
        """The pack that holds the object and where in it; None where none does that we know."""
        with self._lock:
            pack = self._find(object_id)
            for name, known in self._packs.items():
                if known is pack:
                    with contextlib.suppress(KeyError, *_GONE, *_BROKEN, OSError):
                        offset = pack.index.object_offset(RawObjectID(bytes.fromhex(object_id)))
                        return self._folder / f"{name}.pack", offset
            return None

    def read(self, object_id: str) -> tuple[str, bytes] | None:
        """Kind and content; None where no pack holds it.

        Raises:
            DamagedObjectError: it cannot be unpacked.
        """
        with self._lock:
            for attempt in range(2):
                pack = self._find(object_id)
                if pack is None and attempt == 0:
                    self.refresh()
                    pack = self._find(object_id)
                if pack is None:
                    return None
                try:
                    number, data = pack.get_raw(RawObjectID(bytes.fromhex(object_id)))
                except _GONE:
                    self.refresh()
                except (*_BROKEN, OSError) as error:
                    raise DamagedObjectError(object_id, f"its pack is damaged ({error!r:.200})") from error
                else:
                    return KIND_OF[number], data
            return None

    def ids(self, prefix: bytes = b"") -> Iterator[str]:
        """The ids of all packed objects, or of those whose binary id begins with ``prefix``; some may come twice."""
        with self._lock:
            self.refresh()
            found: list[bytes] = []
            for pack in self._packs.values():
                with contextlib.suppress(*_GONE, *_BROKEN):
                    found.extend(pack.index.iter_prefix(prefix) if prefix else map(hex_to_sha, pack))
        return (raw.hex() for raw in found)

    def refresh(self) -> None:
        """Look at the folder again."""
        with self._lock:
            try:
                there = {entry.name for entry in os.scandir(self._folder)}
            except FileNotFoundError:
                there = set()
            names = {name[:-4] for name in there if name.endswith(".idx") and name[:-4] + ".pack" in there}
            for name in self._packs.keys() - names:
                self._packs.pop(name).close()
            for name in names - self._packs.keys():
                base = str(self._folder / name)
                self._packs[name] = Pack(base, object_format=SHA1, delta_base_cache_limit=_DELTA_CACHE)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            _close(self._packs)

    def _find(self, object_id: str) -> Pack | None:
        raw = RawObjectID(bytes.fromhex(object_id))
        for pack in list(self._packs.values()):
            try:
                pack.index.object_offset(raw)
            except KeyError:
                continue
            except _GONE:
                self.refresh()
                continue
            except (*_BROKEN, OSError):
                continue  # a damaged index hides its objects: who needs one hears that it is missing
            return pack
        return None


def read_all(path: Path) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Everything that one pack holds, by its index; for who has to know that it can be read.

    Raises:
        DamagedObjectError: something cannot.
    """
    pack = Pack(str(path.with_suffix("")), object_format=SHA1, delta_base_cache_limit=_DELTA_CACHE)
    with contextlib.closing(pack):
        object_id = ""
        try:
            for sha in pack:
                object_id = sha.decode()
                number, data = pack.get_raw(sha)
                yield object_id, (KIND_OF[number], data)
        except (*_BROKEN, OSError) as error:
            raise DamagedObjectError(object_id, f"its pack is damaged ({error!r:.200})") from error


def _close(packs: dict[str, Pack]) -> None:
    while packs:
        packs.popitem()[1].close()


class PackWriter:
    """A pack in the making: objects go in one by one, and can be read back before it is finished.

    Args:
        folder: ``objects/pack``; the caller is the repository's only writer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = temporary(folder, "pack")
        self._handle = create(self._path)
        self._buffer = bytearray(_header(0))
        self._flushed = 0
        self._entries: dict[str, tuple[int, int, int]] = {}
        self._depths: dict[str, int] = {}

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._entries

    def ids(self) -> Iterable[str]:
        """What is in it."""
        return self._entries.keys()

    def add(self, object_id: str, kind: str, data: bytes) -> None:
        """Append an object that is not in it yet."""
        self._append(object_id, entry_head(kind, len(data)) + zlib.compress(data, 1))

    def add_delta(self, object_id: str, base: str, delta: bytes) -> None:
        """Append an object as what makes it of one that is in it already; it cannot be read before the end."""
        distance = self._flushed + len(self._buffer) - self._entries[base][0]
        self._depths[object_id] = self.depth(base) + 1
        self._append(object_id, _head(OFS_DELTA, len(delta)) + _distance(distance) + zlib.compress(delta))

    def depth(self, object_id: str) -> int:
        """On how many others an object in it stands."""
        return self._depths.get(object_id, 0)

    def read(self, object_id: str) -> tuple[str, bytes]:
        """Kind and content of an object that is in it."""
        offset, _, length = self._entries[object_id]
        self._flush()
        return decode_entry(os.pread(self._handle, length, offset))

    def finish(self) -> Path:
        """Make the pack durable and visible; its path, which follows from its content."""
        self._flush()
        checksum = seal(self._handle, len(self._entries))
        entries = [(object_id, offset, crc) for object_id, (offset, crc, _) in self._entries.items()]
        path = publish(self._path, self._handle, entries, checksum)
        os.close(self._handle)
        return path

    def abort(self) -> None:
        """Drop it."""
        os.close(self._handle)
        self._path.unlink(missing_ok=True)

    def _append(self, object_id: str, record: bytes) -> None:
        self._entries[object_id] = (self._flushed + len(self._buffer), zlib.crc32(record), len(record))
        self._buffer += record
        if len(self._buffer) >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            write_all(self._handle, bytes(self._buffer))
            self._flushed += len(self._buffer)
            self._buffer.clear()


def entry_head(kind: str, size: int) -> bytes:
    """The bytes before the compressed content of a whole object."""
    return _head(TYPE_NUMBERS[kind], size)


def _head(number: int, size: int) -> bytes:
    """Type and size: four bits, then seven a byte."""
    head = bytearray()
    byte = number << 4 | size & 0x0F
    size >>= 4
    while size:
        head.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    head.append(byte)
    return bytes(head)


def _distance(distance: int) -> bytes:
    """How far back the base of a delta begins; seven bits a byte, highest first, each but the last one less."""
    out = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        out.append(distance & 0x7F | 0x80)
    return bytes(reversed(out))


def decode_entry(record: bytes) -> tuple[str, bytes]:
    """Kind and content of one whole entry without a delta that we wrote or checked before."""
    kind = KIND_OF[record[0] >> 4 & 7]
    at = 0
    while record[at] & 0x80:
        at += 1
    return kind, zlib.decompress(record[at + 1 :])


def seal(handle: int, count: int) -> bytes:
    """Put the number of objects into the head of a pack and its checksum behind its end.

    Returns:
        The checksum.
    """
    os.pwrite(handle, _header(count), 0)
    digest = hashlib.sha1(usedforsecurity=False)
    at = 0
    while chunk := os.pread(handle, _FLUSH_AT, at):
        digest.update(chunk)
        at += len(chunk)
    os.lseek(handle, at, os.SEEK_SET)
    write_all(handle, digest.digest())
    return digest.digest()


def publish(path: Path, handle: int, entries: list[tuple[str, int, int]], checksum: bytes) -> Path:
    """Give a sealed temporary pack its index and its name: it is durable, and readers see it, when this returns.

    Args:
        path: the temporary file, in ``objects/pack``.
        handle: open on it.
        entries: id, offset and CRC of each object.
        checksum: the pack's last 20 bytes.

    Returns:
        Where it is now.
    """
    folder = path.parent
    index = temporary(folder, "idx")
    name = f"pack-{checksum.hex()}"
    try:
        with open(create(index), "wb") as file:
            write_pack_index_v2(file, sorted((bytes.fromhex(i), at, crc) for i, at, crc in entries), checksum)
            os.fchmod(file.fileno(), OBJECT_MODE)
            file.flush()
            os.fsync(file.fileno())
        os.fchmod(handle, OBJECT_MODE)
        os.fsync(handle)
        path.rename(folder / f"{name}.pack")
        durable.sync_directory(folder)
        index.rename(folder / f"{name}.idx")
        durable.sync_directory(folder)
    except BaseException:
        index.unlink(missing_ok=True)
        raise
    return folder / f"{name}.pack"


def _header(count: int) -> bytes:
    return b"PACK" + struct.pack(">II", 2, count)
