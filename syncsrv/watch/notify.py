"""The hint that something changed, from inotify. It says where to look; what is there, only a scan says.

Every directory of an area is watched, and every directory above an area, so that an area that appears, or whose
parent is exchanged, is noticed too. Directories that are left alone have no watch: what goes on in them costs nothing
and holds nothing up.

This module is the only one that knows watchdog. It uses watchdog's reader of the kernel's queue and keeps the book of
directories itself: watchdog's Observer swallows a refused watch below its top directory, so that it goes deaf there
in silence, tells no handler of an overflow, and would watch what is excluded.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from syncsrv.clock import Clock
from syncsrv.plan.areas import CLUSTER_AREA, Areas
from syncsrv.plan.names import unsafe_name
from syncsrv.plan.tree import CLUSTER_PATH, is_below, parents
from syncsrv.watch.gather import MOST_S, QUIET_S, Gather
from syncsrv.watch.nodes import below

_log = logging.getLogger(__name__)

_MASK = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
_CAME_OR_WENT = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
)


@dataclass(slots=True, eq=False)
class _Directory:
    """One watch: what the kernel says of a directory goes to the watcher with the path it has in the tree."""

    watcher: Watcher
    path: bytes
    id: CallbackId
    wd: WatchDescriptor = field(default=WatchDescriptor(-1))
    names: set[bytes] = field(default_factory=set)

    def on_event(self, event: InotifyEvent) -> None:
        self.watcher._on_event(self, event)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self.watcher._on_gone(self)

    def on_queue_overflow(self) -> None:
        self.watcher._on_overflow(self)


class Watcher:
    """Calls back when something in the areas may have changed, once for many changes.

    Args:
        root: the managed tree.
        on_change: told where to look (None: anywhere) in a thread of the watcher's own; must not raise.
        clock: whose monotonic time measures the quiet period.
        quiet_s: seconds without a change before it is told.
        most_s: seconds that a change waits at the most.
        reader: makes the reader of the kernel's queue.
    """

    def __init__(
        self,
        root: Path,
        on_change: Callable[[frozenset[bytes] | None], None],
        clock: Clock,
        *,
        quiet_s: float = QUIET_S,
        most_s: float = MOST_S,
        reader: Callable[[], InotifyFD] = InotifyFD,
    ) -> None:
        self._root = os.fsencode(root)
        self._on_change = on_change
        self._clock = clock
        self._gather = Gather(quiet_s, most_s)
        self._make_reader = reader
        self._ids = itertools.count(1)
        # Held while the book is changed; taken before the reader's own lock, never while that is held.
        self._book = threading.RLock()
        self._directories: dict[bytes, _Directory] = {}
        self._config: _Directory | None = None
        self._areas: Areas | None = None
        self._cluster_file: Path | None = None
        self._tops: tuple[bytes, ...] = ()
        self._above: frozenset[bytes] = frozenset()
        self._refused = ""
        self._wake = threading.Condition()
        self._closing = False
        self._reader: InotifyFD | None = None
        self._teller = threading.Thread(target=self._tell, name="watch", daemon=True)
        self._teller.start()

    @property
    def degraded(self) -> str:
        """Why changes may go unnoticed until the next full scan; empty where none does."""
        reader = self._reader
        if self._refused or reader is None or reader.is_alive():
            return self._refused
        return "the reader of inotify has ended"

    @property
    def watched(self) -> int:
        """How many directories are watched."""
        return len(self._directories) + (self._config is not None)

    def watch(self, areas: Areas, cluster_file: Path | None) -> None:
        """Watch these areas from now on, and no others; what changes after this returned is told.

        Call it again before each periodic scan: a file system mounted over a directory says nothing, and a watch
        that was refused may be granted now.

        Args:
            areas: what is managed.
            cluster_file: the real cluster.yaml, told as CLUSTER_PATH.
        """
        with self._book:
            self._areas = areas
            self._cluster_file = cluster_file
            self._tops = tuple(
                top
                for name in areas.names
                for top in areas.tops(name)
                if name != CLUSTER_AREA and not areas.excluded(top)
            )
            self._above = frozenset(above for top in self._tops for above in _chain(top))
            self._rearm()

    def close(self) -> None:
        """Stop telling; no thread and no watch is left afterwards."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        with self._book:
            self._directories.clear()
            self._config = None
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            reader.join()
        if self._teller is not threading.current_thread():
            self._teller.join()

    def _tell(self) -> None:
        while True:
            with self._wake:
                while not self._closing and (wait_s := self._seconds_left()) != 0:
                    self._wake.wait(wait_s)
                if self._closing:
                    return
                paths = self._gather.take()
            self._on_change(paths)

    def _seconds_left(self) -> float | None:
        due_at = self._gather.due_at()
        return None if due_at is None else max(0.0, due_at - self._clock.monotonic())

    def _note(self, paths: Iterable[bytes] | None) -> None:
        with self._wake:
            idle = self._gather.due_at() is None
            self._gather.note(paths, self._clock.monotonic())
            # Later ones only put the time off, which the teller sees when it wakes for the first.
            if idle:
                self._wake.notify_all()

    # The reader's thread comes in here.

    def _on_event(self, directory: _Directory, event: InotifyEvent) -> None:
        with self._book:
            if directory is self._config:
                mine = self._cluster_file is not None and event.name in (b"", os.fsencode(self._cluster_file.name))
                paths = [CLUSTER_PATH] if mine else []
            elif self._directories.get(directory.path) is directory:
                paths = self._judge(directory, event)
            else:
                return
        if paths:
            self._note(paths)

    def _on_gone(self, directory: _Directory) -> None:
        """The kernel has dropped the watch: the directory is deleted, or unmounted, and then another is there."""
        appeared = []
        with self._book:
            if directory is self._config:
                self._config = None
                self._refuse("the configuration directory was removed and is not watched")
            elif self._directories.get(directory.path) is directory:
                self._forget(directory.path)
                appeared = self._arm_at(directory.path)
        if appeared:
            self._note(appeared)

    def _on_overflow(self, directory: _Directory) -> None:
        """Events were lost. Each watch is told; the first makes the others' past."""
        with self._book:
            if directory is not self._config and self._directories.get(directory.path) is not directory:
                return
            self._rearm()
        self._note(None)

    # What follows is called holding the book.

    def _judge(self, directory: _Directory, event: InotifyEvent) -> list[bytes]:
        """Where to look because of an event; directories that come and go enter and leave the book."""
        path = below(directory.path, event.name) if event.name else directory.path
        above = path in self._above
        if not above and not self._managed(path):
            return []
        if event.name and event.mask & _CAME_OR_WENT:
            if event.is_moved_from or event.is_delete:
                self._forget(path)
                return [path]
            return [path, *self._arm_at(path)] if event.is_directory else [path]
        return [] if above else [path]

    def _arm_at(self, path: bytes) -> list[bytes]:
        """Watch what has appeared at a path; the directories that are watched below areas because of it."""
        tops = [top for top in self._tops if is_below(top, path)] if path in self._above else [path]
        return [armed for top in tops for armed in self._arm(top)]

    def _managed(self, path: bytes) -> bool:
        return (
            self._areas is not None
            and self._areas.area_of(path) is not None
            and unsafe_name(path.rpartition(b"/")[2]) is None
        )

    def _rearm(self) -> None:
        """Every watch anew: nobody knows any more which directory is where."""
        self._refused = ""
        self._forget(b"")
        if self._config is not None:
            self._unwatch(self._config)
            self._config = None
        if self._reader is None:
            try:
                self._reader = self._make_reader()
            except OSError as error:
                self._refuse(f"inotify cannot be used ({error.strerror}): raise fs.inotify.max_user_instances")
                return
            self._reader.start()
        if self._cluster_file is not None:
            directory = self._cluster_file.parent.resolve()
            self._config = self._watch_directory(b"", os.fsencode(directory))
            if self._config is None:
                self._refuse(f"{directory} is not watched: it is no directory")
        for top in self._tops:
            self._arm(top)

    def _arm(self, top: bytes) -> list[bytes]:
        """Watch a directory and all below it, and before that what is above it, as far as it exists.

        Returns:
            The directories at and below ``top``.
        """
        for path in _chain(top):
            if path not in self._directories and not self._add(path):
                return []
        armed = []
        pending = [top]
        while pending:
            path = pending.pop()
            # First the watch, then the listing: what appears in between is seen twice, never not at all.
            if path in self._directories or self._add(path):
                armed.append(path)
                children = (below(path, name) for name in _directories_in(self._real(path)))
                pending += [child for child in children if self._managed(child)]
        return armed

    def _add(self, path: bytes) -> bool:
        directory = self._watch_directory(path, self._real(path))
        if directory is None:
            return False
        self._directories[path] = directory
        if path:
            parent, _, name = path.rpartition(b"/")
            self._directories[parent].names.add(name)
        return True

    def _watch_directory(self, path: bytes, real: bytes) -> _Directory | None:
        if self._reader is None:
            return None
        directory = _Directory(self, path, CallbackId(next(self._ids)))
        try:
            directory.wd = self._reader.add_callback(real, _MASK, directory, directory.id)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._refuse("not every directory is watched: raise fs.inotify.max_user_watches")
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                self._refuse(f"{os.fsdecode(real)} is not watched: {error.strerror}")
            return None
        if directory.wd < 0:
            # So watchdog says that the kernel said EACCES.
            self._unwatch(directory)
            self._refuse(f"{os.fsdecode(real)} is not watched: permission denied")
            return None
        return directory

    def _forget(self, path: bytes) -> None:
        """Take a directory and all below it out of the book."""
        parent, _, name = path.rpartition(b"/")
        if path and parent in self._directories:
            self._directories[parent].names.discard(name)
        doomed = [path]
        while doomed:
            gone = self._directories.pop(doomed.pop(), None)
            if gone is not None:
                doomed += [below(gone.path, name) for name in gone.names]
                self._unwatch(gone)

    def _unwatch(self, directory: _Directory) -> None:
        if self._reader is not None:
            self._reader.remove_callbacks([(directory.wd, directory.id)])

    def _refuse(self, why: str) -> None:
        if not self._refused:
            self._refused = why
            _log.warning("changes may go unnoticed until the next full scan: %s", why)

    def _real(self, path: bytes) -> bytes:
        return os.path.join(self._root, path) if path else self._root


def _chain(top: bytes) -> list[bytes]:
    """The directories above an area's path, from the root down."""
    return [b"", *reversed(parents(top))] if top else []


def _directories_in(real: bytes) -> list[bytes]:
    """Names of the directories in a directory, links not among them."""
    try:
        with os.scandir(real) as listing:
            return [one.name for one in listing if one.is_dir(follow_symlinks=False)]
    except OSError:
        # It is gone, or may not be read; a scan will say so.
        return []
