"""Every address of the application, page and API, asked by everybody who could: it is what the route declares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import IntegerConverter, Rule
from werkzeug.test import TestResponse

from syncsrv.control.dispatch import POWERS, may
from syncsrv.web.access import CORE
from syncsrv.web.api.problem import MEDIA_TYPE, is_for_programs
from syncsrv.web.api.table import OPERATIONS, PREFIX
from tests.support.wait import until
from tests.web.webkit import PASSWORD, ROLES, Browser, Site, site_of_pair

NAMES = {role: name for name, role in ROLES.items()}
READING = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Route:
    """One address with one method."""

    method: str
    path: str
    needs: str

    @property
    def program(self) -> bool:
        return is_for_programs(self.path)


def routes(app: Flask) -> list[Route]:
    """All of them; those that end a log-in come last."""
    found = []
    addresses = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        path = addresses.build(rule.endpoint, {name: filled(rule, name) for name in rule.arguments})
        declared = app.view_functions[rule.endpoint].__dict__["needs"]
        found += [Route(method, path, declared) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return sorted(found, key=lambda route: (route.path == "/logout", route.path, route.method))


def filled(rule: Rule, name: str) -> object:
    return 1 if isinstance(rule._converters[name], IntegerConverter) else "none"


@dataclass
class Asker:
    """Somebody with a browser or a program.

    Attributes:
        power: what they may do; empty for nobody.
        genuine: whether their forms count as made by a page of ours.
    """

    browser: Browser
    headers: dict[str, str]
    power: str = ""
    genuine: bool = True

    def ask(self, route: Route) -> TestResponse:
        headers = dict(self.headers)
        if route.method not in READING and "Authorization" not in headers and self.genuine:
            headers["X-CSRFToken"] = self.browser.token()
        body: object = {} if route.path.startswith(PREFIX) and route.method in {"POST", "PUT"} else None
        return self.browser.client.open(route.path, method=route.method, headers=headers, json=body)


def by_cookie(role: str) -> Callable[[Site], Asker]:
    return lambda site: Asker(site.browser(NAMES[role]), {}, role)


def by_token(role: str) -> Callable[[Site], Asker]:
    def asker(site: Site) -> Asker:
        site.node.core.people.add(NAMES[role], role, PASSWORD, None)
        headers = {"Authorization": f"Bearer {site.node.core.people.new_token(NAMES[role])}"}
        return Asker(Browser(site.app.test_client(use_cookies=False)), headers, role)

    return asker


def nobody(site: Site) -> Asker:
    return Asker(Browser(site.app.test_client()), {})


def with_cookie(site: Site, secret: str, session: str) -> Asker:
    """With a cookie that somebody made who knows, or does not know, our secret."""
    maker = Flask("maker")
    maker.secret_key = secret
    signer = maker.session_interface.get_signing_serializer(maker)  # type: ignore[attr-defined]  # of Flask's default
    assert signer is not None
    client = site.app.test_client()
    client.set_cookie(site.app.config["SESSION_COOKIE_NAME"], signer.dumps({CORE: session}))
    return Asker(Browser(client), {}, genuine=False)


def forged(site: Site) -> Asker:
    return with_cookie(site, "a secret of somebody else", "x" * 43)


def invented(site: Site) -> Asker:
    return with_cookie(site, site.app.config["SECRET_KEY"], "x" * 43)


def logged_out(site: Site) -> Asker:
    """An admin's browser whose session has ended in core: it was logged out elsewhere, or its time was over."""
    asker = Asker(site.browser("alice"), {})
    site.node.core.login.ended("alice")
    return asker


def revoked(site: Site) -> Asker:
    asker = by_token("admin")(site)
    site.node.core.people.revoke_tokens(NAMES["admin"])
    return Asker(asker.browser, asker.headers)


def removed(site: Site) -> Asker:
    """A browser of an admin who was removed meanwhile."""
    asker = Asker(site.browser("alice"), {})
    site.node.core.people.remove("alice")
    site._known.discard("alice")
    return asker


