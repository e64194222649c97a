"""One pass over areas, by directory descriptors: every name judged, looked at, read where it changed.

The pass edits a map of nodes in place, so that a look at one path costs what that path costs. It follows no link:
every directory is opened below its parent with O_NOFOLLOW, and what a name meant is asked again after what it named
was read. What did not hold still is listed in ``unsettled`` for another pass.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from syncsrv.clock import Clock
from syncsrv.plan.areas import CLUSTER_AREA, Areas
from syncsrv.plan.names import unsafe_content, unsafe_name
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, is_below, show_path
from syncsrv.watch.live import LeftOut, Reason
from syncsrv.watch.nodes import Node, Nodes, below
from syncsrv.watch.reading import (
    MARGIN_S,
    Contents,
    LinkInPathError,
    NotSettledError,
    Owners,
    Signature,
    TooLargeError,
    carried_xattrs,
    open_below,
    read_file,
    read_link,
    seconds_to_settle,
    signature,
)

MAX_DEPTH = 128
"""Directories above a path; deeper ones are reported. Bounds the descriptors that are open at once."""

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_SPECIAL = (
    (stat.S_ISSOCK, Reason.SOCKET, "a socket, which is no configuration"),
    (stat.S_ISFIFO, Reason.FIFO, "a FIFO, which is no configuration"),
    (stat.S_ISCHR, Reason.DEVICE, "a character device, which is no configuration"),
    (stat.S_ISBLK, Reason.DEVICE, "a block device, which is no configuration"),
)


class ExhaustedError(Exception):
    """Our own process lacks descriptors or memory, which says nothing about the path it failed at."""


class Place(NamedTuple):
    """A name to look at: in the directory ``at``, in an area, by its tree path."""

    at: int
    area: str
    path: bytes
    name: bytes


class Walk:
    """One pass; ``unsettled`` then maps paths to the seconds after which another look is worth it.

    Args:
        root: descriptor of the managed root.
        areas: what to look at.
        cluster_file: what the area ``cluster`` reads.
        nodes: what is known; edited.
        known: where an unchanged file's entry is taken from; ``nodes`` itself for a pass over part of the tree.
        put: stores a content, returns its id.
        owners: names of users and groups.
        clock: compared with the files' times.
    """

    def __init__(
        self,
        root: int,
        areas: Areas,
        cluster_file: Path | None,
        nodes: Nodes,
        known: Mapping[bytes, Node],
        put: Callable[[bytes], str],
        owners: Owners,
        clock: Clock,
    ) -> None:
        self._root = root
        self._areas = areas
        self._cluster_file = cluster_file
        self._nodes = nodes
        self._known = known
        self._put = put
        self._owners = owners
        self._clock = clock
        self._partial = nodes is known
        self._seen: set[bytes] = set()
        self.unsettled: dict[bytes, float] = {}

    def visit(self, path: bytes) -> None:
        """Look again at one path and at what is below it as far as it changed; paths outside all areas are nothing."""
        around = self._areas.area_around(path)
        if around == CLUSTER_AREA:
            self._cluster()
        elif around is not None:
            top = next(top for top in self._areas.tops(around) if is_below(path, top))
            self._revisit(around, top, path)
        else:
            for area in self._areas.names:
                for top in self._areas.tops(area):
                    if is_below(top, path):
                        self.visit_top(area, top)

    def visit_top(self, area: str, top: bytes) -> None:
        """Look at an area's path and all below it."""
        if area == CLUSTER_AREA:
            self._cluster()
            return
        parent, _, name = top.rpartition(b"/")
        place = Place(-1, area, top, name or b".")
        bad = next(filter(None, map(unsafe_name, top.split(b"/"))), None) if top else None
        if bad:
            self._leave(place, Reason.UNNAMEABLE, bad)
            return
        try:
            at = open_below(self._root, parent)
        except LinkInPathError as error:
            link = show_path(error.component)
            self._leave(place, Reason.FOREIGN, f"{link} on the way to it is a link, which is never followed")
        except (FileNotFoundError, NotADirectoryError):
            self._nodes.drop(top)
        except OSError as error:
            self._leave_unreadable(place, error)
        else:
            try:
                self._look(place._replace(at=at), self._areas.why_excluded(top), asked=True)
            finally:
                os.close(at)

    def _cluster(self) -> None:
        """Take in cluster.yaml; its owner and mode are each node's own, and the tree carries none for it."""
        if self._cluster_file is None:
            self._nodes.drop(CLUSTER_PATH)
            return
        place = Place(-1, CLUSTER_AREA, CLUSTER_PATH, os.fsencode(self._cluster_file.name))
        try:
            at = os.open(self._cluster_file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            self._nodes.drop(CLUSTER_PATH)
            return
        except OSError as error:
            self._leave_unreadable(place, error)
            return
        try:
            found = os.stat(place.name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                self._take(place._replace(at=at), found, Kind.FILE)
            else:
                self._leave(place, Reason.FOREIGN, f"{self._cluster_file} is no regular file")
        except FileNotFoundError:
            self._nodes.drop(CLUSTER_PATH)
        finally:
            os.close(at)
        node = self._nodes.get(CLUSTER_PATH)
        if node is not None and node.entry is not None:
            self._nodes[CLUSTER_PATH] = Node(node.signature, Entry(Kind.FILE, 0o644, blob=node.entry.blob))

    def _revisit(self, area: str, top: bytes, path: bytes) -> None:
        """Climb from ``path`` to the nearest directory that is still the one that we know, and look from there."""
        while path not in self._seen:
            if path == top:
                self.visit_top(area, top)
                return
            parent, _, name = path.rpartition(b"/")
            node = self._nodes.get(parent)
            at = self._open_known(parent, node)
            if node is None or node.names is None or at is None:
                path = parent
                continue
            try:
                self._look(Place(at, area, path, name), self._areas.why_child_excluded(area, path), asked=True)
            finally:
                os.close(at)
            if path in self._nodes:
                node.names.add(name)
            else:
                node.names.discard(name)
            return

    def _open_known(self, path: bytes, node: Node | None) -> int | None:
        """The directory, where it is listed, settled, and the same as then."""
        if node is None or node.names is None or not node.signature:
            return None
        try:
            at = open_below(self._root, path)
        except (OSError, LinkInPathError):
            return None
        if signature(os.fstat(at))[3:5] == node.signature[3:5]:
            return at
        os.close(at)
        return None

    def _look(
        self, place: Place, excluded: str | None, found: os.stat_result | None = None, *, asked: bool = False
    ) -> None:
        """Judge one name and take in what it is.

        Args:
            place: where.
            excluded: why it is left alone, where it is.
            found: its lstat, where that was asked just now.
            asked: whether a directory is listed though it seems unchanged.
        """
        if self._partial:
            self._seen.add(place.path)
        if found is None:
            try:
                found = os.stat(place.name, dir_fd=place.at, follow_symlinks=False)
            except FileNotFoundError:
                self._nodes.drop(place.path)
                return
            except OSError as error:
                self._leave_unreadable(place, error)
                return
        bad = None if excluded or not place.path else unsafe_name(place.name)
        if excluded:
            self._leave(place, Reason.EXCLUDED, excluded)
        elif bad:
            self._leave(place, Reason.UNNAMEABLE, bad)
        elif stat.S_ISREG(found.st_mode):
            self._take(place, found, Kind.FILE)
        elif stat.S_ISDIR(found.st_mode):
            self._directory(place, found, asked)
        elif stat.S_ISLNK(found.st_mode):
            self._take(place, found, Kind.LINK)
        else:
            self._leave(place, *next((reason, text) for test, reason, text in _SPECIAL if test(found.st_mode)))

    def _take(self, place: Place, found: os.stat_result, kind: Kind) -> None:
        """A file or a link: as known where its signature is, else read."""
        limit = self._areas.limit(place.area)
        if found.st_size > limit:
            self._leave_too_large(place, found.st_size, limit)
            return
        known = self._known.get(place.path)
        if known is not None and known.entry is not None and known.signature == signature(found):
            self._nodes.take(place.path, known)
            return
        try:
            read = self._read(place, kind, limit)
        except TooLargeError as error:
            self._leave_too_large(place, error.size, limit)
            return
        except NotSettledError as error:
            self._leave_changing(place, error)
            return
        except OSError as error:
            self._leave_unreadable(place, error)
            return
        bad = unsafe_content(place.name, read.data) if kind is Kind.FILE else None
        if bad:
            self._leave(place, Reason.UNNAMEABLE, bad, len(read.data))
            return
        self._nodes.take(place.path, Node(read.signature, self._entry(kind, read, self._put(read.data))))

    def _read(self, place: Place, kind: Kind, limit: int) -> Contents:
        if kind is Kind.LINK:
            return read_link(place.at, place.name, self._clock)
        return read_file(place.at, place.name, limit, self._clock)

    def _directory(self, place: Place, found: os.stat_result, asked: bool) -> None:
        known = self._nodes.get(place.path)
        if known is not None and known.names is not None and not asked and known.signature == signature(found):
            self._seen.discard(place.path)
            return
        if place.path.count(b"/") >= MAX_DEPTH:
            self._leave(place, Reason.TOO_DEEP, f"more than {MAX_DEPTH} directories deep")
            return
        try:
            fd = os.open(place.name, _OPEN_DIRECTORY, dir_fd=place.at)
        except FileNotFoundError:
            self._nodes.drop(place.path)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                self._leave_changing(place, NotSettledError())
            else:
                self._leave_unreadable(place, error)
        else:
            try:
                self._opened(fd, place)
            finally:
                os.close(fd)

    def _opened(self, fd: int, place: Place) -> None:
        """Take in a directory and all in it; it is settled when it was the same before and after."""
        now_utc = self._clock.utc()
        before = os.fstat(fd)
        seen = signature(before)
        known = self._known.get(place.path)
        try:
            known_entry = known.entry if known is not None and known.signature == seen else None
            xattrs = carried_xattrs(fd) if known_entry is None else known_entry.xattrs
            children = _listing(fd)
        except NotSettledError as error:
            self._leave_changing(place, error)
            return
        except OSError as error:
            self._leave_unreadable(place, error)
            return
        entry = self._entry(Kind.DIRECTORY, Contents(seen, b"", xattrs), "") if place.path else None
        node = Node(seen, entry)
        self._nodes.enter(place.path, node, {name for name, _ in children})
        names = node.names = set()
        for name, found in children:
            path = below(place.path, name)
            excluded = self._areas.why_child_excluded(place.area, path)
            self._look(Place(fd, place.area, path, name), excluded, found)
            if path in self._nodes:
                names.add(name)
        wait_s = seconds_to_settle(before.st_ctime_ns, now_utc)
        if wait_s > 0 or signature(os.fstat(fd)) != seen or not _means(place, seen):
            node.signature = ()
            self.unsettled[place.path] = max(wait_s, MARGIN_S)

    def _entry(self, kind: Kind, read: Contents, blob: str) -> Entry:
        mode, uid, gid = read.signature[5:]
        permissions = 0o777 if kind is Kind.LINK else stat.S_IMODE(mode)
        return Entry(kind, permissions, self._owners.user(uid), self._owners.group(gid), blob, read.xattrs)

    def _leave(self, place: Place, reason: Reason, detail: str, size: int = 0) -> None:
        self._nodes.take(place.path, Node(left=LeftOut(place.path, place.area, reason, detail, size)))

    def _leave_too_large(self, place: Place, size: int, limit: int) -> None:
        detail = f"{size} bytes, over the limit of its area ({limit})"
        self._leave(place, Reason.TOO_LARGE, detail, size)

    def _leave_changing(self, place: Place, error: NotSettledError) -> None:
        self.unsettled[place.path] = error.wait_s
        self._leave(place, Reason.CHANGING, "it changed each time it was read")

    def _leave_unreadable(self, place: Place, error: OSError) -> None:
        if error.errno in _OURS:
            raise ExhaustedError(error.strerror) from error
        self._leave(place, Reason.UNREADABLE, f"it cannot be read: {error.strerror}")


def _listing(fd: int) -> list[tuple[bytes, os.stat_result]]:
    """Each name in a directory with its lstat; one that vanishes meanwhile shows in the directory's times."""
    found = []
    with os.scandir(fd) as listing:
        for one in listing:
            try:
                found.append((os.fsencode(one.name), one.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    return found


def _means(place: Place, seen: Signature) -> bool:
    """Whether the name still means what was looked at."""
    try:
        return signature(os.stat(place.name, dir_fd=place.at, follow_symlinks=False)) == seen
    except OSError:
        return False
