"""Names for objects: loose refs and packed-refs, moved by compare-and-set, durable when a move returns.

dulwich reads and writes the packed-refs format; the files are handled here, since its locks fail at once and leave
their files behind.
"""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

from dulwich.errors import PackedRefsException
from dulwich.objects import ObjectID
from dulwich.refs import Ref as DulwichRef
from dulwich.refs import check_ref_format, read_packed_refs_with_peeled, write_packed_refs

from syncsrv import durable
from syncsrv.errors import DamagedError, SyncsrvError
from syncsrv.store import gitformat
from syncsrv.store.files import create, make_folder, write_all, writing

_PATIENCE_S = 2.0
_KEPT = ("refs", "refs/heads", "refs/tags")
"""Directories that stay when they are empty: without refs/ it is no repository to Git."""


class RefNameError(SyncsrvError):
    """A name that Git does not allow for a ref, or that another ref's name forbids."""

    code = "ref-name"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"cannot name a ref {name!r}: {why}")
        self.name = name


class StaleRefError(SyncsrvError):
    """A ref is not where the mover thought it was: somebody else moved it first."""

    code = "stale-ref"

    def __init__(self, name: str, expected: str | None, found: str | None) -> None:
        super().__init__(
            f"cannot move {name}: it is at {found or 'nothing'}, expected {expected or 'nothing'}",
            "somebody else moved it in between; try again",
        )
        self.name = name
        self.expected = expected
        self.found = found


class RefLockedError(SyncsrvError):
    """A lock file of another program stands beside the ref."""

    code = "busy"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"cannot move a ref: {path} exists",
            "a git command works on the repository; when none runs, restarting syncsrv removes the file",
        )
        self.path = path


LONGEST_NAME = 1000
LONGEST_PART = 250
"""Bytes; a lock beside it has five more, and a file's name 255 at most."""


