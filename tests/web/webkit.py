"""A real core, asked over socket pairs by a real Link under the real application; only HTTP is Flask's test client."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from syncsrv.clock import SystemClock
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes_page import WebSetup
from syncsrv.control.verbs import Door
from syncsrv.version import __version__
from syncsrv.web.app import create_app
from syncsrv.web.assets import Assets
from syncsrv.web.link import Link
from tests.core.corekit import CLUSTER, Node, Pair, pair_of, single

ROLES = {"alice": "admin", "oscar": "operator", "vera": "viewer"}
ASSETS = Assets.load()
PASSWORD = "a long enough password"
SETUP = WebSetup("digest", node="fw1", cluster="edge", listen="127.0.0.1:8443", cookie_secret="secret of the cookies")

_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass
class Site:
    """The page of one node.

    Attributes:
        node: whose core answers.
        pair: the nodes that it may know.
        app: the application.
    """

    node: Node
    pair: Pair | None
    app: Flask
    link: Link
    _links: socket.socket
    _known: set[str] = field(default_factory=set)

    def browser(self, name: str = "", *, app: Flask | None = None) -> Browser:
        """A browser; logged in where a name of ``ROLES`` is given."""
        browser = Browser((app or self.app).test_client())
        if name:
            if name not in self._known:
                self.node.core.people.add(name, ROLES[name], PASSWORD, None)
                self._known.add(name)
            assert browser.login(name).status_code == 303
        return browser

    def join(self) -> None:
        """Give web a connection to core, as the supervisor does when core has started."""
        ours, theirs = socket.socketpair()
        self.node.server.start_socket(theirs, Caller(Door.WEB, "", via="web"))
        with ours:
            socket.send_fds(self._links, [b"."], [ours.fileno()])
        assert self.link.wait(10)

    def lose_core(self) -> None:
        """Core ends, and no other starts."""
        self.node.server.close()

    def close(self) -> None:
        self._links.close()
        self.link.close()


class Browser:
    """Flask's test client, which takes the forms' token along as a browser does."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, **more)

    def text(self, path: str, status: int = 200) -> str:
        """The page at ``path``, which must come with this status."""
        response = self.get(path)
        assert response.status_code == status, f"{path}: {response.status} {response.get_data(as_text=True)[:2000]}"
        return response.get_data(as_text=True)

    def token(self) -> str:
        """A token for forms, from a page that everybody sees."""
        found = _CSRF.search(self.client.get("/login").get_data(as_text=True))
        assert found is not None
        return found[1]

    def post(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> TestResponse:
        """Send a form that a page of ours made."""
        return self.client.post(path, data={"csrf_token": self.token(), **(data or {})}, **more)

    def login(self, name: str, password: str = PASSWORD, **data: str) -> TestResponse:
        return self.post("/login", {"name": name, "password": password, **data})


def site_on(node: Node, pair: Pair | None = None, setup: WebSetup = SETUP) -> Site:
    """The page of a node that runs already; close it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = Link(theirs, version=__version__, away_s=0.2)
    app = create_app(setup, link, SystemClock(), ASSETS)
    site = Site(node, pair, app, link, ours)
    site.join()
    return site


@contextlib.contextmanager
def site_of_pair(home: Path, cluster: str = CLUSTER, of: str = "fw1") -> Iterator[Site]:
    """fw1, the master, and fw2, its backup, which has nothing yet; the page is that of ``of``."""
    with pair_of(home, cluster) as pair:
        node = pair.nodes[of]
        site = site_on(node, pair, WebSetup("digest", node=of, cluster="edge", cookie_secret="secret of the cookies"))
        with contextlib.closing(site):
            yield site


@contextlib.contextmanager
def site_of_one(home: Path, role: str = "master", cluster: str = CLUSTER) -> Iterator[Site]:
    """The page of a node without peers."""
    with single(home, role, cluster) as node, contextlib.closing(site_on(node)) as site:
        yield site
