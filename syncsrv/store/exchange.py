"""From one node's repository to another's in one round trip: a pack without deltas, checked before anything is kept.

What comes is hostile until shown otherwise, though the peer is pinned: it goes to an anonymous file, each object is
hashed while it streams in, trees, commits and tags are parsed as strictly as fsck does, names that Git or a file system
would take for something else are refused, the closure must be whole. Only then do objects enter the repository, those
that are needed and no others, and a ref holds them before anybody hears of it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from syncsrv.errors import SyncsrvError
from syncsrv.plan.names import unsafe_content
from syncsrv.store.files import DamagedObjectError, MissingObjectError
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.incoming import HostileObjectsError, Limits, Spool
from syncsrv.store.packs import entry_head
from syncsrv.store.repo import Store
from syncsrv.store.walk import Needed, needed, weigh

__all__ = ["HostileObjectsError", "Incoming", "IncompleteError", "Limits", "closure", "tips"]

_CHUNK = 64 * 1024
_TAGS_TOLD = 16
"""Newest sync tags among what a receiver says that it has; main reaches the others."""


class IncompleteError(SyncsrvError):
    """What came is not all that is needed; nothing of it was kept."""

    code = "incomplete"

    def __init__(self, why: str, peer: str = "the peer") -> None:
        super().__init__(
            f"cannot accept what {peer} sent: {why}", f"try again; `git fsck` on {peer} when it happens again"
        )
        self.why = why


def tips(store: Store) -> list[str]:
    """What a repository says it has when it asks for more: its branches, known-good, and its newest tags."""
    names = [*store.refs("refs/heads/").values(), *store.refs("refs/remotes/").values()]
    known_good = store.ref("refs/syncsrv/known-good")
    tags = list(store.refs("refs/tags/sync/").values())[-_TAGS_TOLD:]
    return list(dict.fromkeys([*names, *([known_good] if known_good else []), *tags]))


def closure(store: Store, wants: Sequence[str], haves: Sequence[str]) -> Iterator[bytes]:
    """All that ``wants`` reach and ``haves`` do not, as the bytes of a pack without deltas.

    Args:
        store: has the wants.
        wants: ids of commits or tags; whether the asker may have them is the caller's to decide.
        haves: ids that the asker says it has; those that are not here are passed over.

    Raises:
        MissingObjectError, DamagedObjectError: the repository is damaged; before the first byte, or in the middle.
    """
    objects = needed(
        store, wants, [have for have in haves if store.has(have) and store.kind(have) in ("commit", "tag")]
    )
    return _stream(store, objects)


def _stream(store: Store, objects: Sequence[Needed]) -> Iterator[bytes]:
    digest = hashlib.sha1(usedforsecurity=False)
    chunk = bytearray(b"PACK" + struct.pack(">II", 2, len(objects)))
    for one in objects:
        data = store.read(one.id, one.kind)
        chunk += entry_head(one.kind, len(data)) + zlib.compress(data, 1)
        if len(chunk) >= _CHUNK:
            digest.update(chunk)
            yield bytes(chunk)
            chunk.clear()
    digest.update(chunk)
    yield bytes(chunk) + digest.digest()


class Incoming:
    """Objects on their way in; a context manager that leaves nothing behind.

    Args:
        store: where they shall go.
        folder: where the anonymous file lies that they wait in; made where missing.
        limits: what is too much.
    """

    def __init__(self, store: Store, folder: Path, limits: Limits | None = None) -> None:
        self._store = store
        self._spool = Spool(store, folder, limits or Limits())

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spool.close()

    def feed(self, data: bytes) -> None:
        """Take some bytes as they came, in pieces of any size.

        Raises:
            HostileObjectsError: what came so far is already not acceptable.
            NoSpaceError: it does not fit on the disk.
        """
        self._spool.feed(data)

    def finish(self, wants: Sequence[str], *, ref: str | None = None, old: str | None = None) -> int:
        """Check that all is there and well, keep it, and point ``ref`` at the first want.

        Args:
            wants: what was asked for.
            ref: the ref that shall hold it, moved from ``old`` in the same step.
            old: where the ref is now, None where it does not exist.

        Returns:
            How many objects are new here.

        Raises:
            HostileObjectsError, IncompleteError: nothing was kept.
            StaleRefError, NoSpaceError, UnwritableError: no ref moved.
        """
        missing = self._spool.missing()
        if missing:
            raise IncompleteError(missing)
        try:
            objects = needed(self._spool, wants, tips(self._store))
            self._check(objects)
        except MissingObjectError as error:
            raise IncompleteError(f"object {error.object_id} is missing, here and in what came") from error
        except DamagedObjectError:
            raise
        except MalformedObjectError as error:
            raise HostileObjectsError(error.why, error.object_id) from error
        came = [one for one in objects if self._spool.holds(one.id)]
        new = sum(not self._store.has(one.id) for one in came)
        with self._store.writer():
            for one in came:
                self._store.objects.put(one.kind, self._spool.read(one.id, one.kind))
            if ref is not None and (old != wants[0] or self._store.ref(ref) != old):
                self._store.move_ref(ref, wants[0], old)
        self._store.settle()
        return new

    def _check(self, objects: Sequence[Needed]) -> None:
        for one in objects:
            if one.kind == "blob" and self._spool.kind(one.id) != "blob":
                raise MalformedObjectError(one.id, "it stands in a tree as a file, but is none")
            if one.kind == "commit":
                weigh(self._spool, self._spool.read_commit(one.id).tree, self._store.weights)
        for name, blob in self._spool.attributes:
            if self._spool.has(blob):
                why = unsafe_content(name, self._spool.read(blob, "blob"))
                if why is not None:
                    raise MalformedObjectError(blob, why)
