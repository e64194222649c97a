"""One installation for all processes that share the tests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.installed import shared
from tests.support.testroot import TestRoot

ROOT = TestRoot(Path("/nonexistent"))


def test_it_is_made_once_and_removed_by_the_last(tmp_path: Path) -> None:
    made: list[Path] = []
    together = threading.Barrier(4)

    def build(_: TestRoot, folder: Path) -> None:
        made.append(folder)
        (folder / "program").write_text("whole")

    def use() -> str:
        with shared(ROOT, tmp_path, build) as layer:
            together.wait(10)
            return (layer / "program").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert [one.result() for one in [pool.submit(use) for _ in range(4)]] == ["whole"] * 4
    assert len(made) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_one_that_was_killed_left_is_made_anew(tmp_path: Path) -> None:
    for name in ("layer", "making"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").write_text("old")
    with shared(ROOT, tmp_path, lambda _, folder: folder.joinpath("new").touch()) as layer:
        assert [path.name for path in layer.iterdir()] == ["new"]
