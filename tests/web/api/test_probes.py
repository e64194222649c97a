from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.web.webkit import PASSWORD, ROLES, Site, site_of_one


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of_one(tmp_path) as site:
        yield site


def token(site: Site) -> dict[str, str]:
    site.node.core.people.add("vera", ROLES["vera"], PASSWORD, None)
    return {"Authorization": f"Bearer {site.node.core.people.new_token('vera')}"}


def test_a_viewer_scrapes(site: Site) -> None:
    with site.app.test_client() as client:
        response = client.get("/metrics", headers=token(site))
    assert (response.status_code, response.mimetype) == (200, "text/plain")
    found = {family.name: family for family in parse(response.text)}
    assert found["syncsrv_up"].samples[0].value == 1
    assert found["syncsrv_build_info"].samples[0].labels["node"] == "fw1"
    assert not any(name.startswith(("python_", "process_")) for name in found)


def test_so_does_a_browser_of_somebody_logged_in(site: Site) -> None:
    assert "syncsrv_up 1.0" in site.browser("vera").text("/metrics")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer none"}])
def test_nobody_else_does(site: Site, headers: dict[str, str]) -> None:
    with site.app.test_client() as client:
        response = client.get("/metrics", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "syncsrv_" not in response.text


@pytest.mark.parametrize(
    "accept, mimetype",
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html, */*;q=0.1", "text/plain"),
        ("text/plain, application/openmetrics-text;q=0.9", "text/plain"),
        ("application/openmetrics-text;version=x;escaping=\x01", "application/openmetrics-text"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
        ),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(site: Site, accept: str, mimetype: str) -> None:
    with site.app.test_client() as client:
        response = client.get("/metrics", headers={**token(site), "Accept": accept})
    assert (response.status_code, response.mimetype) == (200, mimetype)
    assert response.text.endswith("# EOF\n") == (mimetype != "text/plain")


def test_healthz_tells_nobody_more_than_one_word(site: Site) -> None:
    with site.app.test_client() as client:
        response = client.get("/healthz")
        assert (response.status_code, response.text, response.mimetype) == (200, "ok\n", "text/plain")
        site.lose_core()
        response = client.get("/healthz")
        assert (response.status_code, response.text) == (503, "core-away\n")


def test_healthz_takes_no_notice_of_who_asks(site: Site) -> None:
    with site.app.test_client() as client:
        assert client.get("/healthz", headers={"Authorization": "Bearer none"}).status_code == 200


def test_without_core_the_scrape_says_just_that(site: Site) -> None:
    headers = token(site)
    site.lose_core()
    with site.app.test_client() as client:
        response = client.get("/metrics", headers=headers)
        assert response.status_code == 200
        assert [line for line in response.text.splitlines() if line[0] != "#"] == ["syncsrv_up 0.0"]
        assert client.get("/metrics").status_code == 401
