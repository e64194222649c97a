"""Git's trees and the metadata beside them, read as entries; and the difference of two, walking only what differs.

A managed directory is a *place*: its Git tree (none where it holds no file below) and its metadata tree (none where
nothing differs from the default). Either one shows that the directory exists, the second by a ``.`` line in it or
below it. Two places with the same ids are the same directory with all that is in it, which is what makes differences
and incremental builds cost only their path.

Every directory on the way to an entry reads as an entry, also those above an area, which nobody manages: who reads
knows the areas and filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from syncsrv.errors import SyncsrvError
from syncsrv.plan.names import unsafe_name
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, show_path
from syncsrv.store import gitformat, meta
from syncsrv.store.cache import Recent
from syncsrv.store.gitformat import DIRECTORY, EXECUTABLE, LINK, Child

OWN = b".syncsrv"
"""The folder at the top of the tree that is ours."""

MAX_ENTRIES = 1_000_000
MAX_DEPTH = 256
"""A tree of Git can name the same subtree over and over; these keep a small hostile one from filling the memory."""

MAX_NAME = 255

ReadObject = Callable[[str], tuple[str, bytes]]


class BadTreeError(SyncsrvError):
    """A tree that somebody else made is none that can be managed."""

    code = "bad-tree"

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(f"cannot use the tree at {show_path(path)}: {why}", "correct it where it was made")
        self.path = path
        self.why = why


@dataclass(frozen=True, slots=True)
class Place:
    """A directory: the ids of its Git tree and of its metadata tree."""

    tree: str | None
    meta: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a place: itself, its files and links, its directories."""

    own: Entry
    files: dict[bytes, Entry]
    places: dict[bytes, Place]


EMPTY = Listing(meta.DEFAULT_DIRECTORY, {}, {})