class Refs:
    """Reading is for any thread; moving is for the one that holds the repository's writer lock.

    Args:
        repository: the bare repository.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._packed_path = repository / "packed-refs"
        self._lock = threading.Lock()
        self._packed: tuple[tuple[int, int, int] | None, dict[str, str]] = (None, {})

    def get(self, name: str) -> str | None:
        """Where the ref points, None where it does not exist.

        Raises:
            RefNameError: it cannot be the name of a ref.
            DamagedError: it holds no object id.
        """
        path = self._path(name)
        # loose before packed: git pack-refs writes the packed file before it removes the loose one
        loose = self._read(name, path)
        return loose if loose is not None else self._read_packed().get(name)

    def below(self, prefix: str) -> dict[str, str]:
        """All refs whose names begin with ``prefix``, sorted by name."""
        loose = {}
        for folder, _, files in os.walk(self._repository / "refs"):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self._repository).as_posix()
                if name.startswith(prefix) and not name.endswith(".lock"):
                    value = self._read(name, path)
                    if value is not None:
                        loose[name] = value
        packed = {name: value for name, value in self._read_packed().items() if name.startswith(prefix)}
        return dict(sorted((packed | loose).items()))

    def move(self, name: str, new: str | None, old: str | None) -> None:
        """Point ``name`` from ``old`` (None: it must not exist) to ``new`` (None: delete it), or do nothing at all.

        Raises:
            StaleRefError: it is not at ``old``.
            RefNameError, RefLockedError, NoSpaceError, UnwritableError: nothing has changed.
        """
        path = self._path(name)
        lock = path.with_name(path.name + ".lock")
        with writing(self._repository):
            handle = self._take(name, lock)
            try:
                try:
                    found = self.get(name)
                    if found != old:
                        raise StaleRefError(name, old, found)
                    if new is not None:
                        write_all(handle, new.encode() + b"\n")
                        os.fsync(handle)
                finally:
                    os.close(handle)
                if new is not None:
                    self._replace(name, lock, path)
                else:
                    self._forget_packed(name)
                    path.unlink(missing_ok=True)
                durable.sync_directory(path.parent)
            finally:
                lock.unlink(missing_ok=True)
                self._prune(path.parent)

    def _take(self, name: str, lock: Path) -> int:
        ends_at = time.monotonic() + _PATIENCE_S
        while True:
            try:
                for changed in make_folder(lock.parent):
                    durable.sync_directory(changed)
                return create(lock)
            except FileExistsError as error:
                if error.filename != str(lock):
                    raise RefNameError(name, f"{Path(error.filename).name} is a ref itself") from error
                if time.monotonic() >= ends_at:
                    raise RefLockedError(lock) from None
                threading.Event().wait(0.02)
            except NotADirectoryError as error:
                raise RefNameError(name, "a part of it is a ref itself") from error

    def _replace(self, name: str, lock: Path, path: Path) -> None:
        for other in self._read_packed():
            if other.startswith(name + "/"):
                raise RefNameError(name, "other refs stand below it")
            if name.startswith(other + "/"):
                raise RefNameError(name, f"{other} is a ref itself")
        try:
            if path.is_dir():
                path.rmdir()
            lock.rename(path)
        except OSError as error:
            if path.is_dir():
                raise RefNameError(name, "other refs stand below it") from error
            raise

    def _read(self, name: str, path: Path) -> str | None:
        try:
            text = path.read_text("ascii", "replace").strip()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise _damaged(name, error.strerror or str(error)) from error
        if not gitformat.is_id(text):
            raise _damaged(name, "it holds no object id")
        return text

    def _read_packed(self) -> dict[str, str]:
        try:
            with self._packed_path.open("rb") as file:
                status = os.fstat(file.fileno())
                key = (status.st_mtime_ns, status.st_size, status.st_ino)
                with self._lock:
                    if self._packed[0] == key:
                        return self._packed[1]
                content = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _damaged("packed-refs", error.strerror or str(error)) from error
        refs = {name: value for name, (value, _) in _parse_packed(content).items()}
        with self._lock:
            self._packed = (key, refs)
        return refs

    def _forget_packed(self, name: str) -> None:
        if name not in self._read_packed():
            return
        content = self._packed_path.read_bytes()
        refs = {_dulwich_ref(key): value for key, value in _parse_packed(content).items() if key != name}
        peeled = {ref: ObjectID(to.encode()) for ref, (_, to) in refs.items() if to}
        says_peeled = content.startswith(b"# pack-refs") and b" peeled" in content.partition(b"\n")[0]
        out = io.BytesIO()
        write_packed_refs(
            out,
            {ref: ObjectID(value.encode()) for ref, (value, _) in refs.items()},
            peeled if says_peeled else None,
        )
        lock = self._repository / "packed-refs.lock"
        handle = self._take(name, lock)
        try:
            try:
                write_all(handle, out.getvalue())
                os.fsync(handle)
            finally:
                os.close(handle)
            lock.rename(self._packed_path)
        finally:
            lock.unlink(missing_ok=True)
        durable.sync_directory(self._repository)

    def _prune(self, folder: Path) -> None:
        """Remove directories that are empty now, so that a ref may have their name."""
        while folder.relative_to(self._repository).as_posix() not in _KEPT:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _path(self, name: str) -> Path:
        if not name.startswith("refs/") or not check_ref_format(_dulwich_ref(name)):
            raise RefNameError(name, "Git does not allow it")
        if len(name) > LONGEST_NAME or any(len(os.fsencode(part)) > LONGEST_PART for part in name.split("/")):
            raise RefNameError(name[:LONGEST_PART], "it is too long to be a file's name")
        return self._repository / name


def _dulwich_ref(name: str) -> DulwichRef:
    return DulwichRef(name.encode("utf-8", "surrogateescape"))


def _parse_packed(content: bytes) -> dict[str, tuple[str, str]]:
    """Name to value and, for tags where the file says it, what the tag points to."""
    found: dict[str, tuple[str, str]] = {}
    try:
        for value, name, peeled in read_packed_refs_with_peeled(io.BytesIO(content)):
            found[name.decode("utf-8", "surrogateescape")] = (value.decode(), peeled.decode() if peeled else "")
    except (PackedRefsException, ValueError) as error:
        raise _damaged("packed-refs", f"its file is damaged ({error!r:.120})") from error
    return found


def _damaged(name: str, why: str) -> DamagedError:
    return DamagedError(
        f"cannot read {name} of the repository: {why}",
        "point it to the right commit again (`git fsck --lost-found`, `git update-ref`)",
    )
