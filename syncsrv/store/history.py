"""Which commits touched which path: an index in SQLite beside the repository, for what is live on a node.

It follows one branch, this node's main or a peer's as last fetched, by first parents: what a sync brought counts as
what it changed here, against what was live before. Git holds the truth; the index is made anew when it is missing,
damaged or of another branch, and is caught up before each answer. Only notes (``note``) are in it alone: hints about
commits that carry no trailers of ours.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import TypeVar

from syncsrv.plan.tree import is_below, parents
from syncsrv.store.commits import CommitInfo
from syncsrv.store.repo import MAIN, Store
from syncsrv.store.sidecar import is_damage, opened, replaced, translated

_TOGETHER = 500
"""Commits that are taken in at a time; a caller who gives up loses no more."""

_SEARCH = """
SELECT n, id FROM commits
WHERE (:before IS NULL OR n < :before) AND (:author = '' OR instr(author, :author))
  AND (:via = '' OR coalesce(nullif(via, ''), (SELECT via FROM notes WHERE notes.id = commits.id), 'push') = :via)
  AND (:path = x'' OR n IN (SELECT n FROM paths WHERE path = :path))
ORDER BY n DESC
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Logged:
    """One commit in the log.

    Attributes:
        commit: its id.
        info: what it says.
        paths: what it changed against its first parent, sorted.
    """

    commit: str
    info: CommitInfo
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Which commits are looked for; all that is given has to hold.

    Attributes:
        path: they changed it, or something below it; empty for all.
        author: part of the author's name, in any case.
        via: how they came to be, as ``via_of`` says it.
        tops: they changed one of these paths, or something below; empty for all.
        holds: and what they changed has a path for which this is true.
        before: they are older than this commit of the branch.
    """

    path: bytes = b""
    author: str = ""
    via: str = ""
    tops: tuple[bytes, ...] = ()
    holds: Callable[[bytes], bool] | None = None
    before: str | None = None


class History:
    """For any thread.

    Args:
        store: the repository.
        path: the index, ``state_dir/history.sqlite``.
        ref: the branch; main for this node, ``refs/remotes/NODE/main`` for a peer.
    """

    def __init__(self, store: Store, path: Path, ref: str = MAIN) -> None:
        self._store = store
        self._path = path
        self._ref = ref
        self._lock = threading.RLock()
        self._db = opened(path)
        self._peers: dict[str, History] = {}

    def close(self) -> None:
        """Let go of the file, and of the peers'."""
        with self._lock:
            self._db.close()
            while self._peers:
                self._peers.popitem()[1].close()

    def of_peer(self, name: str) -> History:
        """What is known of the main of a configured peer: an index of its own, made when first asked for."""
        with self._lock:
            if name not in self._peers:
                path = self._path.with_name(f"{self._path.stem}-{name}{self._path.suffix}")
                self._peers[name] = History(self._store, path, f"refs/remotes/{name}/main")
            return self._peers[name]

    def log(self, path: bytes | None, n: int, start: str | None = None) -> list[Logged]:
        """The newest commits, newest first.

        Args:
            path: only those that changed it, or something below it; None for all.
            n: how many at most.
            start: the commit to begin with; default main. One that main does not have is walked without the index.
        """
        head = start or self._store.ref(self._ref)
        return self._safely(lambda: self._log(path, n, head)) if head else []

    def search(self, wanted: Search, n: int) -> list[Logged]:
        """The newest commits of the branch that are wanted, newest first; none where ``before`` is not on it.

        Args:
            wanted: which.
            n: how many at most.
        """
        return self._safely(lambda: self._search(wanted, n))

    def has(self, commit: str) -> bool:
        """Whether the branch has the commit, by first parents."""

        def look() -> bool:
            self._catch_up()
            return self._place(commit) is not None

        return self._safely(look)

    def paths_of(self, commit: str) -> tuple[bytes, ...]:
        """What a commit changed against its first parent, sorted."""
        return self._safely(lambda: self._paths_of(commit))

    def since(self, commit: str | None, main: str) -> list[str]:
        """The commits of a branch after ``commit``, newest first, by first parents; all for None or one it never had.

        Args:
            commit: what somebody has.
            main: the head of the branch.
        """
        return self._safely(lambda: self._since(commit, main))

    def via_of(self, commit: str) -> str:
        """How a commit came to be: its trailer, else what was noted, else ``push``: only stock Git leaves none."""
        trailer = self._store.read_commit(commit).via
        if trailer:
            return trailer
        row = self._safely(lambda: self._db.execute("SELECT via FROM notes WHERE id = ?", (commit,)).fetchone())
        return str(row[0]) if row else "push"

    def note(self, commit: str, via: str, person: str) -> None:
        """Remember how a commit without trailers came here, and by whom; lost when the index has to be made anew."""

        def write() -> None:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (commit, via, person))

        self._safely(write)

    def catch_up(self) -> int:
        """Take in what main has got since; how many commits that were.

        Raises:
            NoSpaceError: the disk is full; the index is as it was.
        """
        return self._safely(self._catch_up)

    def _safely(self, action: Callable[[], T]) -> T:
        """Do something with the index; when it turns out damaged, once more with a new one."""
        with self._lock:
            try:
                return action()
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise translated(self._path, error) from error
            self._db.close()
            try:
                self._db = replaced(self._path)
                return action()
            except sqlite3.DatabaseError as error:
                raise translated(self._path, error) from error

    def _log(self, path: bytes | None, n: int, head: str) -> list[Logged]:
        self._catch_up()
        place = self._place(head)
        if place is None:
            return list(islice(self._walk(head, path), n))
        if path:
            rows = self._db.execute(
                "SELECT id FROM paths JOIN commits USING (n) WHERE path = ? AND n <= ? ORDER BY n DESC LIMIT ?",
                (path, place, n),
            )
        else:
            rows = self._db.execute("SELECT id FROM commits WHERE n <= ? ORDER BY n DESC LIMIT ?", (place, n))
        ids = [str(row[0]) for row in rows.fetchall()]
        return [Logged(commit, self._store.read_commit(commit), self._paths_of(commit)) for commit in ids]

    def _search(self, wanted: Search, n: int) -> list[Logged]:
        self._catch_up()
        within: set[int] | None = None
        if wanted.tops and b"" not in wanted.tops:
            rows = (self._db.execute("SELECT n FROM paths WHERE path = ?", (top,)) for top in wanted.tops)
            within = {int(row[0]) for cursor in rows for row in cursor}
        values = {
            "before": None if wanted.before is None else self._place(wanted.before) or 0,
            "author": wanted.author.casefold(),
            "via": wanted.via,
            "path": wanted.path,
        }
        found: list[Logged] = []
        for place, commit in self._db.execute(_SEARCH, values):
            if len(found) >= n:
                break
            if within is None or place in within:
                changed = self._paths_of(commit)
                if wanted.holds is None or any(map(wanted.holds, changed)):
                    found.append(Logged(commit, self._store.read_commit(commit), changed))
        return found

    def _paths_of(self, commit: str) -> tuple[bytes, ...]:
        place = self._place(commit)
        if place is None:
            return self._changed(commit)
        rows = self._db.execute("SELECT path FROM paths WHERE n = ? AND itself ORDER BY path", (place,))
        return tuple(bytes(row[0]) for row in rows)

    def _since(self, commit: str | None, main: str) -> list[str]:
        self._catch_up()
        last, first = self._place(main), self._place(commit) if commit else 0
        if last is not None and first is not None:
            rows = self._db.execute("SELECT id FROM commits WHERE n <= ? AND n > ? ORDER BY n DESC", (last, first))
            return [str(row[0]) for row in rows]
        had = self._ancestors(commit) if commit and self._store.has(commit) else frozenset[str]()
        return [info.id for info in takewhile(lambda info: info.id not in had, self._store.first_parents(main))]

    def _catch_up(self) -> int:
        head = self._store.ref(self._ref)
        newest = self._db.execute("SELECT id FROM commits ORDER BY n DESC LIMIT 1").fetchone()
        if newest and newest[0] == head:
            return 0
        fresh: list[CommitInfo] = []
        place = 0
        for info in self._store.first_parents(head) if head else ():
            found = self._place(info.id)
            if found is not None:
                place = found
                break
            fresh.append(info)
        fresh.reverse()
        for at in range(0, len(fresh), _TOGETHER):
            self._append(place + at, fresh[at : at + _TOGETHER])
        if not fresh:
            self._append(place, [])
        return len(fresh)

    def _append(self, place: int, fresh: list[CommitInfo]) -> None:
        """Put commits (oldest first) behind the one at ``place``; what stood there is of a branch that is no more."""
        with self._db:
            self._db.execute("DELETE FROM paths WHERE n > ?", (place,))
            self._db.execute("DELETE FROM commits WHERE n > ?", (place,))
            for n, info in enumerate(fresh, place + 1):
                row = (n, info.id, info.author.casefold(), info.via)
                self._db.execute("INSERT INTO commits VALUES (?, ?, ?, ?)", row)
                changed = self._changed(info.id)
                rows = {above: 0 for path in changed for above in parents(path)} | dict.fromkeys(changed, 1)
                self._db.executemany(
                    "INSERT INTO paths VALUES (?, ?, ?)", ((path, n, itself) for path, itself in rows.items())
                )

    def _changed(self, commit: str) -> tuple[bytes, ...]:
        above = self._store.parents(commit)
        return tuple(self._store.changes(above[0] if above else None, commit))

    def _walk(self, head: str, path: bytes | None) -> Iterator[Logged]:
        for info in self._store.first_parents(head):
            changed = self._paths_of(info.id)
            if not path or any(is_below(one, path) for one in changed):
                yield Logged(info.id, info, changed)

    def _ancestors(self, commit: str) -> frozenset[str]:
        seen = {commit}
        todo = [commit]
        while todo:
            fresh = set(self._store.parents(todo.pop())) - seen
            seen |= fresh
            todo.extend(fresh)
        return frozenset(seen)

    def _place(self, commit: str) -> int | None:
        row = self._db.execute("SELECT n FROM commits WHERE id = ?", (commit,)).fetchone()
        return int(row[0]) if row else None
