"""A new tree from an old one and the paths that change: only the directories on the way are written.

The same entries give the same tree, built at once or step by step. A directory lives until it is removed by name: it
stays, empty, when its last file goes. So does a directory above an area; nobody manages it, and it vanishes from the
tree's bytes as soon as something is in it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from syncsrv.errors import SyncsrvError
from syncsrv.plan.names import unsafe_name
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, show_path
from syncsrv.store import gitformat, meta
from syncsrv.store.gitformat import DIRECTORY, EXECUTABLE, FILE, LINK, Child
from syncsrv.store.trees import EMPTY, MAX_DEPTH, MAX_NAME, OWN, Listing, Place, TreeReader

_CLUSTER_NAME = CLUSTER_PATH.rpartition(b"/")[2]

Put = Callable[[str, bytes], str]
Has = Callable[[str], bool]


class UnstorableError(SyncsrvError):
    """A change that no tree can hold."""

    code = "unstorable"

    def __init__(self, path: bytes, why: str, remedy: str = "") -> None:
        super().__init__(f"cannot store {show_path(path)}: {why}", remedy)
        self.path = path
        self.why = why


class ContentMissingError(UnstorableError):
    """The content of an entry was never put into the repository, or was in a batch that did not end well."""

    def __init__(self, path: bytes, blob: str) -> None:
        super().__init__(path, f"its content {blob or '(none)'} is not in the repository", "read the file again")
        self.blob = blob


@dataclass(slots=True)
class _Change:
    """One path's change, where there is one, and those below it."""

    wanted: Entry | None = None
    given: bool = False
    below: dict[bytes, _Change] = field(default_factory=dict)

    def removes(self) -> bool:
        """Whether all that is asked here is that things be gone."""
        return not (self.given and self.wanted) and all(change.removes() for change in self.below.values())


