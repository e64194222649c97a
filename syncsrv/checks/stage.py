"""The stage: what this node *would have*, in a directory of our own, for the checks to look at.

Two forms of the same planned result, each built when it is first asked for:

    layer    only what differs from live, deletions as overlayfs's whiteouts; mounts.py lays it over the live files
    folder   all of the areas, for where no overlay may be mounted; with what lies in them and is not under
             management copied from live, so that an include of it is found

Names come from another node, so every one is walked to by descriptors and no link is followed. Nothing here is
synced to disk: a stage lives as long as the checks do, and ``sweep`` removes what a crash left.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from syncsrv.checks.copytree import Budget, TooMuchError, copy_entry, own, own_link
from syncsrv.disk.attributes import ACCESS_ACL, DEFAULT_ACL
from syncsrv.disk.file_errors import MissingDirectoryError, UnsafeTreeError
from syncsrv.disk.owners import Owners
from syncsrv.disk.walk import DIRECTORY_FLAGS, Walker, checked_path
from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Tree, is_below, parents, show_path

_PREFIX = "stage-"
_LEFT_OUT_SIZE = 64 << 20
_LEFT_OUT_ENTRIES = 20_000

_log = logging.getLogger(__name__)


class StageError(SyncsrvError):
    """The stage could not be built; no live file was touched."""

    code = "stage"

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(
            f"cannot build the stage in {directory}: {why}", "make room on the filesystem of state_dir, or repair it"
        )


def sweep(workspace: Path) -> None:
    """Remove stages that a crash left; for the start, when nobody else works there."""
    for left in workspace.glob(f"{_PREFIX}*"):
        _delete(left)


class Stage:
    """One planned result, staged; a context manager that removes it at its end.

    Args:
        workspace: directory that only we can read, made if it is missing.
        root: the managed root.
        planned: the areas as they would be; overrides applied.
        live: the same areas as they are.
        tops: tree paths of the areas.
        read_blob: content by id.
        hidden: directories of this node that are never copied: its keys, its state.

    Raises:
        LinkInPathError, NotDirectoryError: the way to a top is barred on this node.
        UnsafePathError: a path that nobody may write.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        root: Path,
        planned: Tree,
        live: Tree,
        tops: Iterable[bytes],
        read_blob: Callable[[str], bytes],
        hidden: Sequence[Path] = (),
    ) -> None:
        self.root = root
        self.tops = tuple(sorted(top for top in tops if not _is_own(top)))
        self.hidden = tuple(hidden)
        self.notes: list[str] = []
        self._planned = {checked_path(path): entry for path, entry in planned.items() if not _is_own(path)}
        self._live = {path: entry for path, entry in live.items() if not _is_own(path)}
        self._read_blob = read_blob
        self._walker = Walker(root, None)
        self._layer: Path | None = None
        self._folder: Path | None = None
        for top in self.tops:
            self._assert_reachable(top)
        try:
            workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=workspace))
        except OSError as error:
            raise StageError(workspace, error.strerror or str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove all of it."""
        _delete(self._home)

    def directory(self, name: str) -> Path:
        """An empty directory or, if it was made before, that one; for who runs the checks.

        Raises:
            StageError: it could not be made.
        """
        path = self._home / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StageError(path, error.strerror or str(error)) from error
        return path

    def layer(self) -> Path:
        """The directory with what differs, mirroring the managed root. Needs root.

        Raises:
            StageError: it could not be built.
            UnknownOwnerError: an entry belongs to nobody here.
        """
        if self._layer is None:
            wanted: dict[bytes, Entry | None] = {
                path: entry for path, entry in self._planned.items() if self._live.get(path) != entry
            }
            for path in self._live.keys() - self._planned.keys():
                if not self._goes_with_parent(path):
                    wanted[path] = None
            self._layer = self._build("layer", wanted)
        return self._layer

    def folder(self) -> Path:
        """The directory with all of the areas, mirroring the managed root; what it lacks stands in ``notes``.

        Raises:
            StageError: it could not be built.
            UnknownOwnerError: an entry belongs to nobody here.
        """
        if self._folder is None:
            self._folder = self._build("folder", self._planned)
            _LeftOut(self, self._folder).copy()
        return self._folder

    def _build(self, name: str, wanted: Mapping[bytes, Entry | None]) -> Path:
        place = self.directory(name)
        try:
            _Writer(place, self._read_blob).write(wanted, self._directory_like)
        except OSError as error:
            raise StageError(place, error.strerror or str(error)) from error
        return place

    def _goes_with_parent(self, path: bytes) -> bool:
        """Whether the directory that holds a deleted path is deleted or replaced itself."""
        above = path.rpartition(b"/")[0]
        if above not in self._live:
            return False
        planned = self._planned.get(above)
        return planned is None or planned.kind is not Kind.DIRECTORY

    def _directory_like(self, path: bytes) -> Entry | os.stat_result | None:
        """What a directory above the staged ones should look like: as planned, else as live, else as nothing."""
        entry = self._planned.get(path)
        if entry is not None:
            return entry
        try:
            with self._walker.parent(path) as (handle, name):
                return os.lstat(name, dir_fd=handle)
        except (FileNotFoundError, MissingDirectoryError):
            return None

    def _assert_reachable(self, top: bytes) -> None:
        try:
            with self._walker.parent(checked_path(top)):
                return
        except MissingDirectoryError:
            return  # its parents are made with it

    def listing(self, directory: bytes) -> tuple[int, list[bytes]] | None:
        """A live directory of an area, opened, and the names in it that are not under management."""
        try:
            with self._walker.parent(directory + b"/-") as (handle, _):
                kept = os.dup(handle)
        except (SyncsrvError, PermissionError):
            return None
        names = [os.fsencode(name) for name in os.listdir(kept)]
        return kept, [name for name in names if not self._is_managed(directory + b"/" + name)]

    def _is_managed(self, path: bytes) -> bool:
        return path in self._planned or path in self._live

    @property
    def planned_directories(self) -> list[bytes]:
        """The directories of the planned result."""
        return [path for path, entry in self._planned.items() if entry.kind is Kind.DIRECTORY]


class _Writer:
    """Writes entries below a directory of our own.

    Args:
        top: the directory.
        read_blob: content by id.
    """

    def __init__(self, top: Path, read_blob: Callable[[str], bytes]) -> None:
        self._top = top
        self._read_blob = read_blob
        self._owners = Owners()
        self._is_root = os.geteuid() == 0
        self._made: set[bytes] = set()

    def write(
        self,
        wanted: Mapping[bytes, Entry | None],
        like: Callable[[bytes], Entry | os.stat_result | None],
    ) -> None:
        """Write everything wanted, None as a whiteout; directories on the way get their looks from ``like``."""
        for path in sorted(wanted, key=lambda one: one.split(b"/")):
            entry = wanted[path]
            handle = self._open_parent(path)
            try:
                self._put(handle, path, entry)
            finally:
                os.close(handle)
        # Last, and the deepest first: a directory may be planned without the right to write in it.
        for path in sorted(self._made, reverse=True):
            self._finish(path, wanted.get(path) or like(path))

    def _open_parent(self, path: bytes) -> int:
        handle = os.open(self._top, DIRECTORY_FLAGS)
        for above in reversed(parents(path)):
            name = above.rpartition(b"/")[2]
            try:
                if above not in self._made:
                    with suppress(FileExistsError):  # whatever is there: if it is no directory, it is not entered
                        os.mkdir(name, 0o700, dir_fd=handle)
                    self._made.add(above)
                deeper = os.open(name, DIRECTORY_FLAGS, dir_fd=handle)
            except NotADirectoryError as error:
                raise UnsafeTreeError(path, above, "is no directory") from error
            finally:
                os.close(handle)
            handle = deeper
        return handle

    def _put(self, handle: int, path: bytes, entry: Entry | None) -> None:
        name = path.rpartition(b"/")[2]
        if entry is None:
            os.mknod(name, stat.S_IFCHR, dir_fd=handle)
        elif entry.kind is Kind.DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=handle)
            self._made.add(path)
        elif entry.kind is Kind.LINK:
            os.symlink(self._read_blob(entry.blob), name, dir_fd=handle)
            if self._is_root:
                own_link(handle, name, *self._owners.numbers(path, entry))
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(name, flags, 0o600, dir_fd=handle), "wb") as file:
                file.write(self._read_blob(entry.blob))
                file.flush()
                self._set_looks(file.fileno(), path, entry)

    def _finish(self, path: bytes, looks: Entry | os.stat_result | None) -> None:
        handle = self._open_parent(path + b"/-")
        try:
            if isinstance(looks, Entry):
                self._set_looks(handle, path, looks)
            elif looks is None:  # it will be made as the apply makes parents: for everybody to walk through
                os.fchmod(handle, 0o755)
            else:
                own(handle, looks.st_uid, looks.st_gid)
                os.fchmod(handle, self._mode(looks.st_mode, 0o700))
        finally:
            os.close(handle)

    def _set_looks(self, handle: int, path: bytes, entry: Entry) -> None:
        if self._is_root:
            own(handle, *self._owners.numbers(path, entry))
        for name, value in entry.xattrs:
            if name.startswith("user.") or name in (ACCESS_ACL, DEFAULT_ACL):  # never trusted.overlay.*
                try:
                    os.setxattr(handle, name, value)
                except OSError as error:
                    _log.debug("stage: %s of %s: %s", name, show_path(path), error)  # no check reads attributes
        os.fchmod(handle, self._mode(entry.mode, 0o700 if entry.kind is Kind.DIRECTORY else 0o600))

    def _mode(self, mode: int, needed: int) -> int:
        """Permission bits without setuid; who is not root keeps what he needs to go on working with it."""
        kept = stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID)
        return kept if self._is_root else kept | needed


class _LeftOut:
    """Copies into the folder stage what lies in the areas' directories and is not under management."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        root = os.path.realpath(os.fsencode(stage.root))
        hidden = [os.path.realpath(os.fsencode(path)) for path in (*stage.hidden, folder.parent)]
        self._hidden = {os.path.relpath(path, root) for path in hidden}
        self._budget = Budget(_LEFT_OUT_SIZE, _LEFT_OUT_ENTRIES)

    def copy(self) -> None:
        try:
            for directory in sorted(self._stage.planned_directories):
                self._copy_into(directory)
        except TooMuchError:
            self._stage.notes.append(
                "files that are not under management are not all in the stage: they are too many or too large"
            )

    def _copy_into(self, directory: bytes) -> None:
        found = self._stage.listing(directory)
        if found is None:
            return
        source, names = found
        try:
            target = os.open(os.fsencode(self._folder) + b"/" + directory, DIRECTORY_FLAGS)
            try:
                device = os.fstat(source).st_dev
                for name in names:
                    self._copy_one(source, target, directory + b"/" + name, device)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _copy_one(self, source: int, target: int, path: bytes, device: int) -> None:
        if any(is_below(hidden, path) for hidden in self._hidden):
            return
        try:
            copy_entry(source, target, path.rpartition(b"/")[2], self._budget, device=device)
        except OSError as error:
            self._stage.notes.append(f"{show_path(path)} is not in the stage: {error.strerror}")


def _is_own(path: bytes) -> bool:
    """Whether it is cluster.yaml, whose check is not a program's and whose real place is not below the root."""
    return is_below(path, CLUSTER_PATH.partition(b"/")[0])


def _delete(path: Path) -> None:
    try:
        if os.geteuid() != 0:  # directories copied from live may forbid it to their owner
            for folder, _, _ in os.walk(path):
                Path(folder).chmod(0o700)
        shutil.rmtree(path)
    except OSError as error:
        _log.warning("cannot remove the old stage %s: %s; it is tried again at the next start", path, error)
