"""One process of a kind at a time, and small files that are never half written."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv import durable
from syncsrv.single import RunningError, only_one


def test_a_second_holder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = only_one("core", path)
    with pytest.raises(RunningError, match="cannot start core: another one holds"):
        only_one("core", path)
    held.close()
    only_one("core", path).close()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import os, sys; from pathlib import Path; from syncsrv.single import only_one;"
        "held = only_one('x', Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], timeout=30)
    assert ended.returncode == -9
    only_one("x", path).close()


def test_a_durable_write_replaces_the_whole_file_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    durable.write(path, b"one" * 100_000)
    durable.write(path, b"two", 0o640)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["state"]
    durable.remove(path)
    durable.remove(path)
    assert not path.exists()


def test_a_full_device_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    durable.write(path, b"old")
    path.with_name(".state.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space") as caught:
        durable.write(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert not path.with_name(".state.new").is_symlink(), "nothing is left behind"
