"""What the tests of the engine start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apply.enginekit import Host, Running


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
