"""syncfs(2): the call is made, and its errors are ours to see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncsrv.apply.syncfs import sync_filesystem


def test_a_directory_names_its_file_system_and_a_closed_descriptor_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    sync_filesystem(handle)
    os.close(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_filesystem(handle)
