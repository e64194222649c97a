from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.core.ssh.authority import Keys
from tests.transport.fakecore import Node, node

Pair = tuple[Node, Node]


@pytest.fixture
def fw1(tmp_path: Path) -> Iterator[Node]:
    with node("fw1", tmp_path / "fw1") as made:
        yield made


@pytest.fixture
def fw2(tmp_path: Path) -> Iterator[Node]:
    with node("fw2", tmp_path / "fw2") as made:
        yield made


@pytest.fixture
def own_pair(fw1: Node, fw2: Node) -> Pair:
    """Two nodes that pinned each other, for a test that breaks something."""
    fw1.knows(fw2)
    fw2.knows(fw1)
    return fw1, fw2


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("standing")
    with node("fw1", directory / "fw1") as fw1, node("fw2", directory / "fw2") as fw2:
        yield fw1, fw2


@pytest.fixture
def pair(standing: Pair) -> Iterator[Pair]:
    """Two nodes that pinned each other and have no connection; they stand longer than one test."""
    for one, other in (standing, standing[::-1]):
        one.keys = Keys({}, {})
        one.peers.clear()
        one.knows(other)
        one.toys.reset()
    yield standing
    for one, other in (standing, standing[::-1]):
        one.toys.release.set()
        one.links.hang_up(other.name)
