"""The scenario files come true, and one that does not is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.carp.scenarios import ScenarioError, play

FILES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    play(path)


HEAD = "fw1: advskew 0\nfw2: advskew 100\nat 0: fw1 and fw2 start\n"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("  fw1 is MASTER within 2 s", "it is BACKUP"),
        ("  fw2 stays MASTER until 5", "it is BACKUP"),
        ("  fw1 is MASTER within 4 s\n  fw1 says: hello", "since then it said"),
        ("  nobody is MASTER for at most 2 s\nat 9: fw2 starts", "nobody is MASTER for 3.0"),
        ("at 9: fw1 dances", "no such line"),
        ("  fw1 is happy about it", "no such line"),
        ("at 9: fw1 loses its power\nat 8: fw1 starts", "it is 9.000 already"),
        ("  fw1 changes 9 times", "fw1 changed 1 times"),
        ("fw3: advskew 1", "no such line"),
        ("  the handover of fw1 is: under way", "it is {''}"),
        ("  fw1 weighs 240", "it is {0}"),
    ],
)
def test_a_scenario_that_is_not_true_is_found(lines: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "untrue.txt"
    path.write_text(HEAD + lines + "\n")
    with pytest.raises(ScenarioError, match=why):
        play(path)


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 20
