"""Which commits may be shown to whoever may see the history: those that branches, tags and peers' mains reach.

What only receipts, jobs or quarantine name is not among them: it was never live here, or it is nobody's configuration.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Protocol

from syncsrv.store.gitformat import MalformedObjectError

SHOWN = ("refs/heads/", "refs/tags/", "refs/remotes/", "refs/syncsrv/known-good")
"""The beginnings of names that are everybody's."""


class Repository(Protocol):
    """What it needs of a store."""

    def refs(self, prefix: str = ...) -> dict[str, str]: ...
    def peel(self, object_id: str) -> str: ...
    def parents(self, commit_id: str) -> tuple[str, ...]: ...


class Reach:
    """Remembers what it found, so that only what is new is walked. For any thread.

    What could be reached once goes on being shown until this process ends, also where its name is gone.

    Args:
        store: the repository.
    """

    def __init__(self, store: Repository) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._tips: set[str] = set()
        self._seen: set[str] = set()

    def holds(self, commit: str) -> bool:
        """Whether a commit may be shown."""
        with self._lock:
            if commit not in self._seen:
                self._walk()
            return commit in self._seen

    def _walk(self) -> None:
        refs = self._store.refs()
        tips = {value for name, value in refs.items() if name.startswith(SHOWN)} - self._tips
        todo, fresh = [], set()
        for tip in tips:
            with contextlib.suppress(MalformedObjectError):  # a tag of a tree or a file, which somebody made by hand
                todo.append(self._store.peel(tip))
        while todo:
            commit = todo.pop()
            if commit not in self._seen and commit not in fresh:
                fresh.add(commit)
                todo.extend(self._store.parents(commit))
        self._tips |= tips
        self._seen |= fresh
