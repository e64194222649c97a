"""The demo's browser believes nothing: not another certificate, not a page without a form."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.core.certificate import own_certificate
from syncsrv.demo.visit import PageAwayError, Visit
from tests.support.net import free_port


class Formless(BaseHTTPRequestHandler):
    """A page that has a heading and no form."""

    def do_GET(self) -> None:
        text = b"<h1>Not <b>ours</b></h1>"
        self.send_response(200 if self.path != "/gone" else 404)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "page.pem"
    own_certificate(path, ("127.0.0.1",), SystemClock().utc())
    return path


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), Formless) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_heading_is_read_without_its_tags(port: int, certificate: Path) -> None:
    with Visit(port, certificate) as visit:
        assert visit.heading("/") == "Not ours"
        with pytest.raises(PageAwayError, match="it answered 404"):
            visit.heading("/gone")
        with pytest.raises(PageAwayError, match="it has no form"):
            visit.log_in("admin", "secret")


def test_another_certificate_than_the_nodes_own_is_refused(port: int, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    own_certificate(other, ("127.0.0.1",), SystemClock().utc())
    with Visit(port, other) as visit, pytest.raises(PageAwayError, match="certificate verify failed"):
        visit.get("/")


def test_a_node_that_never_served_a_page_has_none(tmp_path: Path) -> None:
    with pytest.raises(PageAwayError, match="no certificate yet"):
        Visit(free_port(), tmp_path / "page.pem")


def test_nobody_listens(certificate: Path) -> None:
    with Visit(free_port(), certificate) as visit, pytest.raises(PageAwayError, match="refused"):
        visit.get("/")
