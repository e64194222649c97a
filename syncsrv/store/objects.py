"""The objects of a repository: loose, in packs, or waiting to be written.

What is put waits in memory until ``place`` writes it: few objects as files of their own, all fsynced at once so that
the disk does it together; many as one pack. Raw writes (dulwich locks each loose object in its place, and a lock left
by a crash makes that object unwritable): a temporary file that Git's own prune knows, fsync, rename in the order they
were put, so that contents come before what names them. The directories are fsynced by ``settle``, which every move of a
ref calls first. What is read is compared with its id.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, TypeVar

from syncsrv import durable
from syncsrv.store import gitformat
from syncsrv.store.files import (
    OBJECT_MODE,
    DamagedObjectError,
    MissingObjectError,
    create,
    make_folder,
    temporary,
    write_all,
    writing,
)
from syncsrv.store.packs import Packs, PackWriter
from syncsrv.store.stream import CutShortError, Opened, Streamed, checked, head_of, open_loose, open_packed, whole

LOOSE_AT_MOST = 64
"""Objects that are written as files of their own; more at once become a pack."""

_ID = re.compile(r"[0-9a-f]{40}")

_HELD_AT_MOST = 4 * 1024 * 1024
_TOGETHER = 8

T = TypeVar("T")


class _Waiting:
    """Objects that are not in their place yet: few of them in memory, many in a pack in the making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, tuple[str, bytes]] = {}
        self._bytes = 0
        self._writer: PackWriter | None = None

    def get(self, object_id: str) -> tuple[str, bytes] | None:
        if object_id in self._held:
            return self._held[object_id]
        if self._writer is not None and object_id in self._writer:
            return self._writer.read(object_id)
        return None

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._held or (self._writer is not None and object_id in self._writer)

    def add(self, object_id: str, kind: str, data: bytes) -> None:
        if self._writer is not None:
            self._writer.add(object_id, kind, data)
            return
        self._held[object_id] = (kind, data)
        self._bytes += len(data)
        if len(self._held) > LOOSE_AT_MOST or self._bytes > _HELD_AT_MOST:
            self._writer = PackWriter(self._folder)
            for held_id, (held_kind, held_data) in self._held.items():
                self._writer.add(held_id, held_kind, held_data)
            self._held.clear()

    def take(self) -> tuple[dict[str, tuple[str, bytes]], PackWriter | None]:
        """What it holds, to be put in its place; it is empty afterwards."""
        taken = self._held, self._writer
        self._held, self._bytes, self._writer = {}, 0, None
        return taken


