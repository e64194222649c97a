"""What the tests of the writer of live files start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.disk.files import LiveFiles
from tests.apply.enginekit import Host, Running
from tests.disk.kit import files_at
from tests.support.trees import Blobs


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no write may reach."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "victim").write_text("untouched")
    return path


@pytest.fixture
def files(root: Path, blobs: Blobs) -> LiveFiles:
    return files_at(root, blobs)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A backup's disk with a daemon's configuration."""
    host = Host(tmp_path / "fw2")
    host.put("/etc/app/app.conf", "one")
    host.put("/etc/app/gone", "goes")
    host.put("/etc/app/local.bak", "excluded")
    host.put("/etc/more.conf", "more")
    return host


@pytest.fixture
def node(host: Host) -> Running:
    """Its core; the daemon runs, and main equals the disk."""
    running = host.start()
    running.daemon.start("app", running.parts.cluster().services["app"], 1)
    running.record()
    return running