class TreeBuilder:
    """Writes trees.

    Args:
        reader: reads the old ones.
        put: stores an object of a kind and says its id.
        has: whether an object is there.
    """

    def __init__(self, reader: TreeReader, put: Put, has: Has) -> None:
        self._reader = reader
        self._put = put
        self._has = has

    def build(self, base: str | None, changes: Mapping[bytes, Entry | None]) -> str:
        """The tree of ``base`` with ``changes``; an entry is there afterwards, None is gone.

        Raises:
            UnstorableError: a name that Git cannot hold, a file where others are below, a directory removed or
                replaced of which something remains, content that is not there.
        """
        top = self._sort(changes)
        own = top.below.pop(OWN, None)
        cluster = self._reader.cluster(base)
        if own is not None:
            cluster = own.below[_CLUSTER_NAME].wanted
        inside = self._inside(b"", self._reader.root(base), top)
        children = dict(self._git_children(inside))
        folder = self._own_folder(base, self._meta_tree(None, inside), cluster)
        if folder:
            children[OWN] = Child(DIRECTORY, self._put_tree(folder))
        return self._put_tree(children)

    def _sort(self, changes: Mapping[bytes, Entry | None]) -> _Change:
        top = _Change()
        for path, entry in changes.items():
            _check(path, entry)
            if entry is not None and entry.kind is not Kind.DIRECTORY and not (entry.blob and self._has(entry.blob)):
                raise ContentMissingError(path, entry.blob)
            change = top
            for part in path.split(b"/"):
                change = change.below.setdefault(part, _Change())
            change.wanted, change.given = entry, True
        return top

    def _directory(self, path: bytes, old: Place | None, change: _Change, own: Entry) -> Place:
        """Write one directory with all that changes in it."""
        inside = self._inside(path, old, change)
        children = self._git_children(inside)
        return Place(self._put_tree(children) if children else None, self._meta_tree(own, inside))

    def _inside(self, path: bytes, old: Place | None, change: _Change) -> Listing:
        """What is in a directory afterwards; directories below it are written."""
        before = self._reader.listing(path, old) if old is not None else EMPTY
        after = Listing(before.own, dict(before.files), dict(before.places))
        for name, inner in change.below.items():
            self._apply(path + b"/" + name if path else name, name, inner, after.files, after.places)
        return after

    def _apply(
        self, path: bytes, name: bytes, change: _Change, files: dict[bytes, Entry], places: dict[bytes, Place]
    ) -> None:
        place = places.get(name)
        wanted = change.wanted
        if not change.given and place is None:
            if change.removes():
                return
            if name in files:
                raise UnstorableError(path, "it is no directory, but something is to be below it")
        if not change.given or (wanted is not None and wanted.kind is Kind.DIRECTORY):
            own = self._own(path, place, wanted)
            files.pop(name, None)
            places[name] = self._directory(path, place, change, own)
            return
        if not all(inner.removes() for inner in change.below.values()):
            raise UnstorableError(path, "it is no directory, but something is to be below it")
        if place is not None:
            left = self._inside(path, place, change)
            if left.files or left.places:
                raise UnstorableError(path, "the directory is not empty")
            del places[name]
        if wanted is None:
            files.pop(name, None)
            return
        wanted = wanted if wanted.kind is Kind.FILE else replace(wanted, mode=0o777)
        if files.get(name) != wanted:  # equal owners may have other numbers: the tree stays as it was then
            files[name] = wanted

    def _own(self, path: bytes, place: Place | None, wanted: Entry | None) -> Entry:
        """The directory's own entry; as it was where nothing but an owner's number differs."""
        before = self._reader.listing(path, place).own if place is not None else None
        if wanted is None or wanted == before:
            return before or meta.DEFAULT_DIRECTORY
        return wanted

    def _git_children(self, listing: Listing) -> dict[bytes, Child]:
        children = {name: Child(_git_mode(entry), entry.blob) for name, entry in listing.files.items()}
        return children | {n: Child(DIRECTORY, place.tree) for n, place in listing.places.items() if place.tree}

    def _meta_tree(self, own: Entry | None, listing: Listing) -> str | None:
        children = {b"+" + n: Child(DIRECTORY, place.meta) for n, place in listing.places.items() if place.meta}
        lines = meta.format_lines(own, listing.files, empty=not listing.files and not listing.places)
        if lines:
            children[meta.ENTRIES] = Child(FILE, self._put("blob", lines))
        return self._put_tree(children) if children else None

    def _own_folder(self, base: str | None, beside: str | None, cluster: Entry | None) -> dict[bytes, Child]:
        """What ``.syncsrv`` holds: metadata, cluster.yaml, and what else was in it."""
        before = self._reader.children(base).get(OWN)
        inside = dict(self._reader.children(before.id)) if before is not None and before.mode == DIRECTORY else {}
        inside.pop(meta.META, None)
        inside.pop(_CLUSTER_NAME, None)
        if beside is not None:
            inside[meta.META] = Child(DIRECTORY, beside)
        if cluster is not None:
            inside[_CLUSTER_NAME] = Child(FILE, cluster.blob)
        return inside

    def _put_tree(self, children: Mapping[bytes, Child]) -> str:
        return self._put("tree", gitformat.format_tree(children.items()))


def _git_mode(entry: Entry) -> int:
    if entry.kind is Kind.LINK:
        return LINK
    return EXECUTABLE if entry.mode & 0o100 else FILE


def _check(path: bytes, entry: Entry | None) -> None:
    parts = path.split(b"/")
    if parts[0] == OWN:
        if path != CLUSTER_PATH or (entry is not None and entry.kind is not Kind.FILE):
            raise UnstorableError(path, "only the file cluster.yaml may stand in .syncsrv")
        return
    if len(parts) > MAX_DEPTH:
        raise UnstorableError(path, f"it is more than {MAX_DEPTH} levels deep")
    for part in parts:
        why = unsafe_name(part)
        if why is None and len(part) > MAX_NAME:
            why = f"a name of more than {MAX_NAME} bytes"
        if why is not None:
            raise UnstorableError(path, why)
