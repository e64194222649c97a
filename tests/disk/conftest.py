"""What the tests of the writer of live files start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.disk.files import LiveFiles
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
