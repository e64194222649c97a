"""Whatever happens to two or three machines: where they hear each other, there is one MASTER, and soon."""

from __future__ import annotations

import os

import pytest

from tests.carp.stories import faults, tell

STORIES = 600
SEED = int(os.environ.get("SYNCSRV_TEST_SEED", "0"))


@pytest.mark.sample(40)
@pytest.mark.parametrize("seed", range(STORIES))
def test_one_master_and_soon(seed: int) -> None:
    story = tell(seed)
    found = faults(story)
    assert not found, f"{found}\n{story.show()}"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_one_master_and_soon_in_new_stories() -> None:
    for seed in range(10_000 * (SEED + 1), 10_000 * (SEED + 1) + 8_000):
        story = tell(seed)
        found = faults(story)
        assert not found, f"{found}\n{story.show()}"
