"""How far a backup is behind: by content, and counted in commits that touch the areas."""

from __future__ import annotations

from collections.abc import Mapping

from syncsrv.plan.areas import Areas
from syncsrv.plan.diff import compare, restrict
from syncsrv.store.history import History
from syncsrv.store.repo import Store

_REMEMBERED = 4096


class Lag:
    """Compares what is applied somewhere with this node's main; answers are remembered, commits never change."""

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self._differs: dict[tuple[str, str, str], tuple[bytes, ...]] = {}
        self._counts: dict[tuple[str | None, str, tuple[str, ...]], int] = {}
        self._areas: Areas | None = None

    def differing(self, applied: Mapping[str, str], main: str, areas: Areas) -> tuple[str, ...]:
        """The areas whose content on ``main`` is not that of the commit applied there.

        An area that was never applied differs when main has anything in it.
        """
        found = []
        for area in areas.names:
            commit = applied.get(area)
            if commit is None:
                if restrict(self._store.read_tree(main), (area,), areas.area_of):
                    found.append(area)
            elif not self._store.has(commit) or self.changed(commit, main, area, areas):
                found.append(area)
        return tuple(found)

    def changed(self, old: str, new: str, area: str, areas: Areas) -> tuple[bytes, ...]:
        """The paths of one area that differ between two commits."""
        if old == new:
            return ()
        self._forget_for(areas)
        key = (old, new, area)
        if key not in self._differs:
            differing = self._store.changes(old, new)
            before = {path: entry for path, (entry, _) in differing.items() if entry is not None}
            after = {path: entry for path, (_, entry) in differing.items() if entry is not None}
            changes = compare(before, after, areas.area_of)
            self._differs[key] = tuple(change.path for change in changes if change.area == area)
        return self._differs[key]

    def commits_since(self, commit: str | None, main: str, areas: Areas, names: tuple[str, ...]) -> int:
        """How many commits of main after ``commit`` touch the named areas."""
        if commit == main:
            return 0
        self._forget_for(areas)
        key = (commit, main, names)
        if key not in self._counts:
            wanted = frozenset(names)
            self._counts[key] = sum(
                any(areas.area_of(path) in wanted for path in self._history.paths_of(one))
                for one in self._history.since(commit, main)
            )
        return self._counts[key]

    def _forget_for(self, areas: Areas) -> None:
        """Answers are for one set of areas, and not for ever."""
        if areas != self._areas or len(self._differs) + len(self._counts) > _REMEMBERED:
            self._differs.clear()
            self._counts.clear()
            self._areas = areas
