"""Templates and static files, from the checkout and over HTTP."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from syncsrv.shipped import NotShippedError, folder
from syncsrv.web.assets import Assets
from tests.web.webkit import Site

TOP = Path(__file__).parents[2]


def test_all_that_is_shipped_is_loaded() -> None:
    assets = Assets.load()
    assert set(assets.templates) == {path.name for path in (TOP / "templates/page").iterdir()}
    assert set(assets.static) == {path.name for path in (TOP / "templates/static").iterdir()}
    for file in assets.static.values():
        assert gzip.decompress(file.gzipped) == file.content


def test_another_content_has_another_version(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "static").mkdir()
    (tmp_path / "static/a.css").write_text("a {}\n")
    (tmp_path / "static/a.css~").write_text("left by an editor\n")
    before = Assets.load(tmp_path)
    assert set(before.static) == {"a.css"}
    (tmp_path / "static/a.css").write_text("b {}\n")
    assert Assets.load(tmp_path).static["a.css"].version != before.static["a.css"].version


def test_an_installation_without_them_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotShippedError, match="cannot find the folder templates"):
        folder("templates", tmp_path / "syncsrv")


@pytest.mark.parametrize(
    ("accepts", "packed"), [("gzip, br", True), ("", False), ("gzip;q=0", False), ("br", False), ("*", True)]
)
def test_static_files_are_packed_for_who_takes_that(lone: Site, accepts: str, packed: bool) -> None:
    response = lone.browser().get("/static/syncsrv.css", headers={"Accept-Encoding": accepts})
    assert response.status_code == 200
    assert (response.headers.get("Content-Encoding") == "gzip") is packed
    assert "Accept-Encoding" in response.headers["Vary"]
    body = gzip.decompress(response.data) if packed else response.data
    assert body == lone.browser().get("/static/syncsrv.css").data
    again = lone.browser().get(
        "/static/syncsrv.css", headers={"Accept-Encoding": accepts, "If-None-Match": response.headers["ETag"]}
    )
    assert again.status_code == 304


def test_pages_are_never_packed(lone: Site) -> None:
    response = lone.browser().get("/login", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
