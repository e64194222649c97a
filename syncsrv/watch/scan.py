"""The truth about the disk: what is live in the areas, read whole, following no link.

inotify is the hint, a scan the truth (DESIGN 4.1). A scan keeps what it knows: a file whose signature is unchanged is
not read again, and with hints only the hinted paths are looked at. What does not hold still is looked at again after
a few milliseconds, several times; what then still changes is reported as left out, never half-read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import Areas, Never
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind
from syncsrv.watch.live import Large, LeftOut, LiveTree, Reason
from syncsrv.watch.nodes import Node, Nodes
from syncsrv.watch.reading import Owners
from syncsrv.watch.walk import ExhaustedError, Walk

__all__ = ["Large", "LeftOut", "LiveTree", "Reason", "ScanError", "Scanner", "own_directories"]

ATTEMPTS = 5
"""Passes in all over what does not hold still."""

MANY_HINTS = 2000
"""Above this a full scan is cheaper than as many single looks."""

LARGE = 1024 * 1024
"""Bytes from which a file is warned of: configuration is rarely that large."""


class ScanError(SyncsrvError):
    """The managed tree cannot be looked at as a whole; nothing may be concluded about any path in it."""

    code = "scan"

    def __init__(self, root: Path, why: str) -> None:
        super().__init__(f"cannot scan {root}: {why}", "correct `root` in node.yaml, or what keeps it from being read")
        self.root = root


class Scanner:
    """Looks at one managed tree again and again. Not for two threads at once.

    Args:
        root: the managed tree; links on the way *to* it are followed, none below it.
        put: stores a content and returns its Git blob id; called only for what changed since it was last called.
        clock: its wall time is compared with the files' times.
        owners: who names users and groups; default this machine's passwd and group.
    """

    def __init__(self, root: Path, put: Callable[[bytes], str], clock: Clock, owners: Owners | None = None) -> None:
        self._root = root
        self._put = put
        self._clock = clock
        self._owners = owners or Owners()
        self._nodes = Nodes()
        self._set_aside: dict[bytes, Node] = {}
        self._areas: Areas | None = None
        self._pause = threading.Event()

    def forget(self) -> None:
        """Read everything again next time; for when what ``put`` stored may be lost."""
        self._nodes = Nodes()
        self._set_aside = {}
        self._areas = None

    def scan(self, areas: Areas, cluster_file: Path | None, only: Collection[bytes] | None = None) -> LiveTree:
        """Look at what is live.

        Args:
            areas: what is managed.
            cluster_file: the real cluster.yaml, which is the area ``cluster``; None where there is none.
            only: paths that may have changed since the last scan; the rest is taken from that. None looks at all.

        Raises:
            ScanError: the root cannot be opened, or our own descriptors or memory are used up.
        """
        part = only if only is not None and len(only) <= MANY_HINTS and areas == self._areas else None
        # Until the end is reached, what is known is in pieces: an error on the way makes the next scan a full one.
        self._areas = None
        if self._owners.refresh():
            self._name_owners()
        try:
            root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ScanError(self._root, error.strerror or str(error)) from error
        try:
            self._passes(root, areas, cluster_file, part)
        except ExhaustedError as error:
            raise ScanError(self._root, str(error)) from error
        finally:
            os.close(root)
        self._areas = areas
        return self._result()

    def _passes(self, root: int, areas: Areas, cluster_file: Path | None, part: Collection[bytes] | None) -> None:
        unsettled = self._pass(root, areas, cluster_file, None if part is None else {*part, CLUSTER_PATH})
        for _ in range(1, ATTEMPTS):
            if not unsettled:
                break
            self._pause.wait(max(unsettled.values()))
            unsettled = self._pass(root, areas, cluster_file, unsettled)

    def _pass(
        self, root: int, areas: Areas, cluster_file: Path | None, paths: Collection[bytes] | None
    ) -> dict[bytes, float]:
        """One pass over some paths, or over all areas; what did not hold still."""
        if paths is not None:
            walk = Walk(root, areas, cluster_file, self._nodes, self._nodes, self._put, self._owners, self._clock)
            for path in sorted(paths):
                walk.visit(path)
            return walk.unsettled
        self._set_aside.update(self._nodes)
        self._nodes = Nodes()
        walk = Walk(root, areas, cluster_file, self._nodes, self._set_aside, self._put, self._owners, self._clock)
        for area in areas.names:
            for top in areas.tops(area):
                walk.visit_top(area, top)
        # What other areas will ask for again (a tag draws them otherwise) stays; what is gone here does not.
        stays = [path for path in self._set_aside if path not in self._nodes and areas.area_around(path) is None]
        self._set_aside = {path: self._set_aside[path] for path in stays}
        return walk.unsettled

    def _result(self) -> LiveTree:
        entries: dict[bytes, Entry] = {}
        left_out: list[LeftOut] = []
        large: list[Large] = []
        for path, node in self._nodes.items():
            if node.entry is not None:
                entries[path] = node.entry
                if node.entry.kind is Kind.FILE and node.signature[2] >= LARGE:
                    large.append(Large(path, node.signature[2]))
            elif node.left is not None:
                left_out.append(node.left)
        left_out.sort(key=lambda one: one.path)
        large.sort(key=lambda one: one.path)
        return LiveTree(entries, tuple(left_out), tuple(large))

    def _name_owners(self) -> None:
        """A user or group was renamed: what is known by number gets its name anew."""
        for path, node in (*self._nodes.items(), *self._set_aside.items()):
            if node.entry is not None and node.signature and path != CLUSTER_PATH:
                user, group = self._owners.user(node.signature[6]), self._owners.group(node.signature[7])
                node.entry = replace(node.entry, user=user, group=group)


def own_directories(root: Path, named: Mapping[str, Path]) -> tuple[Never, ...]:
    """What is never read into the store: each directory by the path that was given and by the one behind links.

    Args:
        root: the managed tree.
        named: what each directory is, for people, and where; those outside ``root`` need no mention in the tree.
    """
    found = []
    for what, directory in named.items():
        for below, path in ((root.absolute(), directory.absolute()), (root.resolve(), directory.resolve())):
            if path.is_relative_to(below):
                tree = os.fsencode(path.relative_to(below))
                found.append(Never(b"" if tree == b"." else tree, what))
    return tuple(dict.fromkeys(found))
