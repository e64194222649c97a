from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.test import TestResponse

from syncsrv.control.shapes import NodeResult
from syncsrv.core.jobs import Job
from syncsrv.web.api.problem import MEDIA_TYPE
from syncsrv.web.api.routes import WAITING
from tests.support.wait import until
from tests.web.webkit import PASSWORD, ROLES, Browser, Site, site_of_one, site_of_pair

SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that change nothing which another one sees."""
    with site_of_pair(tmp_path_factory.mktemp("api")) as site:
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of_one(tmp_path) as site:
        yield site


def token(site: Site, name: str = "alice") -> dict[str, str]:
    """The header of a program that asks in somebody's name."""
    people = site.node.core.people
    if people.find(name) is None:
        people.add(name, ROLES[name], PASSWORD, None)
    return {"Authorization": f"Bearer {people.new_token(name)}"}


def api(site: Site, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
    with site.app.test_client() as client:
        return client.open(f"/api/v1{path}", method=method, headers=headers or {}, **more)


def problem(response: TestResponse) -> Any:
    """The problem document of a refusal, which must be one."""
    assert response.mimetype == MEDIA_TYPE, response.text
    found = response.get_json()
    assert found["status"] == response.status_code
    assert found["type"] == f"urn:syncsrv:problem:{found['code']}"
    assert found["detail"].startswith("cannot ")
    assert set(found) == {"type", "title", "status", "detail", "code", "remedy", "guards"}
    return found


def test_who_asks_is_told_without_the_id_of_the_session(shared: Site) -> None:
    by_token = api(shared, "GET", "/session", token(shared, "oscar")).get_json()
    assert by_token == {"person": "oscar", "role": "operator", "ends_at": "", "idle_s": 0.0}
    by_cookie = shared.browser("vera").get("/api/v1/session").get_json()
    assert (by_cookie["person"], by_cookie["role"]) == ("vera", "viewer")
    assert by_cookie["ends_at"].endswith("Z")
    assert by_cookie.keys() == by_token.keys()


def test_version_and_status(shared: Site) -> None:
    headers = token(shared)
    version = api(shared, "GET", "/version", headers).get_json()
    assert (version["api"], version["node"], version["cluster"]) == ("1", "fw1", "edge")
    status = api(shared, "GET", "/status", headers).get_json()
    assert (status["node"], list(status["peers"]), status["version"]) == ("fw1", ["fw2"], version["version"])


def test_the_document_is_served_to_everybody_and_valid(shared: Site) -> None:
    response = api(shared, "GET", "/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert list(OpenAPIV31SpecValidator(response.get_json()).iter_errors()) == []
    scheme = response.get_json()["components"]["securitySchemes"]["cookie"]
    assert scheme["name"] == shared.app.config["SESSION_COOKIE_NAME"]


def test_a_synchronization_is_started_followed_and_kept(tmp_path: Path) -> None:
    with site_of_pair(tmp_path) as site:
        headers = token(site, "oscar")
        plan = api(site, "GET", "/preview?kind=sync", headers).get_json()["nodes"]["fw2"]["plan"]
        asked = {"nodes": ["fw2"], "reason": "by program", "plans": {"fw2": plan}}
        started = api(site, "POST", "/sync", headers, json=asked)
        assert started.status_code == 202, started.text
        address = started.headers["Location"].removeprefix("/api/v1")
        assert address == f"/jobs/{started.get_json()['job']}"
        seen: list[Any] = []

        def over() -> bool:
            job = api(site, "GET", f"{address}?after={len(seen)}&wait_s=2", headers).get_json()
            seen.extend(job["steps"])
            return bool(job["state"] != "running")

        until(over, 60, "the end of the job")
        job = api(site, "GET", address, headers).get_json()
        assert job["nodes"]["fw2"]["result"] == "done"
        assert (job["requested_by"], job["reason"]) == ("oscar", "by program")
        assert job["steps"] == seen
        assert site.pair is not None
        assert site.pair.fw2.text("/etc/app/app.conf") == "one"
        assert api(site, "GET", "/jobs", headers).get_json()["jobs"][0]["job"] == started.get_json()["job"]


def test_a_plan_that_is_another_one_by_now_is_refused(tmp_path: Path) -> None:
    with site_of_pair(tmp_path) as site:
        headers = token(site, "oscar")
        plan = api(site, "GET", "/preview?kind=sync", headers).get_json()["nodes"]["fw2"]["plan"]
        site.node.put("/etc/app/app.conf", "changed meanwhile")
        site.node.core.record(via="watch")
        refused = api(site, "POST", "/sync", headers, json={"nodes": ["fw2"], "plans": {"fw2": plan}})
        assert (refused.status_code, problem(refused)["code"]) == (409, "stale-plan")
        assert api(site, "GET", "/jobs", headers).get_json()["jobs"] == []


def test_a_file_comes_as_its_bytes_and_never_as_a_page(site: Site) -> None:
    text = "<script>\n" + "x" * 5_000_000
    site.node.put("/etc/app/ü <b>\n.html", text, 0o640)
    (site.node.root / "etc/app/link").symlink_to("ü")
    site.node.core.record(via="watch")
    headers = token(site, "vera")
    response = api(site, "GET", "/history/file", headers, query_string={"rev": "main", "path": "/etc/app/ü <b>\n.html"})
    assert (response.status_code, response.mimetype) == (200, "application/octet-stream")
    assert response.get_data(as_text=True) == text
    assert response.headers["Content-Disposition"] == "attachment"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Length"] == str(len(text))
    told = {name: response.headers[f"Syncsrv-{name}"] for name in ("Kind", "Mode", "Commit", "Blob", "Owner")}
    assert (told["Kind"], told["Mode"]) == ("file", "0640")
    assert len(told["Commit"]) == len(told["Blob"]) == 40
    link = api(site, "GET", "/history/file?rev=main&path=/etc/app/link", headers)
    assert (link.text, link.headers["Syncsrv-Kind"]) == ("ü", "link")
    folder = api(site, "GET", "/history/file?rev=main&path=/etc/app", headers)
    assert (folder.text, folder.headers["Syncsrv-Kind"]) == ("", "directory")


def test_a_program_reads_a_file_to_its_end_or_not_and_others_go_on(site: Site) -> None:
    site.node.put("/etc/app/big", "x" * 5_000_000)
    site.node.core.record(via="watch")
    headers = token(site)
    for _ in range(20):  # more than streams may be open at once
        with site.app.test_client() as client:
            client.get("/api/v1/history/file?rev=main&path=/etc/app/big", headers=headers, buffered=False).close()
    assert api(site, "GET", "/status", headers).status_code == 200


WRONG: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no such address": ("GET", "/nothing", {}, 404, "no-such-resource"),
    "no such address below one": ("GET", "/status/x", {}, 404, "no-such-resource"),
    "a slash at the end": ("GET", "/status/", {}, 404, "no-such-resource"),
    "another method": ("POST", "/status", {}, 405, "method-not-allowed"),
    "OPTIONS": ("OPTIONS", "/status", {}, 405, "method-not-allowed"),
    "TRACE": ("TRACE", "/sync", {}, 405, "method-not-allowed"),
    "a form": ("POST", "/commit", {"data": {"message": SECRET}}, 415, "content-type"),
    "no type": ("POST", "/commit", {"data": b'{"message": ""}'}, 415, "content-type"),
    "text": ("POST", "/commit", {"data": b"{}", "content_type": "text/plain"}, 415, "content-type"),
    "no body": ("POST", "/commit", {}, 415, "content-type"),
    "an empty body": ("POST", "/commit", {"data": b"", "content_type": "application/json"}, 400, "bad-request"),
    "no JSON": ("POST", "/commit", {"data": SECRET, "content_type": "application/json"}, 400, "bad-request"),
    "no object": ("POST", "/commit", {"json": [SECRET]}, 400, "bad-request"),
    "NaN": ("POST", "/sync", {"data": b'{"confirm_within_s": NaN}', "content_type": "application/json"}, 400, ""),
    "too deep": ("POST", "/sync", {"data": b"[" * 400_000, "content_type": "application/json"}, 400, "bad-request"),
    "twice": ("POST", "/sync", {"data": b'{"reason":"a","reason":"b"}', "content_type": "application/json"}, 400, ""),
    "too large": ("POST", "/commit", {"json": {"message": "x" * (1 << 20)}}, 413, "too-large"),
    "too large in a frame": ("POST", "/commit", {"json": {"message": "x" * ((1 << 20) - 20)}}, 413, "too-large"),
    "another field": ("POST", "/commit", {"json": {"mesage": SECRET}}, 400, "bad-request"),
    "another field in a query": ("GET", f"/history?limti={SECRET}", {}, 400, "bad-request"),
    "a field twice in a query": ("GET", f"/history?path={SECRET}&path=b", {}, 400, "bad-request"),
    "a query where a body is taken": ("POST", f"/commit?message={SECRET}", {"json": {}}, 400, "bad-request"),
    "another type": ("PUT", "/users/bob", {"json": {"role": "viewer", "password": [SECRET]}}, 400, "bad-request"),
    "not one of the words": ("PUT", "/users/bob", {"json": {"role": SECRET}}, 400, "bad-request"),
    "out of its bounds": ("GET", "/history?limit=100000", {}, 400, "bad-request"),
    "missing": ("GET", "/history/file?rev=main", {}, 400, "bad-request"),
    "no such job": ("GET", "/jobs/none", {}, 404, "unknown-job"),
    "no such user": ("DELETE", "/users/none", {}, 404, "unknown-user"),
    "no such revision": ("GET", "/history/commit?rev=none", {}, 404, "unknown-revision"),
    "a body where none is taken": ("POST", "/users/alice/tokens", {"json": {"x": SECRET}}, 400, "bad-request"),
    "no such guard": ("POST", "/sync", {"json": {"force": ["none"]}}, 400, "usage"),
}


@pytest.mark.parametrize("method, path, more, status, code", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_a_problem_and_repeats_no_value(
    shared: Site, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    response = api(shared, method, path, token(shared), **more)
    found = problem(response)
    assert (response.status_code, found["code"]) == (status, code or found["code"])
    assert SECRET not in response.text
    if status == 405:
        assert response.headers["Allow"]


def test_a_field_that_is_nearly_one_is_named(shared: Site) -> None:
    found = problem(api(shared, "POST", "/commit", token(shared), json={"mesage": SECRET}))
    assert "mesage (did you mean message?)" in found["detail"]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer none", "Basic YTpi", "bearer \xff", "Bearer a b"])
def test_who_is_nobody_is_challenged(shared: Site, header: str) -> None:
    for method, path in (("GET", "/status"), ("POST", "/sync"), ("DELETE", "/users/alice")):
        response = api(shared, method, path, {"Authorization": header} if header else {})
        assert (response.status_code, problem(response)["code"]) == (401, "not-logged-in")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert "Location" not in response.headers


def test_a_role_that_is_too_low_is_refused(shared: Site) -> None:
    for name, method, path in (("vera", "POST", "/sync"), ("oscar", "GET", "/users"), ("oscar", "PUT", "/users/x")):
        response = api(shared, method, path, token(shared, name), json={} if method != "GET" else None)
        assert (response.status_code, problem(response)["code"]) == (403, "denied")


def test_a_token_counts_until_it_is_revoked(site: Site) -> None:
    admin, headers = token(site), token(site, "vera")
    assert api(site, "GET", "/status", headers).status_code == 200
    assert api(site, "DELETE", "/users/vera/tokens", admin).status_code == 200
    assert api(site, "GET", "/status", headers).status_code == 401


def test_users_are_made_changed_and_removed(site: Site) -> None:
    admin = token(site)
    made = api(site, "PUT", "/users/bob", admin, json={"role": "operator", "password": PASSWORD})
    assert [(one["name"], one["role"], one["password"]) for one in made.get_json()["users"]][-1] == (
        *("bob", "operator"),
        True,
    )
    issued = api(site, "POST", "/users/bob/tokens", admin)
    assert (issued.status_code, issued.headers["Cache-Control"]) == (201, "no-store")
    bob = {"Authorization": f"Bearer {issued.get_json()['token']}"}
    assert api(site, "GET", "/session", bob).get_json()["person"] == "bob"
    assert api(site, "PUT", "/users/bob/password", admin, json={"password": "another long one"}).status_code == 200
    assert Browser(site.app.test_client()).login("bob", "another long one").status_code == 303
    assert api(site, "DELETE", "/users/bob", admin).status_code == 200
    assert api(site, "GET", "/session", bob).status_code == 401


class TestCookie:
    """The page's cookie, which a browser also sends when another site makes it ask."""

    def test_it_reads(self, shared: Site) -> None:
        assert shared.browser("oscar").get("/api/v1/status").status_code == 200

    def test_it_changes_nothing_without_the_token_of_a_form(self, site: Site) -> None:
        browser = site.browser("oscar")
        for method, path in (("POST", "/commit"), ("PUT", "/session/password"), ("DELETE", "/users/vera")):
            response = browser.client.open(f"/api/v1{path}", method=method, json={})
            assert (response.status_code, problem(response)["code"]) == (400, "csrf")

    def test_it_changes_with_that_token(self, site: Site) -> None:
        browser = site.browser("oscar")
        response = browser.client.post("/api/v1/commit", json={}, headers={"X-CSRFToken": browser.token()})
        assert response.status_code == 200

    def test_a_token_beside_it_is_no_way_around(self, site: Site) -> None:
        browser = site.browser("vera")
        admin = token(site)
        response = browser.client.post("/api/v1/commit", json={}, headers=admin)
        assert problem(response)["code"] == "csrf"
        response = browser.client.post("/api/v1/commit", json={}, headers={**admin, "X-CSRFToken": browser.token()})
        assert (response.status_code, problem(response)["code"]) == (403, "denied")

    def test_another_password_leaves_who_set_it_logged_in_and_nobody_else(self, site: Site) -> None:
        browser, elsewhere = site.browser("oscar"), site.browser("oscar")
        response = browser.client.put(
            "/api/v1/session/password",
            json={"old": PASSWORD, "new": "another long one"},
            headers={"X-CSRFToken": browser.token()},
        )
        assert (response.status_code, response.get_json()["person"]) == (200, "oscar")
        assert browser.get("/api/v1/session").status_code == 200
        assert elsewhere.get("/api/v1/session").status_code == 401


def test_wrong_passwords_are_slowed_down_with_the_time_to_wait(site: Site) -> None:
    browser = site.browser("oscar")
    headers = {"X-CSRFToken": browser.token()}
    body = {"old": "wrong", "new": "another long one"}
    for _ in range(30):
        response = browser.client.put("/api/v1/session/password", json=body, headers=headers)
        if response.status_code != 400:
            break
    assert (response.status_code, problem(response)["code"]) == (429, "slow-down")
    assert int(response.headers["Retry-After"]) >= 1


def test_only_some_wait_at_once_and_pages_go_on(site: Site) -> None:
    headers, over = token(site), threading.Event()

    def work(_: Job) -> dict[str, NodeResult]:
        over.wait(60)
        return {}

    job = site.node.core.jobs.start("sync", "alice", "fw1", work)
    places: threading.BoundedSemaphore = site.app.extensions["syncsrv-waiting"]
    for _ in range(WAITING):
        assert places.acquire(blocking=False)
    refused = api(site, "GET", f"/jobs/{job.id}?wait_s=25", headers)
    assert (refused.status_code, problem(refused)["code"]) == (429, "slow-down")
    assert refused.headers["Retry-After"]
    assert api(site, "GET", f"/jobs/{job.id}", headers).get_json()["state"] == "running"
    assert site.browser("vera").get("/").status_code == 200
    over.set()
    for _ in range(WAITING):
        places.release()
    for _ in range(2 * WAITING):  # each gives its place back
        assert api(site, "GET", f"/jobs/{job.id}?wait_s=0.01", headers).status_code == 200


def test_what_is_refused_before_everything_is_a_problem_too(shared: Site) -> None:
    found = problem(api(shared, "GET", "/status", {"Host": "<script>"}))
    assert found["code"] == "bad-request"
    assert "script" not in found["detail"]


def test_without_core_every_question_says_so(site: Site) -> None:
    headers = token(site)
    site.lose_core()
    for method, path in (("GET", "/status"), ("POST", "/sync")):
        response = api(site, method, path, headers)
        assert (response.status_code, problem(response)["code"]) == (503, "core-away")
    assert api(site, "GET", "/openapi.json").status_code == 200
    assert api(site, "GET", "/nothing").status_code == 404
