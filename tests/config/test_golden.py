"""Whole configuration directories and every line that is said of them.

``tests/golden/config/NAME/expected.txt`` is what one run finds. After a change that is meant, run
``python -m tests.config.test_golden`` and read the difference: each line is what an operator will see.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from syncsrv.config.load import load
from syncsrv.config.problem import ConfigurationError

GOLDEN = Path(__file__).parents[1] / "golden" / "config"
NAMES = sorted(path.name for path in GOLDEN.iterdir())


def found(name: str, directory: Path) -> str:
    """What is said of a copy; Git does not keep secrets.yaml private, so this does."""
    for path in (GOLDEN / name).glob("*.yaml"):
        shutil.copy(path, directory)
        (directory / path.name).chmod(0o600)
    try:
        problems = load(directory).warnings
    except ConfigurationError as error:
        problems = error.problems
    return "".join(f"{problem}\n" for problem in problems).replace(f"{directory}/", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_of_one_run(name: str, tmp_path: Path) -> None:
    assert found(name, tmp_path) == (GOLDEN / name / "expected.txt").read_text()


if __name__ == "__main__":
    for one in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / one / "expected.txt").write_text(found(one, Path(folder)))
