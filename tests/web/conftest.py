"""A page over a real core, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.webkit import Site, site_of_one, site_of_pair


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The page of fw1, a master with a backup."""
    with site_of_pair(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page of a node without peers, for all tests of a module that change nothing there."""
    with site_of_one(tmp_path_factory.mktemp("lone")) as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    """The page of a node without peers, for one test."""
    with site_of_one(tmp_path) as found:
        yield found
