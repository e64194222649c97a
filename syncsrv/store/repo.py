"""The repository: one object for a bare Git repository that stock Git can read at every moment.

Reading is for any thread and needs no lock. Writing happens under ``writer()``: one writer at a time among threads and
processes. Objects last when a ref moves (or ``settle`` returns); a ref moves by compare-and-set and lasts at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from syncsrv.plan.tree import Entry
from syncsrv.store import commits, gitformat, layout, revisions, signing
from syncsrv.store.build import TreeBuilder
from syncsrv.store.cache import Recent
from syncsrv.store.commits import CommitInfo, Person
from syncsrv.store.files import MissingObjectError, writing
from syncsrv.store.layout import MAIN, NoRepositoryError
from syncsrv.store.lock import StoreBusyError, WriterLock
from syncsrv.store.objects import Objects
from syncsrv.store.reach import Reach
from syncsrv.store.refs import Refs
from syncsrv.store.stream import Streamed
from syncsrv.store.trees import TreeReader

__all__ = ["MAIN", "CommitInfo", "NoRepositoryError", "Person", "Store"]


class Store:
    """A repository that is open; made by ``open`` or ``create``.

    Args:
        path: the bare repository, ``state_dir/config.git``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects = Objects(path)
        self._refs = Refs(path)
        self._lock = WriterLock(path)
        self.trees = TreeReader(self.objects.read)
        self._builder = TreeBuilder(self.trees, self.objects.put, self.objects.has)
        self._maps: Recent[str, dict[bytes, Entry]] = Recent(100_000)
        self._commits: Recent[str, CommitInfo] = Recent(20_000)
        self.weights: Recent[str, int] = Recent(100_000)
        self._reach = Reach(self)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make an empty repository, 0700, whose branch main has no commit.

        Raises:
            NoRepositoryError: something is there already.
            NoSpaceError, UnwritableError: nothing usable is left behind.
        """
        layout.create(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a repository, and sweep what a killed writer left in it (not while another process writes).

        Raises:
            NoRepositoryError: it is none.
        """
        layout.check(path)
        store = cls(path)
        with contextlib.suppress(StoreBusyError), store._lock.taken(wait=False), writing(path):
            layout.sweep(path)
        return store

    def close(self) -> None:
        """Let go of open packs."""
        self.objects.close()

    # writing

    @contextlib.contextmanager
    def writer(self) -> Iterator[None]:
        """Be the only writer; may be entered again by the same thread.

        What is put inside can be read at once, and is written where the outermost one ends, also by an exception, or
        where a ref moves: few objects as files, many as one pack.

        Raises:
            StoreBusyError: somebody else is, for too long.
            NoSpaceError, UnwritableError: at the end; what was put since is gone then, and its ids mean nothing.
        """
        with self._lock.taken():
            try:
                yield
            finally:
                if self._lock.depth == 1:
                    self.objects.place()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Be the writer, and write what was put when this block ends, not later: its ids are good from then on."""
        with self.writer():
            yield
            self.objects.place()

    def put_blob(self, data: bytes) -> str:
        """Store content; its id."""
        with self.writer():
            return self.objects.put("blob", data)

    def settle(self) -> None:
        """Make durable what was put, where no ref is to be moved for it."""
        with self.writer():
            self.objects.settle()

    def build_tree(self, base: str | None, changes: Mapping[bytes, Entry | None]) -> str:
        """The tree of ``base`` (a tree, commit or tag; None: empty) with ``changes`` applied; see TreeBuilder.

        Raises:
            UnstorableError: a change that no tree can hold.
        """
        with self.writer():
            return self._builder.build(self.tree_of(base) if base else None, changes)

    def commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Person,
        when_utc: datetime,
        signature: signing.Signer | None = None,
        *,
        committer: Person | None = None,
    ) -> str:
        """Store a commit object; no ref moves.

        Args:
            tree: id of its tree.
            parents: ids; the first is what was live before.
            message: as ``trailers.compose`` makes it.
            author: whose change it is.
            when_utc: its time.
            signature: signs it, as ``git commit -S`` does with an SSH key.
            committer: who recorded it, where that is not the author.
        """
        fields = commits.commit_fields(tree, parents, author, committer or author, when_utc)
        text = message.replace("\0", "").encode("utf-8", "backslashreplace")
        if signature is not None:
            armored = signature.sshsig(gitformat.format_headers(fields, text))
            fields = commits.with_signature(fields, armored)
        with self.writer():
            return self.objects.put("commit", gitformat.format_headers(fields, text))

    def move_ref(self, name: str, new: str | None, old: str | None) -> None:
        """Point a ref from ``old`` (None: it must not exist) to ``new`` (None: delete it); durable, or nothing.

        Raises:
            StaleRefError: the ref is not at ``old``.
            MissingObjectError: ``new`` is not in the repository.
            RefNameError, RefLockedError, NoSpaceError, UnwritableError: nothing has changed.
        """
        with self.writer():
            self.objects.settle()
            if new is not None and not self.objects.has(new):
                raise MissingObjectError(new, f"{name} is to point to it")
            self._refs.move(name, new, old)

    # reading

    def resolve(self, text: str) -> str:
        """The id of the commit that a person means: ``sync/000003``, ``main``, ``HEAD~2``, the beginning of an id.

        Raises:
            UnknownRevisionError, AmbiguousRevisionError: it means none, or more than one.
        """
        return revisions.resolve(self, text)

    def resolve_shown(self, text: str) -> str:
        """As ``resolve``, for who may see the history: what is only in receipts, jobs or quarantine is not found."""
        return revisions.resolve(self, text, self._reach.holds)

    def ref(self, name: str) -> str | None:
        """Where a ref points; None where it does not exist."""
        return self._refs.get(name)

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """All refs whose names begin with ``prefix``."""
        return self._refs.below(prefix)

    def head(self) -> str | None:
        """The commit of main, which HEAD means; None while nothing was committed."""
        return self.ref(MAIN)

    def has(self, object_id: str) -> bool:
        return self.objects.has(object_id)

    def kind(self, object_id: str) -> str:
        """``blob``, ``tree``, ``commit`` or ``tag``."""
        return self.objects.read(object_id)[0]

    def blob(self, object_id: str) -> bytes:
        """The content of a blob.

        Raises:
            MissingObjectError, DamagedObjectError, MalformedObjectError: there is no such blob.
        """
        return self.read(object_id, "blob")

    def blob_size(self, object_id: str) -> int:
        """Bytes of a blob, which is not read for it."""
        return self.objects.size(object_id)

    def open_blob(self, object_id: str) -> Streamed:
        """A blob, of which only the head is read.

        Raises:
            MissingObjectError, DamagedObjectError, MalformedObjectError: there is no such blob.
        """
        found = self.objects.stream(object_id)
        if found.kind != "blob":
            raise gitformat.MalformedObjectError(object_id, f"it is a {found.kind} where a blob belongs")
        return found

    def read(self, object_id: str, kind: str) -> bytes:
        """The content of an object that has to be of a kind."""
        found, data = self.objects.read(object_id)
        if found != kind:
            raise gitformat.MalformedObjectError(object_id, f"it is a {found} where a {kind} belongs")
        return data

    def children(self, tree_id: str) -> dict[bytes, gitformat.Child]:
        """The lines of a tree as Git has them."""
        return self.trees.children(tree_id)

    def read_commit(self, commit_id: str) -> CommitInfo:
        known = self._commits.get(commit_id)
        if known is None:
            known = commits.parse_commit(commit_id, self.read(commit_id, "commit"))
            self._commits.put(commit_id, known)
        return known

    def parents(self, commit_id: str) -> tuple[str, ...]:
        """The parents of a commit, first the one that was live before it."""
        return self.read_commit(commit_id).parents

    def peel(self, object_id: str) -> str:
        """The commit that an id means: itself, or what a tag points to.

        Raises:
            MalformedObjectError: it means none.
        """
        if self._commits.get(object_id) is not None:
            return object_id
        kind, data = self.objects.read(object_id)
        if kind == "tag":
            target = gitformat.parse_headers(object_id, data).all("object")
            object_id = gitformat.header_id(object_id, target[0] if target else b"")
            kind = self.kind(object_id)
        if kind != "commit":
            raise gitformat.MalformedObjectError(object_id, f"it is a {kind} where a commit belongs")
        return object_id

    def tree_of(self, object_id: str) -> str:
        """The tree that an id means: itself, or that of a commit or of the commit that a tag points to."""
        if self._commits.get(object_id) is None and self.kind(object_id) == "tree":
            return object_id
        return self.read_commit(self.peel(object_id)).tree

    def read_tree(self, object_id: str) -> dict[bytes, Entry]:
        """All entries of a tree, commit or tag, sorted by path.

        Every directory is one, those above the areas included: they have the default owner and mode there, and who
        knows the areas leaves them out.

        Raises:
            BadTreeError, BadMetadataError, MalformedObjectError: somebody else made it, and it cannot be managed.
            MissingObjectError, DamagedObjectError: the repository is damaged.
        """
        tree = self.tree_of(object_id)
        known = self._maps.get(tree)
        if known is None:
            known = self.trees.read_all(tree)
            self._maps.put(tree, known, len(known) + 1)
        return dict(known)

    def changes(self, a: str | None, b: str | None) -> dict[bytes, tuple[Entry | None, Entry | None]]:
        """The paths whose entries differ between two trees, commits or tags (None: the empty tree), with both."""
        return self.trees.changes(self.tree_of(a) if a else None, self.tree_of(b) if b else None)

    def is_ancestor(self, a: str, b: str) -> bool:
        """Whether commit ``a`` is ``b`` or can be reached from it."""
        seen = {b}
        todo = [b]
        while todo:
            commit = todo.pop()
            if commit == a:
                return True
            fresh = [parent for parent in self.parents(commit) if parent not in seen]
            seen.update(fresh)
            todo.extend(fresh)
        return False

    def first_parents(self, start: str) -> Iterator[CommitInfo]:
        """A commit and what was live before it, newest first."""
        at: str | None = start
        while at is not None:
            info = self.read_commit(at)
            yield info
            at = info.parents[0] if info.parents else None

    def signed_by(self, commit_id: str) -> bytes:
        """The public key blob whose signature a commit carries. Whether it is trusted is the caller's to decide.

        Raises:
            BadSignatureError: it carries none, or one that is not good.
        """
        headers = gitformat.parse_headers(commit_id, self.read(commit_id, "commit"))
        signed = commits.signed_part(headers)
        if signed is None:
            raise signing.BadSignatureError("the commit is not signed, or more than once")
        return signing.verify_sshsig(*signed)
