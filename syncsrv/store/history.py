"""Which commits touched which path: an index in SQLite beside the repository, for what is live on this node.

It follows main by first parents: what a sync brought counts as what it changed here, against what was live before. Git
holds the truth; the index is made anew when it is missing, damaged or of another main, and is caught up before each
answer. Only notes (``note``) are in it alone: hints about commits that carry no trailers of ours.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import TypeVar

from syncsrv.errors import DamagedError, SyncsrvError
from syncsrv.plan.tree import is_below, parents
from syncsrv.store.commits import CommitInfo
from syncsrv.store.files import NoSpaceError, writing
from syncsrv.store.repo import MAIN, Store

_FORMAT = 1
_WHAT = "the index of the history"
_SCHEMA = """
CREATE TABLE commits (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE paths (path BLOB, n INTEGER, itself INTEGER NOT NULL, PRIMARY KEY (path, n)) WITHOUT ROWID;
CREATE INDEX paths_by_commit ON paths (n) WHERE itself;
CREATE TABLE notes (id TEXT PRIMARY KEY, via TEXT NOT NULL, person TEXT NOT NULL);
"""
"""``n`` counts from main's first commit; a path has a row for each commit that changed it (itself) or what is below."""

_NOT_OURS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""Errors of the system that a new file would not cure."""

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


class History:
    """For any thread.

    Args:
        store: the repository.
        path: the index, ``state_dir/history.sqlite``.
    """

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._lock = threading.RLock()
        self._db = _open(path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def log(self, path: bytes | None, n: int, start: str | None = None) -> list[Logged]:
        """The newest commits, newest first.

        Args:
            path: only those that changed it, or something below it; None for all.
            n: how many at most.
            start: the commit to begin with; default main. One that main does not have is walked without the index.
        """
        head = start or self._store.ref(MAIN)
        return self._safely(lambda: self._log(path, n, head)) if head else []

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
                if not _is_damage(error):
                    raise _translated(self._path, error) from error
            self._db.close()
            try:
                self._db = _replace(self._path)
                return action()
            except sqlite3.DatabaseError as error:
                raise _translated(self._path, error) from error

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
        head = self._store.ref(MAIN)
        newest = self._db.execute("SELECT id FROM commits ORDER BY n DESC LIMIT 1").fetchone()
        if head is None or (newest and newest[0] == head):
            return 0
        fresh: list[str] = []
        place = 0
        for info in self._store.first_parents(head):
            found = self._place(info.id)
            if found is not None:
                place = found
                break
            fresh.append(info.id)
        self._append(place, fresh)
        return len(fresh)

    def _append(self, place: int, fresh: list[str]) -> None:
        """Put commits (newest first) behind the one at ``place``; what stood there is of a main that is no more."""
        with self._db:
            self._db.execute("DELETE FROM paths WHERE n > ?", (place,))
            self._db.execute("DELETE FROM commits WHERE n > ?", (place,))
            for n, commit in enumerate(reversed(fresh), place + 1):
                self._db.execute("INSERT INTO commits VALUES (?, ?)", (n, commit))
                changed = self._changed(commit)
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


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise _translated(path, error) from error
    try:
        return _replace(path)
    except sqlite3.DatabaseError as error:
        raise _translated(path, error) from error


def _replace(path: Path) -> sqlite3.Connection:
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    with writing(path, _WHAT):
        path.touch(mode=0o600)
    db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")
        elif version != _FORMAT:
            raise sqlite3.DatabaseError(f"its format is {version}")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether a new file would cure it; codes carry details in their higher bits."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code != sqlite3.SQLITE_FULL and code not in _NOT_OURS


def _translated(path: Path, error: sqlite3.Error) -> SyncsrvError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return NoSpaceError(path, _WHAT)
    return DamagedError(
        f"cannot use the index of the history {path}: {error}", "remove the file; it is made anew from the repository"
    )
