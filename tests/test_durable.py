"""State files: the old one or the new one, whatever goes wrong."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from syncsrv import durable


def test_it_is_replaced_as_a_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    durable.write(path, b"one")
    old = path.open("rb")
    durable.write(path, b"two", 0o644)
    assert (path.read_bytes(), old.read()) == (b"two", b"one"), "who has it open keeps the old one"
    old.close()
    assert path.stat().st_mode & 0o777 == 0o644
    durable.write(path, b"three")
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state"]


def test_a_write_that_fails_leaves_the_old_one_and_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "state"
    durable.write(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            durable.write(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_what_a_killed_write_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".state.new").write_bytes(b"half of something longer")
    durable.write(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["state"]


def test_it_is_removed_once_or_twice(tmp_path: Path) -> None:
    durable.write(tmp_path / "state", b"x")
    durable.remove(tmp_path / "state")
    durable.remove(tmp_path / "state")
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.write(tmp_path / "no" / "state", b"x")
