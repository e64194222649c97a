"""The files of a bare repository: made, looked at, and swept of what a killed writer left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from syncsrv import durable
from syncsrv.errors import DamagedError
from syncsrv.store.files import writing

MAIN = "refs/heads/main"
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tfsync = all
\tlogAllRefUpdates = false
[gc]
\tauto = 0
\tpruneExpire = never
[maintenance]
\tauto = false
[receive]
\tfsckObjects = true
\tautogc = false
\tdenyDeletes = true
\tdenyNonFastForwards = true
[transfer]
\tfsckObjects = true
\thideRefs = refs/syncsrv
[uploadpack]
\thideRefs = refs/syncsrv
"""


class NoRepositoryError(DamagedError):
    """There is no repository where one should be, or there is something else."""

    code = "no-repository"

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"cannot open the repository {path}: {why}", remedy)
        self.path = path


def create(path: Path) -> None:
    """Make an empty repository, 0700, whose branch main has no commit; whole, or not at all.

    Raises:
        NoRepositoryError: something is there already.
        NoSpaceError, UnwritableError: it cannot be written.
    """
    if path.exists():
        raise NoRepositoryError(path, "it is to be made new, but is there already", "move it away first")
    temporary = path.with_name(f".{path.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(path):
            _lay_out(path, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check(path: Path) -> None:
    """See that a repository is there.

    Raises:
        NoRepositoryError: it is none.
    """
    if not path.is_dir():
        raise NoRepositoryError(path, "it does not exist", "`syncsrv init` makes one")
    for name in ("HEAD", "objects", "refs"):
        if not (path / name).exists():
            raise NoRepositoryError(path, f"{name} is missing in it", "copy it back, or clone it from a peer")
    if not (path / "HEAD").read_bytes().startswith(b"ref: refs/heads/"):
        raise NoRepositoryError(path, "its HEAD is damaged", f"write `ref: {MAIN}` into {path / 'HEAD'}")


def _lay_out(path: Path, temporary: Path) -> None:
    temporary.mkdir(mode=0o700, parents=True)
    folders = ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags")
    for folder in folders:
        (temporary / folder).mkdir(mode=0o700)
    for name, text in (("config", _CONFIG), ("HEAD", f"ref: {MAIN}\n")):
        durable.write(temporary / name, text.encode())
    for folder in (*folders, "."):
        durable.sync_directory(temporary / folder)
    temporary.rename(path)
    durable.sync_directory(path.parent)


def sweep(repository: Path) -> list[Path]:
    """Remove lock files and temporary files that a killed writer left; the caller holds the writer lock.

    Returns:
        What was removed.
    """
    gone = []
    for folder, folders, files in os.walk(repository):
        for name in [name for name in folders if name.startswith("tmp_objdir-")]:
            folders.remove(name)
            shutil.rmtree(Path(folder, name), ignore_errors=True)
        in_objects = Path(folder).is_relative_to(repository / "objects")
        for name in files:
            if name.endswith(".lock") or (in_objects and name.startswith("tmp_")):
                path = Path(folder, name)
                path.unlink(missing_ok=True)
                gone.append(path)
    return gone