class Objects:
    """Reading is for any thread; putting is for the one that holds the repository's writer lock.

    Args:
        repository: the bare repository.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._folder = repository / "objects"
        self.packs = Packs(self._folder / "pack")
        self._lock = threading.RLock()
        self._waiting = _Waiting(self._folder / "pack")
        self._unsynced: set[Path] = set()
        self._damaged: set[str] = set()
        self._threads = ThreadPoolExecutor(_TOGETHER, thread_name_prefix="fsync")

    def has(self, object_id: str) -> bool:
        if not _ID.fullmatch(object_id):  # a peer's word becomes a path below
            return False
        with self._lock:
            if object_id in self._waiting:
                return True
        if self._loose_path(object_id).exists() or self.packs.has(object_id):
            return True
        self.packs.refresh()
        return self.packs.has(object_id)

    def read(self, object_id: str) -> tuple[str, bytes]:
        """Kind and content.

        Raises:
            MissingObjectError: there is none.
            DamagedObjectError: it is not what its id says.
        """
        if not _ID.fullmatch(object_id):
            raise MissingObjectError(object_id[:64], "that is no object's id")
        with self._lock, writing(self._repository):
            held = self._waiting.get(object_id)
        if held is not None:
            return held
        try:
            found = self._read_loose(object_id) or self.packs.read(object_id)
            if found is None:
                found = self._read_loose(object_id)  # a repack by stock Git may have put it back in between
            if found is not None and gitformat.object_id(*found) != object_id:
                raise DamagedObjectError(object_id, "its content is not what its id says")
        except DamagedObjectError:
            with self._lock:
                self._damaged.add(object_id)
            raise
        if found is None:
            raise MissingObjectError(object_id)
        return found

    def size(self, object_id: str) -> int:
        """Bytes of its content, which is not read.

        Raises:
            MissingObjectError, DamagedObjectError: as ``read``, as far as it was looked at.
        """
        with self._opened(object_id) as opened:
            if opened is not None:
                return opened.size
        return len(self.read(object_id)[1])

    def stream(self, object_id: str) -> Streamed:
        """An object that need not be in memory as a whole; a delta in a pack is, all the same.

        Raises:
            MissingObjectError, DamagedObjectError: as ``read``; its pieces raise the second at their end.
        """
        with self._opened(object_id) as opened:
            if opened is not None and opened.kind:
                head = head_of(opened)
                if len(head) == opened.size and gitformat.object_id(opened.kind, head) != object_id:
                    raise CutShortError("its content is not what its id says")
                return Streamed(opened.kind, opened.size, head, lambda: self._pieces(object_id))
        return whole(*self.read(object_id))

    def put(self, kind: str, data: bytes) -> str:
        """Store an object; it can be read at once, and lasts when the next ``settle`` has returned.

        Raises:
            NoSpaceError, UnwritableError: nothing of it remains.
        """
        object_id = gitformat.object_id(kind, data)
        with self._lock, writing(self._repository):
            if not self._is_there(object_id, kind, data):
                self._waiting.add(object_id, kind, data)
        return object_id

    def place(self) -> None:
        """Put what waits where other processes see it.

        Raises:
            NoSpaceError, UnwritableError: it is dropped, and ids that were handed out for it mean nothing.
        """
        with self._lock, writing(self._repository):
            held, writer = self._waiting.take()
            self._write_loose(held)
            if writer is not None:
                try:
                    writer.finish()
                except BaseException:
                    writer.abort()
                    raise
                self._damaged.difference_update(writer.ids())
                self.packs.refresh()

    def settle(self) -> None:
        """Make durable all that was put.

        Raises:
            NoSpaceError, UnwritableError: as ``place``.
        """
        with self._lock:
            self.place()
            with writing(self._repository):
                self._together(durable.sync_directory, self._unsynced)
            self._unsynced.clear()

    def ids(self) -> Iterator[str]:
        """Every object that is in its place; some may come twice."""
        for folder in sorted(self._folder.iterdir()):
            if len(folder.name) == 2:
                yield from self._loose_ids(folder.name, "")
        yield from self.packs.ids()

    def matching(self, prefix: str) -> set[str]:
        """The ids that begin with ``prefix``, at least two hex digits."""
        even = prefix[: len(prefix) // 2 * 2]
        packed = self.packs.ids(bytes.fromhex(even))
        return {*self._loose_ids(prefix[:2], prefix[2:]), *(i for i in packed if i.startswith(prefix))}

    def close(self) -> None:
        """Let go of files and threads."""
        self.packs.close()
        self._threads.shutdown()

    def _pieces(self, object_id: str) -> Iterator[bytes]:
        with self._opened(object_id) as opened:
            if opened is not None and opened.kind:
                yield from checked(object_id, opened)
                return
        yield from whole(*self.read(object_id)).pieces()

    @contextlib.contextmanager
    def _opened(self, object_id: str) -> Iterator[Opened | None]:
        """Where the object can be read piece by piece; None where ``read`` has to answer."""
        found = self._file(object_id) if _ID.fullmatch(object_id) else None
        if found is None:
            yield None
            return
        file, offset = found
        try:
            with file:
                yield open_loose(file) if offset is None else open_packed(file, offset)
        except (CutShortError, zlib.error) as error:
            with self._lock:
                self._damaged.add(object_id)
            raise DamagedObjectError(object_id, str(error)) from error

    def _file(self, object_id: str) -> tuple[BinaryIO, int | None] | None:
        """The file that holds the object, and where in it if that is a pack."""
        for _ in range(2):  # a repack by stock Git may move it in between
            try:
                return self._loose_path(object_id).open("rb"), None
            except FileNotFoundError:
                place = self.packs.place(object_id)
            if place is None:
                return None
            with contextlib.suppress(FileNotFoundError):
                return place[0].open("rb"), place[1]
            self.packs.refresh()
        return None

    def _is_there(self, object_id: str, kind: str, data: bytes) -> bool:
        """Whether the object need not be written; a torn file of that name does not count."""
        if object_id in self._waiting:
            return True
        try:
            if self._read_loose(object_id) == (kind, data):
                return True
        except DamagedObjectError:
            return False
        return object_id not in self._damaged and self.packs.has(object_id)

    def _write_loose(self, objects: Mapping[str, tuple[str, bytes]]) -> None:
        made: dict[str, tuple[Path, int]] = {}
        try:
            for object_id, (kind, data) in objects.items():
                temp = temporary(self._folder, "obj")
                handle = create(temp)
                made[object_id] = (temp, handle)
                write_all(handle, zlib.compress(b"%s %d\0" % (kind.encode(), len(data)) + data, 1))
                os.fchmod(handle, OBJECT_MODE)
            self._together(os.fsync, [handle for _, handle in made.values()])
            for object_id, (temp, _) in made.items():
                path = self._loose_path(object_id)
                self._unsynced.update(make_folder(path.parent))
                temp.rename(path)
                self._unsynced.add(path.parent)
                self._damaged.discard(object_id)
        except BaseException:
            for temp, _ in made.values():
                temp.unlink(missing_ok=True)
            raise
        finally:
            for _, handle in made.values():
                os.close(handle)

    def _read_loose(self, object_id: str) -> tuple[str, bytes] | None:
        try:
            packed = self._loose_path(object_id).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedObjectError(object_id, error.strerror or str(error)) from error
        try:
            head, zero, data = zlib.decompress(packed).partition(b"\0")
        except zlib.error as error:
            raise DamagedObjectError(object_id, f"its file is torn or overwritten ({len(packed)} bytes)") from error
        kind, _, size = head.decode("latin-1").partition(" ")
        if not zero or kind not in gitformat.KINDS or size != str(len(data)):
            raise DamagedObjectError(object_id, "its file is not an object")
        return kind, data

    def _loose_path(self, object_id: str) -> Path:
        return self._folder / object_id[:2] / object_id[2:]

    def _loose_ids(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            names = sorted(os.listdir(self._folder / folder))
        except FileNotFoundError:
            return
        for name in names:
            if len(name) == 38 and name.startswith(prefix):
                yield folder + name

    def _together(self, action: Callable[[T], None], items: Iterable[T]) -> None:
        """Do it for all at the same time: a file system commits its journal once for many fsyncs."""
        todo = list(items)
        if len(todo) < 3:
            for item in todo:
                action(item)
            return
        futures = [self._threads.submit(action, item) for item in todo]
        wait(futures)  # all of them, before one that failed makes the caller close their files
        for future in futures:
            future.result()
