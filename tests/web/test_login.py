"""Log-in, log-out, what was under way, and where one comes back to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.core.sessions import IDLE_S, ROTATE_S
from syncsrv.core.weblogin import WrongPasswordError
from syncsrv.web.access import local_path
from syncsrv.web.app import create_app
from syncsrv.web.kept import KEPT, KEPT_S, LARGEST, KeptForms
from syncsrv.web.pages.login import WRONG
from tests.core.corekit import Node, Pair
from tests.core.webloginkit import HandClock
from tests.web.webkit import ASSETS, PASSWORD, SETUP, Browser, Site, site_on

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example/",
    "http:/evil.example",
    "javascript:alert(1)",
    "/%0d%0aSet-Cookie:x=y\r\nX: y",
    "/\tevil",
    "evil",
    "",
    "/login",
    "/login?next=/",
    "/logout",
    "/a b",
    "/" + "a" * 3000,
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_log_in_leads_nowhere_else(lone: Site, wanted: str) -> None:
    assert local_path(wanted) == "/"
    lone.browser("alice")
    assert lone.browser().post("/login", {"name": "alice", "password": PASSWORD, "next": wanted}).location == "/"


@pytest.mark.parametrize("wanted", ["/", "/services", "/services?ask=restart:app:fw1", "/history/abc?path=/etc/x"])
def test_log_in_leads_to_where_one_wanted_to_go(lone: Site, wanted: str) -> None:
    lone.browser("alice")
    nobody = lone.browser()
    response = nobody.get(wanted)
    if response.status_code == 303:
        assert response.location.startswith("/login")
    assert local_path(wanted) == wanted
    assert nobody.login("alice", next=wanted).location == wanted


def test_the_page_says_where_one_is(lone: Site) -> None:
    html = lone.browser().text("/login")
    assert '<b class="big">fw1</b>' in html
    assert "Cluster edge" in html
    assert "not encrypted" in html


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "not this one"), ("nobody", PASSWORD), ("", ""), ("alice", "")]
)
def test_it_does_not_say_which_of_the_two_was_wrong(lone: Site, name: str, password: str) -> None:
    lone.browser("alice")
    answer = lone.browser().login(name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert password not in answer.text or not password


def test_the_two_processes_mean_the_same_by_it() -> None:
    assert WrongPasswordError.code == WRONG


def test_what_was_typed_as_name_is_shown_as_text(lone: Site) -> None:
    answer = lone.browser().login('"><script>alert(1)</script>', "x")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_many_wrong_passwords_are_slowed_down(fresh: Site) -> None:
    fresh.browser("alice")
    stranger = fresh.browser()
    answers = [stranger.login("alice", "wrong") for _ in range(20)]
    slow = next(answer for answer in answers if answer.status_code == 429)
    assert int(slow.headers["Retry-After"]) >= 1
    assert f"Try again in {slow.headers['Retry-After']} s" in slow.text


def test_a_browser_that_was_here_before_is_known_again(lone: Site) -> None:
    alice = lone.browser("alice")
    device = alice.client.get_cookie("syncsrv-fw1-device")
    assert device is not None
    assert device.http_only
    alice.post("/logout")
    again = alice.client.get_cookie("syncsrv-fw1-device")
    assert again is not None
    assert again.value == device.value


def test_logged_out_is_logged_out_in_core_too(lone: Site) -> None:
    alice = lone.browser("alice")
    cookie = alice.client.get_cookie("syncsrv-fw1")
    assert cookie is not None
    answer = alice.post("/logout")
    assert answer.location == "/login?why=out"
    assert "Logged out" in alice.text(answer.location)
    assert alice.get("/").status_code == 303
    alice.client.set_cookie("syncsrv-fw1", cookie.value)
    assert alice.get("/").location == "/login"


@pytest.mark.parametrize("forged", ["", "x", "eyJjb3JlIjoieCJ9.aaaaaa.bbbbbb", "A" * 3900])
def test_a_forged_cookie_is_nobody(lone: Site, forged: str) -> None:
    browser = lone.browser()
    browser.client.set_cookie("syncsrv-fw1", forged)
    assert browser.get("/").location == "/login"


def test_a_session_that_core_does_not_know_is_nobody(lone: Site) -> None:
    browser = lone.browser("alice")
    with browser.client.session_transaction() as session:
        session["core"] = "made up"
    assert browser.get("/").location == "/login"
    assert "Your log-in ended" in browser.text("/login")
    assert "It was ended (log out everywhere, password or role changed), or its time was over." in browser.text(
        "/login"
    )


def test_the_fingerprint_is_told_where_nobody_in_between_can_write_it(lone: Site) -> None:
    setup = replace(SETUP, certificate="one", fingerprint="AB:CD")
    page = create_app(setup, lone.link, SystemClock(), ASSETS).test_client().get("/login").text
    assert "AB:CD" not in page
    assert "<code>syncsrv web --fingerprint</code> prints on the console of fw1" in page


class LateClock(SystemClock):
    """The machine's clock, later."""

    late_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late_s

    def utc(self) -> datetime:
        return super().utc() + timedelta(seconds=self.late_s)


