"""What the tests of the writer of live files share."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncsrv.disk.files import LiveFiles
from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import Entry
from tests.support.trees import Blobs

JOB = "job-1"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Hook:
    """A checkpoint that does something at one step, once."""

    def __init__(self, step: str, act: Callable[[], object]) -> None:
        self._step = step
        self._act: Callable[[], object] | None = act

    def __call__(self, step: str) -> None:
        if step == self._step and self._act is not None:
            act, self._act = self._act, None
            act()


class AtStep:
    """A checkpoint that does something at the n-th step."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self._left = at
        self._act = act

    def __call__(self, step: str) -> None:
        if self._left == 0:
            self._act()
        self._left -= 1


def temp_of(path: bytes, number: int = 0) -> bytes:
    above, _, _ = path.rpartition(b"/")
    return (above + b"/" if above else b"") + b".syncsrv-%s-%d.tmp" % (JOB.encode(), number)


def put(
    files: LiveFiles,
    path: bytes,
    entry: Entry,
    expected: Entry | None = None,
    *,
    number: int = 0,
    restoring: bool = False,
) -> None:
    """Write one path as an apply does."""
    files.prepare(path, entry, temp_of(path, number), restoring=restoring)
    files.settle()
    files.commit_temp(path, temp_of(path, number), expected)
    files.flush()


def files_at(root: Path, blobs: Blobs, checkpoint: Callable[[str], None] | None = None) -> LiveFiles:
    if checkpoint is None:
        return LiveFiles(root, blobs.read)
    return LiveFiles(root, blobs.read, checkpoint=checkpoint)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel keeps it: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
DAEMON_READS = acl((1, 6, NOBODY), (2, 4, 1), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
"""user::rw-, user:1:r--, group::r--, mask::r--, other::---; with the mode 0640."""
DAEMON_WRITES = acl((1, 7, NOBODY), (2, 7, 1), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY))
"""user::rwx, user:1:rwx, group::r-x, mask::rwx, other::r-x; with the mode 0775."""


@contextmanager
def mounted(where: Path, *what: str) -> Iterator[Path]:
    """Something mounted at ``where``, while it lasts."""
    subprocess.run(["mount", *what, str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def as_another_user(act: Callable[[], object]) -> str:
    """Do it in a child without any privilege; the name of what it raised, or ``done``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "died"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            act()
            said = "done"
        except (SyncsrvError, OSError) as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said
