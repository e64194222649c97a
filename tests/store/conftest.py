from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer, generate_key

WHEN = datetime(2026, 11, 23, 2, 13, 4, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "config.git")
    yield made
    made.close()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    generate_key(tmp_path / "key")
    return Signer.load(tmp_path / "key", "syncsrv-fw1")
