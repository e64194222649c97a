"""The process as a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from syncsrv.failover import settings
from tests.failover.kit import SETTINGS


def keeper(state_dir: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-Es", "-m", "syncsrv.failover.statesync", "--state-dir", str(state_dir), "statesync"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_where_there_is_nothing_to_keep_it_ends_well(tmp_path: Path) -> None:
    assert keeper(tmp_path).returncode == 0
    (tmp_path / "carp").mkdir()
    (tmp_path / settings.FILE).write_bytes(settings.encode(SETTINGS))
    assert keeper(tmp_path).returncode == 0


def test_what_is_wrong_with_its_settings_is_said(tmp_path: Path) -> None:
    (tmp_path / "carp").mkdir()
    (tmp_path / settings.FILE).write_text("{}")
    done = keeper(tmp_path)
    assert done.returncode == 1
    assert "cannot use the failover settings: format: is missing" in done.stderr