@pytest.fixture
def later(tmp_path: Path) -> Iterator[tuple[Site, LateClock]]:
    """A page whose core's clock a test may move."""
    node, clock = Node(tmp_path / "fw1", "fw1", "master", Pair()), LateClock()
    node.clock = clock
    node.open()
    site = site_on(node)
    yield site, clock
    site.close()
    node.close()


def core_session(browser: Browser) -> str:
    with browser.client.session_transaction() as session:
        found: str = session["core"]
    return found


def test_a_rotated_session_goes_on_in_the_cookie(later: tuple[Site, LateClock]) -> None:
    site, clock = later
    alice = site.browser("alice")
    before = core_session(alice)
    assert alice.get("/").status_code == 200
    assert core_session(alice) == before
    clock.late_s += ROTATE_S + 1
    answer = alice.get("/")
    assert answer.status_code == 200
    assert answer.headers["Set-Cookie"].startswith("syncsrv-fw1=")
    assert core_session(alice) != before
    assert alice.get("/services").status_code == 200


def test_a_page_that_only_asks_again_by_itself_keeps_no_log_in_alive(later: tuple[Site, LateClock]) -> None:
    site, clock = later
    alice = site.browser("alice")
    for _ in range(4):
        clock.late_s += IDLE_S / 5
        assert alice.get("/", headers={"X-Poll": "1"}).status_code == 200
    clock.late_s += IDLE_S / 5 + 1
    assert alice.get("/", headers={"X-Poll": "1"}).status_code == 303
    assert alice.login("alice").status_code == 303
    for _ in range(4):
        clock.late_s += IDLE_S / 2
        assert alice.get("/").status_code == 200, "whoever uses it stays"


def test_a_form_under_way_is_kept_and_sent_again_by_one_click(site: Site) -> None:
    alice = site.browser("alice")
    site.node.core.login.ended("alice")
    form = {"action": "start", "name": "app", "node": "fw1"}
    answer = alice.post("/services", form)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert site.node.core.jobs.recent() == []
    assert "It is kept; you come back to it" in alice.text("/login")
    assert alice.login("alice").location == "/kept"
    kept = alice.text("/kept")
    assert '<form method="post" action="/services">' in kept
    for name, value in form.items():
        assert f'name="{name}" value="{value}"' in kept
    assert site.node.core.jobs.recent() == [], "it is never sent by itself"
    again = alice.post("/services", form)
    assert again.location.startswith("/jobs/")
    site.node.end(again.location.removeprefix("/jobs/"))
    assert alice.get("/kept").status_code == 200


def test_a_form_in_another_tab_outlives_a_log_in_of_the_same_person_only(site: Site) -> None:
    browser = site.browser("alice")
    form = {"csrf_token": browser.token(), "action": "start", "name": "app", "node": "fw1"}
    site.node.core.login.ended("alice")
    assert browser.login("alice").status_code == 303
    answer = browser.client.post("/services", data=form)
    assert answer.status_code == 303
    site.node.end(answer.location.removeprefix("/jobs/"))
    site.browser("oscar")
    assert browser.login("oscar").status_code == 303
    assert browser.client.post("/services", data=form).status_code == 400


def test_nobody_else_sees_what_was_kept(site: Site) -> None:
    browser = site.browser("alice")
    site.node.core.login.ended("alice")
    browser.post("/services", {"action": "start", "name": "app", "node": "fw1"})
    site.browser("oscar")
    assert browser.login("oscar").location == "/"
    assert browser.get("/kept").location == "/"


def test_passwords_and_large_forms_are_not_kept() -> None:
    clock = HandClock()
    forms = KeptForms(clock)
    assert forms.keep("/settings", [("password", "x")], "alice") is None
    assert forms.keep("/settings", [("old", "x"), ("new", "y")], "alice") is None
    assert forms.keep("/changes", [("reason", "x" * LARGEST)], "alice") is None
    kept = forms.keep("/changes", [("reason", "x"), ("csrf_token", "t")], "alice")
    assert kept is not None
    found = forms.get(kept, "alice")
    assert found is not None
    assert found.fields == (("reason", "x"),)
    assert forms.get(kept, "oscar") is None
    clock.run(KEPT_S + 1)
    assert forms.get(kept, "alice") is None


def test_only_so_many_forms_are_kept() -> None:
    forms = KeptForms(HandClock())
    names = [forms.keep("/changes", [("reason", str(number))], "alice") for number in range(KEPT + 1)]
    first, last = names[0], names[-1]
    assert first is not None
    assert last is not None
    assert forms.get(first, "alice") is None
    assert forms.get(last, "alice") is not None
    forms.drop(last)
    assert forms.get(last, "alice") is None