WHO: dict[str, Callable[[Site], Asker]] = {
    "nobody": nobody,
    "forged cookie": forged,
    "invented session": invented,
    "ended session": logged_out,
    "removed user": removed,
    "revoked token": revoked,
    **{f"{role} by cookie": by_cookie(role) for role in POWERS},
    **{f"{role} by token": by_token(role) for role in POWERS},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of_pair(tmp_path_factory.mktemp("routes")) as site:
        yield site


def test_every_route_declares_who_may_use_it(site: Site) -> None:
    undeclared = [
        rule.rule
        for rule in site.app.url_map.iter_rules()
        if site.app.view_functions[rule.endpoint].__dict__.get("needs") not in {"", *POWERS}
    ]
    assert undeclared == []


def test_only_these_are_for_everybody(site: Site) -> None:
    """A route that becomes public becomes so here, on purpose."""
    public = {(route.method, route.path) for route in routes(site.app) if not route.needs}
    assert public == {
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/logout"),
        ("POST", "/theme"),
        ("GET", "/static/none"),
        ("GET", "/healthz"),
        ("GET", "/api/v1/openapi.json"),
    }


def test_the_api_declares_what_its_table_says(site: Site) -> None:
    declared = {(route.method, route.path): route.needs for route in routes(site.app)}
    for one in OPERATIONS:
        path = PREFIX + one.path.replace("{job}", "none").replace("{name}", "none")
        assert declared[one.method, path] == one.power


@pytest.mark.parametrize("who", WHO)
def test_who_may_not_is_refused_and_nothing_has_changed(site: Site, who: str) -> None:
    asker = WHO[who](site)
    refused = [route for route in routes(site.app) if not may(asker.power, route.needs)]
    assert refused or asker.power == "admin"
    before = everything(site)
    wrong = [f"{route}: {answer.status}" for route in refused if not refuses(answer := asker.ask(route), asker, route)]
    assert wrong == []
    assert everything(site) == before


@pytest.mark.parametrize("who", [who for who in WHO if who.startswith(POWERS)])
def test_who_may_is_let_in(tmp_path: Path, who: str) -> None:
    with site_of_pair(tmp_path) as site:
        asker = WHO[who](site)
        wrong = []
        for route in routes(site.app):
            if may(asker.power, route.needs) and route.path not in {"/login", "/logout"}:
                answer = asker.ask(route)
                if answer.status_code in {401, 403} or answer.status_code >= 500 or to_login(answer):
                    wrong.append(f"{route}: {answer.status} {answer.headers.get('Location', '')}")
        until(lambda: not site.node.core.jobs.running(), 60, "the end of what was started")
        assert wrong == []


@pytest.mark.parametrize("role", POWERS)
def test_no_form_counts_that_no_page_of_ours_made(site: Site, role: str) -> None:
    asker = by_cookie(role)(site)
    asker.genuine = False
    before = everything(site)
    writing = [route for route in routes(site.app) if route.method not in READING]
    assert len(writing) > len([one for one in OPERATIONS if one.method != "GET"])
    wrong = [f"{route}: {answer.status}" for route in writing if (answer := asker.ask(route)).status_code != 400]
    assert wrong == []
    assert everything(site) == before


def refuses(answer: TestResponse, asker: Asker, route: Route) -> bool:
    """Whether this is how somebody is refused: the log-in for people, a problem for programs, 403 for a low role."""
    if not asker.genuine and route.method not in READING and answer.status_code == 400:
        return True
    if route.program and answer.mimetype != MEDIA_TYPE:
        return False
    if asker.power:
        return answer.status_code == 403
    return answer.status_code == 401 if route.program else to_login(answer)


def to_login(answer: TestResponse) -> bool:
    return answer.status_code == 303 and answer.headers["Location"].startswith("/login")


def everything(site: Site) -> dict[str, str]:
    """All that a request could change: the nodes' files, histories and states, jobs and services."""
    assert site.pair is not None
    found = {"jobs": str([job.info() for job in site.node.core.jobs.recent()])}
    for node in site.pair.nodes.values():
        found[f"{node.name} told"] = " ".join(node.told())
        for path in sorted(node.home.rglob("*")):
            if path.is_file() and path.name not in {"sessions.json", "devices.json"} and "sqlite" not in path.name:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
