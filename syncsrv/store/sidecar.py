"""The file of the history's index: its schema, how it is opened, and what of its errors is damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from syncsrv.errors import DamagedError, SyncsrvError
from syncsrv.store.files import NoSpaceError, writing

_FORMAT = 2
_WHAT = "the index of the history"
_SCHEMA = """
CREATE TABLE commits (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, author TEXT NOT NULL, via TEXT NOT NULL);
CREATE TABLE paths (path BLOB, n INTEGER, itself INTEGER NOT NULL, PRIMARY KEY (path, n)) WITHOUT ROWID;
CREATE INDEX paths_by_commit ON paths (n) WHERE itself;
CREATE TABLE notes (id TEXT PRIMARY KEY, via TEXT NOT NULL, person TEXT NOT NULL);
"""
"""``n`` counts from the branch's first commit; a path has a row for each commit that changed it (itself) or what is
below. The author is folded for a search that minds no case; ``via`` is the trailer, empty where there is none."""

_NOT_OURS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""Errors of the system that a new file would not cure."""


def opened(path: Path) -> sqlite3.Connection:
    """The index, made anew where it is missing or damaged.

    Raises:
        NoSpaceError, UnwritableError, DamagedError: it cannot be.
    """
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise translated(path, error) from error
    try:
        return replaced(path)
    except sqlite3.DatabaseError as error:
        raise translated(path, error) from error


def replaced(path: Path) -> sqlite3.Connection:
    """An empty one in its place."""
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


def is_damage(error: sqlite3.Error) -> bool:
    """Whether a new file would cure it; codes carry details in their higher bits."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code != sqlite3.SQLITE_FULL and code not in _NOT_OURS


def translated(path: Path, error: sqlite3.Error) -> SyncsrvError:
    """The error by its own name."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return NoSpaceError(path, _WHAT)
    return DamagedError(
        f"cannot use the index of the history {path}: {error}", "remove the file; it is made anew from the repository"
    )
