from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.shipped import NotShippedError, folder


def test_in_a_checkout_they_are_beside_the_package() -> None:
    assert folder("sample-repo") == Path(__file__).parents[1] / "sample-repo"


def test_in_an_installation_they_are_below_it(tmp_path: Path) -> None:
    package = tmp_path / "syncsrv"
    (package / "data" / "hooks").mkdir(parents=True)
    (tmp_path / "hooks").mkdir()
    assert folder("hooks", package) == package / "data" / "hooks"


def test_an_incomplete_installation_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotShippedError, match="cannot find the folder templates") as caught:
        folder("templates", tmp_path / "syncsrv")
    assert caught.value.remedy