class TreeReader:
    """Reads places; what it reads is remembered, since objects never change. For any thread.

    Args:
        read: kind and content of an object.
    """

    def __init__(self, read: ReadObject) -> None:
        self._read = read
        self._children: Recent[str, dict[bytes, Child]] = Recent(150_000)
        self._listings: Recent[Place, Listing] = Recent(150_000)
        self._exists: Recent[str, bool] = Recent(20_000)

    def children(self, tree_id: str | None) -> dict[bytes, Child]:
        """The lines of a Git tree, not to be changed; none for None."""
        if tree_id is None:
            return {}
        known = self._children.get(tree_id)
        if known is None:
            kind, data = self._read(tree_id)
            if kind != "tree":
                raise gitformat.MalformedObjectError(tree_id, f"it is a {kind} where a tree belongs")
            known = gitformat.parse_tree(tree_id, data)
            self._children.put(tree_id, known, len(known) + 1)
        return known

    def root(self, tree_id: str | None) -> Place:
        """The managed root of a commit's tree. Its Git tree is the whole, ``.syncsrv`` included."""
        own = self.children(tree_id).get(OWN)
        beside = self._tree_in(self.children(own.id).get(meta.META)) if own and own.mode == DIRECTORY else None
        return Place(tree_id, beside)

    def cluster(self, tree_id: str | None) -> Entry | None:
        """The entry of cluster.yaml, which has no metadata.

        Raises:
            BadTreeError: it is there but not a file.
        """
        own = self.children(tree_id).get(OWN)
        if own is None or own.mode != DIRECTORY:
            return None
        child = self.children(own.id).get(CLUSTER_PATH.rpartition(b"/")[2])
        if child is None:
            return None
        if child.mode in (DIRECTORY, LINK):
            raise BadTreeError(CLUSTER_PATH, "it is not a file")
        return Entry(Kind.FILE, 0o644, blob=child.id)

    def listing(self, path: bytes, place: Place) -> Listing:
        """What is in a place, not to be changed.

        Args:
            path: of the directory, for messages; empty for the root.
            place: the directory.

        Raises:
            BadTreeError, BadMetadataError, MalformedObjectError: it is nothing that can be managed.
        """
        known = self._listings.get(place) if path else None
        if known is None:
            known = self._list(path, place)
            if path:
                self._listings.put(place, known, len(known.files) + len(known.places) + 1)
        return known

    def read_all(self, tree_id: str | None) -> dict[bytes, Entry]:
        """All entries of a commit's tree, sorted by path."""
        found: dict[bytes, Entry] = {}
        cluster = self.cluster(tree_id)
        if cluster is not None:
            found[CLUSTER_PATH] = cluster
        for path, entry in self._walk(b"", self.root(tree_id)):
            found[path] = entry
            if len(found) > MAX_ENTRIES:
                raise BadTreeError(path, f"it has more than {MAX_ENTRIES} entries")
        return dict(sorted(found.items()))

    def changes(self, a: str | None, b: str | None) -> dict[bytes, tuple[Entry | None, Entry | None]]:
        """The paths whose entries differ, sorted, with both; None where there is none. Equal subtrees are not read."""
        found: dict[bytes, tuple[Entry | None, Entry | None]] = {}
        if a == b:
            return found
        before, after = self.cluster(a), self.cluster(b)
        if before != after:
            found[CLUSTER_PATH] = (before, after)
        stack: list[tuple[bytes, Place | None, Place | None]] = [(b"", self.root(a), self.root(b))]
        visited = 0
        while stack:
            path, old_place, new_place = stack.pop()
            old = self.listing(path, old_place) if old_place else EMPTY
            new = self.listing(path, new_place) if new_place else EMPTY
            prefix = path + b"/" if path else b""
            for name in old.files.keys() | new.files.keys() | old.places.keys() | new.places.keys():
                at = prefix + name
                inner_old, inner_new = old.places.get(name), new.places.get(name)
                if inner_old != inner_new:
                    stack.append((at, inner_old, inner_new))
                    _check_depth(at)
                elif inner_old is not None:
                    continue
                entries = (self._entry(at, old, name), self._entry(at, new, name))
                if entries[0] != entries[1]:
                    found[at] = entries
            visited += 1
            if visited + len(found) > MAX_ENTRIES:
                raise BadTreeError(path, f"more than {MAX_ENTRIES} entries differ")
        return dict(sorted(found.items()))

    def _entry(self, path: bytes, listing: Listing, name: bytes) -> Entry | None:
        place = listing.places.get(name)
        return self.listing(path, place).own if place is not None else listing.files.get(name)

    def _walk(self, path: bytes, place: Place) -> Iterator[tuple[bytes, Entry]]:
        stack = [(path, place)]
        while stack:
            path, place = stack.pop()
            listing = self.listing(path, place)
            if path:
                yield path, listing.own
            prefix = path + b"/" if path else b""
            for name, entry in listing.files.items():
                yield prefix + name, entry
            for name, inner in listing.places.items():
                _check_depth(prefix + name)
                stack.append((prefix + name, inner))

    def _list(self, path: bytes, place: Place) -> Listing:
        children = self.children(place.tree)
        beside = self.children(place.meta)
        lines = self._lines(path, beside)
        files: dict[bytes, Entry] = {}
        places: dict[bytes, Place] = {}
        for name, child in children.items():
            if not path and name == OWN:
                continue
            _check_name(path, name)
            if child.mode == DIRECTORY:
                places[name] = Place(child.id, self._tree_in(beside.get(b"+" + name)))
            else:
                kind = Kind.LINK if child.mode == LINK else Kind.FILE
                files[name] = meta.merge(lines.get(name), kind, child.id, executable=child.mode == EXECUTABLE)
        for plus_name, child in beside.items():
            name = plus_name[1:]
            if plus_name[:1] != b"+" or child.mode != DIRECTORY or name in children or not (path or name != OWN):
                continue
            if self._shows_directory(path, child.id):
                _check_name(path, name)
                places[name] = Place(None, child.id)
        return Listing(lines.get(meta.SELF, meta.DEFAULT_DIRECTORY), files, places)

    def _lines(self, path: bytes, beside: dict[bytes, Child]) -> dict[bytes, Entry]:
        child = beside.get(meta.ENTRIES)
        if child is None:
            return {}
        kind, data = self._read(child.id) if child.mode in (gitformat.FILE, EXECUTABLE) else ("", b"")
        if kind != "blob":
            raise meta.BadMetadataError(path, "it is not a file")
        return meta.parse_lines(path, data)

    def _shows_directory(self, path: bytes, meta_id: str, depth: int = 0) -> bool:
        """Whether a metadata tree has a ``.`` line in it or below it."""
        known = self._exists.get(meta_id)
        if known is None:
            if depth > MAX_DEPTH:
                raise BadTreeError(path, f"it has more than {MAX_DEPTH} levels")
            beside = self.children(meta_id)
            known = meta.SELF in self._lines(path, beside)
            for name, child in beside.items():
                if not known and name[:1] == b"+" and child.mode == DIRECTORY:
                    known = self._shows_directory(path, child.id, depth + 1)
            self._exists.put(meta_id, known)
        return known

    @staticmethod
    def _tree_in(child: Child | None) -> str | None:
        return child.id if child is not None and child.mode == DIRECTORY else None


def _check_name(path: bytes, name: bytes) -> None:
    why = unsafe_name(name)
    if why is None and len(name) > MAX_NAME:
        why = f"a name of more than {MAX_NAME} bytes"
    if why is not None:
        raise BadTreeError(path + b"/" + name if path else name, why)


def _check_depth(path: bytes) -> None:
    if path.count(b"/") > MAX_DEPTH:
        raise BadTreeError(path[:200], f"it has more than {MAX_DEPTH} levels")
