"""What holds for every page: headers, forms, methods, sizes, errors, and that nothing is believed unseen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from syncsrv.clock import Clock, SystemClock, rfc3339
from syncsrv.control.connection import Stream
from syncsrv.control.errors import Body
from syncsrv.control.waiting import NoAnswerError
from syncsrv.web.app import create_app
from syncsrv.web.wsgi import HEADERS, Outermost
from tests.support.wait import until
from tests.web.webkit import ASSETS, SETUP, Browser, Site

OPEN = {
    "login.form",
    "login.enter",
    "login.leave",
    "login.theme",
    "static",
}
"""Pages for everybody."""


def a_second_passes(clock: Clock) -> None:
    """So that another time is on the page."""
    before = rfc3339(clock.utc())
    until(lambda: rfc3339(clock.utc()) != before)


def statuses(app: Flask, environ: dict[str, Any]) -> list[str]:
    """What the application answers to a request that no client library would make."""
    seen: list[str] = []

    def start(status: str, headers: object, exc_info: object = None) -> Callable[[bytes], object]:
        seen.append(status)
        return lambda data: None

    list(app.wsgi_app(environ, start))
    return seen


def test_every_route_says_who_may_use_it(lone: Site) -> None:
    app = lone.app
    unsaid = [rule.rule for rule in app.url_map.iter_rules() if not hasattr(app.view_functions[rule.endpoint], "needs")]
    assert unsaid == []
    pages = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(("/api/", "/metrics", "/healthz"))]
    everybody = {rule.endpoint for rule in pages if app.view_functions[rule.endpoint].__dict__["needs"] == ""}
    assert everybody == OPEN


def test_pages_want_a_log_in(lone: Site) -> None:
    nobody = lone.browser()
    for rule in lone.app.url_map.iter_rules():
        if rule.arguments or rule.endpoint in OPEN or rule.rule.startswith(("/api/", "/metrics", "/healthz")):
            continue
        if "GET" in (rule.methods or ()):
            response = nobody.get(rule.rule)
            assert (response.status_code, response.location.partition("?")[0]) == (303, "/login"), rule.rule
        if "POST" in (rule.methods or ()):
            response = nobody.post(rule.rule)
            assert (response.status_code, response.location.partition("?")[0]) == (303, "/login"), rule.rule


def test_headers_on_every_answer(lone: Site) -> None:
    alice = lone.browser("alice")
    answers = {
        200: alice.get("/"),
        303: lone.browser().get("/"),
        404: alice.get("/no-such-page"),
        405: alice.client.put("/"),
        400: alice.client.post("/theme"),
        413: alice.post("/theme", {"theme": "x" * (2 << 20)}),
        401: alice.post("/login", {"name": "alice", "password": "wrong"}),
    }
    for status, response in answers.items():
        assert response.status_code == status
        for name, value in HEADERS:
            assert response.headers[name] == value, (status, name)
        assert response.headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in response.headers
        assert "<nav" in response.get_data(as_text=True) or status in {303, 401}
    assert set(answers[405].headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    style = alice.get("/static/syncsrv.css")
    assert {name: style.headers[name] for name, _ in HEADERS} == dict(HEADERS)


def test_a_policy_that_lets_nothing_else_in() -> None:
    policy = dict(HEADERS)["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert policy.startswith("default-src 'none'; ")


@pytest.mark.parametrize("path", ["/", "/services", "/drift", "/vips", "/login", "/no-such-page"])
def test_no_page_needs_what_the_policy_forbids(lone: Site, path: str) -> None:
    html = lone.browser("alice").get(path).get_data(as_text=True)
    assert " style=" not in html
    assert "<style" not in html
    assert " onclick=" not in html
    assert "javascript:" not in html
    assert 'src="http' not in html
    assert 'href="http' not in html
    assert html.count("<script") == html.count('<script src="/static/')


def test_static_files_are_kept_by_browsers_only_under_their_version(lone: Site) -> None:
    nobody = lone.browser()
    style = lone.app.jinja_env.globals["static"]("syncsrv.css")  # type: ignore[operator]  # a function of ours
    kept = nobody.get(style)
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert kept.headers["Content-Type"] == "text/css; charset=utf-8"
    assert nobody.get("/static/syncsrv.css?v=other").headers["Cache-Control"] == "no-cache"
    assert nobody.get(style, headers={"If-None-Match": kept.headers["ETag"]}).status_code == 304
    for name in ("nothing.css", "../page/base.html", "%2e%2e/page/base.html", "base.html"):
        assert nobody.get(f"/static/{name}").status_code == 404, name


@pytest.mark.parametrize("data", [{}, {"csrf_token": "forged"}, {"csrf_token": ""}])
def test_a_form_that_no_page_of_ours_made_does_nothing(site: Site, data: dict[str, str]) -> None:
    alice = site.browser("alice")
    answer = alice.client.post("/services", data={"action": "start", "name": "app", "node": "fw1", **data})
    assert answer.status_code == 400
    assert "nothing was done" in answer.get_data(as_text=True)
    assert site.node.core.jobs.recent() == []
    assert not (site.node.home / "running").exists()


def test_the_token_of_another_browser_is_none_of_ours(site: Site) -> None:
    token = site.browser("oscar").token()
    answer = site.browser("alice").client.post(
        "/services", data={"csrf_token": token, "action": "start", "name": "app"}
    )
    assert answer.status_code == 400


def test_an_api_token_needs_no_form_but_a_cookie_beside_it_does(site: Site) -> None:
    alice = site.browser("alice")
    bearer = {"Authorization": f"Bearer {site.node.core.people.new_token('alice')}"}
    form = {"action": "start", "name": "app", "node": "fw1"}
    assert alice.client.post("/services", data=form, headers=bearer).status_code == 400
    fresh = Browser(site.app.test_client())
    answer = fresh.client.post("/services", data=form, headers=bearer)
    assert answer.status_code == 303
    site.node.end(answer.location.removeprefix("/jobs/"))
    wrong = fresh.client.post("/services", data=form, headers={"Authorization": "Bearer nonsense"})
    assert (wrong.status_code, wrong.location) == (303, "/login")


@pytest.mark.parametrize(
    "host", ["fw1\r\nX: y", "fw1/../", "a b", "<script>", "user@fw1", "fw1:99999999", "ü", "x" * 300]
)
def test_an_absurd_host_header_is_not_answered(lone: Site, host: str) -> None:
    assert statuses(lone.app, {"HTTP_HOST": host, "REQUEST_METHOD": "GET", "PATH_INFO": "/"}) == ["400 Bad Request"]


@pytest.mark.parametrize("host", ["FW1:1", "localhost:8444", "[::1]:8443", "127.1.2.3:8443", "[::1]"])
def test_no_address_is_made_from_the_host_header(lone: Site, host: str) -> None:
    alice = lone.browser("alice")
    for path in ("/", "/services/", "//services", "/login", "/drift/"):
        response = alice.client.get(path, headers={"Host": host})
        assert response.status_code in {200, 303, 404}, path
        assert host not in response.get_data(as_text=True)
        assert host not in (response.location or "")
    nobody = lone.browser().client.get("/services", headers={"Host": host})
    assert nobody.location == "/login?next=/services"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8443", "192.0.2.1", "[2001:db8::1]:8443", "fw2", "localhost.evil.example", "127.1"],
)
def test_without_tls_no_other_name_is_answered_which_might_point_at_loopback(lone: Site, host: str) -> None:
    alice = lone.browser("alice")
    for path in ("/", "/login", "/static/syncsrv.css", "/no-such-page", "/healthz"):
        response = alice.client.get(path, headers={"Host": host})
        assert response.status_code == 421, path
        assert "localhost" in response.get_data(as_text=True)
    program = alice.client.get("/api/v1/status", headers={"Host": host})
    assert (program.status_code, program.mimetype) == (421, "application/problem+json")


def test_under_tls_the_certificate_says_which_name_it_is(lone: Site) -> None:
    app = create_app(replace(SETUP, certificate="PEM"), lone.link, SystemClock(), ASSETS)
    nobody = app.test_client()
    for host in ("firewalls.example", "fw1", "192.0.2.1:8443"):
        assert nobody.get("/login", base_url="https://fw1", headers={"Host": host}).status_code == 200
        answer = nobody.get("/services", base_url="https://fw1", headers={"Host": host})
        assert answer.location == "/login?next=/services"


def test_two_lengths_are_refused(lone: Site) -> None:
    twice = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}
    assert statuses(lone.app, {"REQUEST_METHOD": "POST", "PATH_INFO": "/login", **twice}) == ["400 Bad Request"]


def test_a_form_of_2000_ticks_is_taken_and_one_of_too_many_is_not(site: Site) -> None:
    alice = site.browser("alice")
    names = {"name": [f"s{number}" for number in range(2000)]}
    assert alice.post("/services", {"action": "start", "node": "fw1", **names}).status_code == 400  # unknown service
    assert "Cannot find service" in alice.post("/services", {"action": "start", "node": "fw1", **names}).text
    assert alice.client.post(
        "/services", data={"name": ["x"] * 2200}, content_type="multipart/form-data"
    ).status_code in {
        400,
        413,
    }


def test_core_away_is_a_page_that_says_so(site: Site) -> None:
    alice = site.browser("alice")
    site.lose_core()
    for path in ("/", "/services", "/drift"):
        answer = alice.get(path)
        assert answer.status_code == 503
        assert "Cannot ask core" in answer.text
        assert "<nav" in answer.text
    assert alice.get("/login").status_code == 200
    assert alice.get("/static/syncsrv.css").status_code == 200
    assert alice.post("/services", {"action": "start", "name": "app", "node": "fw1"}).status_code == 503
    assert alice.login("alice").status_code == 503


class Hung:
    """A core that is there, and says nothing."""

    def call(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Body:
        raise NoAnswerError(verb, deadline_s)

    def stream(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Stream:
        raise NoAnswerError(verb, deadline_s)


def test_a_core_that_hangs_is_said_with_what_helps(site: Site) -> None:
    alice = site.browser("alice")
    token = site.node.core.people.new_token("alice")
    site.app.extensions["syncsrv-link"] = Hung()
    for path in ("/", "/services", "/settings"):
        answer = alice.get(path)
        assert answer.status_code == 503
        assert "a restart of it undoes or finishes what it was doing" in answer.text
        assert "whether it was done is not known" not in answer.text
        assert "<nav" in answer.text
    answer = alice.post("/services", {"action": "start", "name": "app", "node": "fw1"})
    assert answer.status_code == 503
    assert "hether it was done is not known" in answer.text
    program = site.app.test_client(use_cookies=False)
    told = program.get("/api/v1/status", headers={"Authorization": f"Bearer {token}"})
    assert (told.status_code, told.get_json()["code"]) == (503, "no-answer")
    assert "look at the log of syncsrv-core or `syncsrv serve`" in told.get_json()["remedy"]
    assert program.get("/healthz").status_code == 503


def test_a_bug_is_a_page_with_a_number_that_the_log_has(lone: Site, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(SETUP, lone.link, SystemClock(), ASSETS)

    def broken() -> str:
        raise RuntimeError("secret detail")

    broken.__dict__["needs"] = ""
    app.add_url_rule("/broken", view_func=broken)
    with caplog.at_level(logging.ERROR):
        answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text
    number = answer.text.partition("(request ")[2][:12]
    assert number in caplog.text
    assert answer.headers["Content-Security-Policy"]


def test_an_error_page_that_fails_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("broken")

    def fails(environ: object, start: object) -> list[bytes]:
        raise RuntimeError("even this")

    app.wsgi_app = Outermost(fails)  # type: ignore[method-assign]  # as the application does
    answer = app.test_client().get("/")
    assert answer.status_code == 500
    assert "an error inside syncsrv" in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "even this" in caplog.text


def test_cookies_under_tls_are_bound_to_it_and_to_the_node(lone: Site) -> None:
    app = create_app(replace(SETUP, certificate="PEM"), lone.link, SystemClock(), ASSETS)
    answer = app.test_client().get("/login", base_url="https://fw1:8443")
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-syncsrv-fw1=")
    for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie
    (plain,) = lone.browser().get("/login").headers.getlist("Set-Cookie")
    assert plain.startswith("syncsrv-fw1=")
    assert "Secure" not in plain


def test_under_tls_a_form_must_come_from_this_origin(lone: Site) -> None:
    app = create_app(replace(SETUP, certificate="PEM"), lone.link, SystemClock(), ASSETS)
    client = app.test_client()
    base = "https://fw1:8443"
    token = client.get("/login", base_url=base).text.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {"csrf_token": token, "theme": "dark"}
    assert client.post("/theme", data=form, base_url=base).status_code == 400
    assert client.post("/theme", data=form, base_url=base, headers={"Referer": "https://evil/"}).status_code == 400
    assert client.post("/theme", data=form, base_url=base, headers={"Referer": f"{base}/login"}).status_code == 303


def test_a_live_page_that_has_not_changed_is_not_sent_again(site: Site) -> None:
    site.node.hear()
    alice = site.browser("alice")
    for path in ("/", "/services", "/drift", "/vips"):
        tag = alice.get(path).headers["ETag"]
        a_second_passes(site.app.extensions["syncsrv-clock"])
        again = alice.get(path, headers={"If-None-Match": tag, "X-Poll": "1"})
        assert (again.status_code, again.data) == (304, b""), path
    tag = alice.get("/").headers["ETag"]
    site.node.put("/etc/app/app.conf", "two")
    site.node.core.record(via="watch")
    changed = alice.get("/", headers={"If-None-Match": tag, "X-Poll": "1"})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_theme_is_a_cookie_and_comes_back_to_the_same_page(lone: Site) -> None:
    alice = lone.browser("alice")
    answer = alice.post("/theme", {"theme": "dark", "next": "/services?ask=1"})
    assert (answer.status_code, answer.location) == (303, "/services?ask=1")
    assert '<html lang="en" data-theme="dark"' in alice.text("/")
    assert alice.post("/theme", {"theme": '"><script>', "next": "//evil"}).location == "/"
    assert '<html lang="en" data-now' in alice.text("/")
    alice.client.set_cookie("theme", '"><script>')
    assert "<script>" not in alice.text("/")


def test_an_error_page_is_not_asked_again_as_if_it_were_live(site: Site) -> None:
    alice = site.browser("alice")
    missing = alice.get("/no-such-page").text
    assert "data-live" not in missing
    assert 'http-equiv="refresh"' not in missing
    site.lose_core()
    away = alice.get("/").text
    assert "data-live" not in away
    assert '<meta http-equiv="refresh" content="5">' in away
    assert 'http-equiv="refresh"' not in alice.post("/services", {"action": "start"}).text, "a form is not sent again"


def test_sentences_of_core_are_text_with_commands_and_times_for_people(lone: Site) -> None:
    shown = lone.app.jinja_env.filters["commands"]
    assert shown("run `syncsrv sync` <now>") == "run <code>syncsrv sync</code> &lt;now&gt;"
    assert shown("one ` alone <b>") == "one ` alone &lt;b&gt;"
    assert shown("`<script>`") == "<code>&lt;script&gt;</code>"
    assert shown("at 2026-11-23T04:21:12Z") == 'at <span class="nowrap">2026-11-23 04:21:12 UTC</span>'
    assert shown("at 2026-99-23T04:21:12Z") == "at 2026-99-23T04:21:12Z"
