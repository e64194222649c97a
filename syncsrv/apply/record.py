"""The disk, made main: scan what is live and commit it (DESIGN 4.1, 4.4 step 1).

Watch, ``syncsrv commit`` and the pre-image of every apply go through here, under the one lock that covers commit,
apply, rollback and repack. While the lock is free, main equals the disk; so an own apply is never mistaken for an
edit.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import Entry, is_below, parents, show_path
from syncsrv.plan.words import counted
from syncsrv.store.commits import Person
from syncsrv.store.message import compose, summary
from syncsrv.store.repo import Store
from syncsrv.watch.scan import LeftOut, LiveTree, Reason, Scanner

MAIN = "refs/heads/main"

UNSAVED = frozenset({Reason.TOO_LARGE, Reason.TOO_DEEP, Reason.UNREADABLE, Reason.CHANGING, Reason.FOREIGN})
"""It is there but could not be read: its last known entry stays in the history; its absence is not claimed."""


class NotRecordedError(SyncsrvError):
    """Paths that were asked for by name are not in the history."""

    code = "not-recorded"

    def __init__(self, left_out: tuple[LeftOut, ...]) -> None:
        named = "; ".join(f"{show_path(one.path)}: {one.detail or one.reason}" for one in left_out[:5])
        super().__init__(
            f"cannot commit {counted(len(left_out), 'file')}: {named}",
            "everything else is committed; exclude them, raise the area's `limit`, or repair them",
        )
        self.left_out = left_out


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording found.

    Attributes:
        commit: the new commit, None where main was equal already.
        head: main afterwards; None while nothing was ever committed.
        live: what was scanned.
        changed: how many paths the commit changes.
        subject: of the new commit.
    """

    commit: str | None
    head: str | None
    live: LiveTree
    changed: int = 0
    subject: str = ""


class Recorder:
    """Keeps main equal to the disk of this node.

    Args:
        store: the repository.
        scanner: of the managed root.
        cluster_file: cluster.yaml of the configuration directory.
        node: this node's name, for the trailers and for commits of nobody.
        clock: wall time of commits.
    """

    def __init__(self, store: Store, scanner: Scanner, cluster_file: Path, node: str, clock: Clock) -> None:
        self.store = store
        self.lock = threading.RLock()
        self._scanner = scanner
        self._cluster_file = cluster_file
        self._node = node
        self._clock = clock

    def head(self) -> str | None:
        """The commit of main."""
        return self.store.ref(MAIN)

    def tree(self, commit: str | None) -> Mapping[bytes, Entry]:
        """The entries of a commit; nothing for None."""
        return self.store.read_tree(commit) if commit else {}

    def scan(self, areas: Areas, only: Collection[bytes] | None = None) -> LiveTree:
        """What is live in these areas now; contents go to the store, no ref moves."""
        with self.lock, self.store.writer():
            return self._scan(areas, only)

    def _scan(self, areas: Areas, only: Collection[bytes] | None = None) -> LiveTree:
        """One batch of contents; when it cannot be kept, the scanner must not believe that it was."""
        kept = False
        try:
            with self.store.batch():
                live = self._scanner.scan(areas, self._cluster_file, only)
            kept = True
            return live
        finally:
            if not kept:
                self._scanner.forget()

    def record(
        self,
        areas: Areas,
        *,
        via: str,
        person: Person | None = None,
        message: str = "",
        only: Collection[bytes] | None = None,
        paths: Collection[bytes] = (),
        beside: Areas | None = None,
    ) -> Recorded:
        """Scan, and commit what differs from main.

        Args:
            areas: this node's areas.
            via: the trailer: watch, cli, sync, ...
            person: the author where one is known, else the node.
            message: the person's words; composed from the changes where empty.
            only: paths that may have changed; None scans everything.
            paths: commit only what lies at or below these.
            beside: areas of a tag about to be applied: what lies there is saved too, before it is overwritten.
        """
        with self.lock, self.store.writer():
            live = self._scan(areas, only)
            entries, left_out = dict(live.entries), live.left_out
            tops = [top for name in areas.names for top in areas.tops(name)]
            if beside is not None and not areas.holds(beside):
                more = self._scan(beside)
                entries.update(more.entries)
                left_out += more.left_out
                tops += [top for name in beside.names for top in beside.tops(name)]
            head = self.head()
            base = self.tree(head)
            changes = changes_to(base, entries, left_out, tops, paths)
            if not changes and head is not None:
                return Recorded(None, head, live)
            return self._commit(head, base, changes, areas, live, via, person, message)

    def _commit(
        self,
        head: str | None,
        base: Mapping[bytes, Entry],
        changes: Mapping[bytes, Entry | None],
        areas: Areas,
        live: LiveTree,
        via: str,
        person: Person | None,
        message: str,
    ) -> Recorded:
        tree = self.store.build_tree(head, changes)
        touched = sorted({areas.area_of(path) for path in changes} - {None}, key=str)
        subject = message or summary(base, changes, self.store.blob)
        asked = person.name if person else ""
        text = compose(subject, via=via, node=self._node, areas=[str(area) for area in touched], requested_by=asked)
        author = person or Person(self._node, f"syncsrv@{self._node}")
        commit = self.store.commit(tree, [head] if head else [], text, author, self._clock.utc())
        self.store.move_ref(MAIN, commit, head)
        return Recorded(commit, commit, live, len(changes), subject.splitlines()[0])


def changes_to(
    base: Mapping[bytes, Entry],
    live: Mapping[bytes, Entry],
    left_out: tuple[LeftOut, ...],
    tops: Collection[bytes],
    paths: Collection[bytes] = (),
) -> dict[bytes, Entry | None]:
    """What to change in main's tree so that it is what is live. Pure.

    A path that is there but could not be read keeps its last known entry, and so does all below it. What belongs to
    no area any more goes; the bare directories above an area (``tops`` are the areas' paths) are Git's business.
    """
    unsaved = [one.path for one in left_out if one.reason in UNSAVED]
    holding = {above for path in (*tops, *unsaved) if path in live or path in unsaved for above in parents(path)}
    changes: dict[bytes, Entry | None] = {path: entry for path, entry in live.items() if base.get(path) != entry}
    for path in base.keys() - live.keys() - holding:
        if not any(is_below(path, top) for top in unsaved):
            changes[path] = None
    if paths:
        changes = {path: entry for path, entry in changes.items() if any(is_below(path, top) for top in paths)}
    return changes
