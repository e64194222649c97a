"""A managed tree on a real disk, and a store that remembers what it was given."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import Cluster
from syncsrv.plan.areas import Areas, Never
from syncsrv.watch.reading import Owners
from syncsrv.watch.scan import LeftOut, LiveTree, Reason, Scanner


def areas(never: tuple[Never, ...] = (), **given: dict[str, object]) -> Areas:
    return Areas.of(Cluster.model_validate({"cluster": "edge", "areas": given}), never=never)


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Blobs:
    """What a store does with contents: takes them and names them as Git does."""

    def __init__(self) -> None:
        self.by_id: dict[str, bytes] = {}
        self.taken: list[bytes] = []

    def put(self, data: bytes) -> str:
        self.taken.append(data)
        self.by_id[blob_id(data)] = data
        return blob_id(data)


class Host:
    """One root with a scanner and the area ``all`` over its /etc."""

    def __init__(self, root: Path, chosen: Areas | None = None, owners: Owners | None = None) -> None:
        self.root = root
        self.etc = root / "etc"
        self.etc.mkdir(parents=True, exist_ok=True)
        self.areas = chosen or areas(all={"paths": ["/etc"]})
        self.blobs = Blobs()
        self.owners = owners
        self.scanner = Scanner(root, self.blobs.put, SystemClock(), owners)

    def scan(self, only: Collection[bytes] | None = None) -> LiveTree:
        return self.scanner.scan(self.areas, None, only)

    def fresh(self) -> LiveTree:
        """What a scanner says that knows nothing yet."""
        return Scanner(self.root, blob_id, SystemClock(), self.owners).scan(self.areas, None)

    def content(self, live: LiveTree, path: bytes) -> bytes:
        return self.blobs.by_id[live.entries[path].blob]


def left(live: LiveTree) -> dict[bytes, Reason]:
    return {one.path: one.reason for one in live.left_out}


def left_at(live: LiveTree, path: bytes) -> LeftOut:
    return next(one for one in live.left_out if one.path == path)


def write(path: Path | bytes, data: bytes = b"x\n") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def small_file_system(path: Path) -> Iterator[None]:
    """A tmpfs mounted at ``path``; gone afterwards, even where something of it is still open."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)
