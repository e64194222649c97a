from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.toycore import Toy, toy_core


@pytest.fixture
def toy(short_tmp: Path) -> Iterator[Toy]:
    with toy_core(short_tmp) as toy:
        yield toy
