from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transport.fakecore import Node, node


@pytest.fixture
def fw1(tmp_path: Path) -> Iterator[Node]:
    with node("fw1", tmp_path / "fw1") as made:
        yield made


@pytest.fixture
def fw2(tmp_path: Path) -> Iterator[Node]:
    with node("fw2", tmp_path / "fw2") as made:
        yield made


@pytest.fixture
def pair(fw1: Node, fw2: Node) -> tuple[Node, Node]:
    """Two nodes that pinned each other."""
    fw1.knows(fw2)
    fw2.knows(fw1)
    return fw1, fw2
