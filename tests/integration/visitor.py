"""A browser without a window: TLS that verifies the node's own certificate, cookies, the forms' token."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from tests.integration.pair import Node
from tests.support.wait import until

PASSWORD = "a long enough password"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; the names of its headers are lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Visitor:
    """Whoever looks at a node's page.

    Attributes:
        node: whose.
        source: the address to come from.
        cookies: name to value.
    """

    node: Node
    source: str = "127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of its own, its certificate verified for 127.0.0.1."""
        trusted = ssl.create_default_context(cafile=str(self.node.state / "web/page.pem"))
        return http.client.HTTPSConnection(
            "127.0.0.1", self.node.web, timeout=20, context=trusted, source_address=(self.source, 0)
        )

    def ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Reply:
        """One request over a new connection."""
        connection = self.connect()
        try:
            return self.over(connection, method, path, form)
        finally:
            connection.close()

    def over(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request over a connection that is kept."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if form is not None:
            body = urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"{self.node.page}/login"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        for value in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(value).items():
                self.cookies[name] = morsel.value
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, text)

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def log_in(self, name: str) -> None:
        """Log in with PASSWORD."""
        found = _TOKEN.search(self.get("/login").text)
        assert found is not None
        reply = self.ask("POST", "/login", {"name": name, "password": PASSWORD, "csrf_token": found[1]})
        assert reply.status == 303, reply.text


def page_up(node: Node) -> Visitor:
    """A visitor, once the page answers and core behind it."""
    visitor = Visitor(node)

    def up() -> bool:
        try:
            return visitor.get("/healthz").status == 200
        except OSError:
            return False

    try:
        until(up, deadline_s=30, what=f"the page of {node.name}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{node.tail()}") from error
    return visitor


def add_user(node: Node, name: str, role: str) -> None:
    """A user who can log in with PASSWORD."""
    added = node.ask("user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")
    assert added.status == 0, added.text
