"""Looks at managed files one by one: what stands at a path now, in the words of the tree. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from syncsrv.disk.file_errors import LinkInPathError, MissingDirectoryError, NotDirectoryError, from_os
from syncsrv.disk.observe import Seen, look
from syncsrv.disk.owners import Owners
from syncsrv.disk.walk import Walker, checked_path
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, parents


class LiveReader:
    """The managed files of one root, to be looked at.

    Args:
        root: the managed root.
        cluster_file: where the entry CLUSTER_PATH lives; None where it is not touched. Mode and owner of that file are
            this node's own: only its content counts.
    """

    def __init__(self, root: Path, cluster_file: Path | None = None) -> None:
        self.owners = Owners()
        self._walker = Walker(root, cluster_file)
        self._privileged = os.geteuid() == 0

    def observe(self, path: bytes) -> Entry | None:
        """What stands at ``path`` now; None where nothing does.

        Raises:
            LinkInPathError: a directory on the way is a link.
            SpecialFileError: a socket, a FIFO or a device.
            FileError: it cannot be read.
        """
        with self._kernel(checked_path(path), "read"):
            try:
                with self._walker.parent(path) as (handle, name):
                    seen = self._look(handle, name, path)
            except (MissingDirectoryError, NotDirectoryError):
                return None
        return seen.entry if seen else None

    def as_here(self, path: bytes, entry: Entry, *, restoring: bool = False) -> Entry:
        """The entry as ``observe`` gives it once it is written on this node.

        Args:
            path: where.
            entry: what.
            restoring: it was read on this node: an owner whose name has gone since is a number now.
        """
        if path == CLUSTER_PATH:
            return Entry(entry.kind, 0o644, blob=entry.blob)
        return self.owners.as_here(entry, restoring=restoring)

    def is_now(self, path: bytes, entry: Entry | None) -> bool:
        """Whether the live path is what the entry says."""
        live = self.observe(path)
        return live == (self.as_here(path, entry) if entry else None)

    def missing_parents(self, paths: Iterable[bytes]) -> list[bytes]:
        """Directories above ``paths`` that do not exist, parents first.

        What lies behind a link is not looked at: either an operation turns the link into a directory, or the first
        that is prepared below it is refused.
        """
        above = {parent for path in paths if path != CLUSTER_PATH for parent in parents(path)}
        missing = []
        for path in sorted(above):
            with suppress(LinkInPathError):
                if self.observe(path) is None:
                    missing.append(path)
        return missing

    def parent_entry(self) -> Entry:
        """What a directory above an area becomes where it has to be made: 0755 of whoever we are."""
        return Entry(Kind.DIRECTORY, 0o755, self.owners.user(os.geteuid()), self.owners.group(os.getegid()))

    @contextmanager
    def _kernel(self, path: bytes, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_os(error, path, doing, privileged=self._privileged) from error

    def _look(self, handle: int, name: bytes, path: bytes) -> Seen | None:
        seen = look(handle, name, path, self.owners)
        if seen is None or path != CLUSTER_PATH:
            return seen
        return replace(seen, entry=self.as_here(path, seen.entry))
