"""HTTP and TLS from outside, against clients that mean no good."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from syncsrv.web.server import BODY_BYTES, HEAD_BYTES, Limits, WebServer, source_of
from syncsrv.web.tls import CertificateError, tls_context
from tests.support.wait import until
from tests.web.certificates import self_signed

LIMITS = Limits(threads=40, idle_s=1, handshake_s=0.7, head_s=0.8, body_s=0.9, answer_s=1.0)
"""Short, for tests to wait for."""


LARGE = 50_000_000


@dataclass
class Site:
    """A server with a small application, and its clients."""

    port: int
    tls: bool
    release: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    server: WebServer = field(init=False)

    def app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/wait":
            self.entered.set()
            self.release.wait(20)
        body = environ["wsgi.input"].read() if path == "/body" else b"page"
        if path == "/large":
            body = bytes(LARGE)
        if path == "/who":
            body = f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    def raw(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20, (source, 0))

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        sock = self.raw(source)
        if not self.tls:
            return sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(sock)

    def get(self, path: str = "/", source: str = "127.0.0.1") -> tuple[int, bytes]:
        with self.connect(source) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return answer(sock)


def answer(sock: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, response.read()


def ended(sock: socket.socket) -> bytes:
    """What came until the server ended the connection."""
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            came += part
    return came


@contextlib.contextmanager
def site(*, tls: bool, limits: Limits = LIMITS) -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    made = Site(listener.getsockname()[1], tls)
    context = tls_context(*self_signed("fw1")) if tls else None
    made.server = WebServer(made.app, listener, context, limits=limits)
    made.server.start()
    try:
        yield made
    finally:
        made.release.set()
        made.server.close()


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def either(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site(tls=request.param) as made:
        yield made


@pytest.fixture
def secure() -> Iterator[Site]:
    with site(tls=True) as made:
        yield made


@pytest.fixture
def plain() -> Iterator[Site]:
    with site(tls=False) as made:
        yield made


def test_it_answers_and_keeps_the_connection(either: Site) -> None:
    with either.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answer(sock) == (200, b"page")
        sock.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" * 3)
        for _ in range(3):
            assert answer_exactly(sock).endswith(b"\r\n\r\nabc")
    assert either.get("/who") == (200, b"127.0.0.1 " + (b"https" if either.tls else b"http"))


def answer_exactly(sock: socket.socket) -> bytes:
    """One answer of /body to three bytes, and nothing of the next."""
    came = b""
    while b"\r\n\r\n" not in came:
        came += sock.recv(1)
    while not came.endswith(b"abc"):
        came += sock.recv(1)
    return came


def test_old_tls_and_weak_ciphers_are_refused(secure: Site) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secure.raw() as sock, pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        context.wrap_socket(sock)
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    weak.check_hostname, weak.verify_mode = False, ssl.CERT_NONE
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA:AES256-GCM-SHA384")
    with secure.raw() as sock, pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        weak.wrap_socket(sock)


def test_http_at_the_tls_port_gets_a_sentence(secure: Site) -> None:
    with secure.raw() as sock:
        sock.sendall(b"GET /secret?x=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        said = ended(sock)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in said
    assert b"evil" not in said


def test_garbage_ends_only_itself(either: Site) -> None:
    for garbage in (b"\0" * 100, b"\x16\x03\x01" + b"\xff" * 200, b"\r\n\r\n", b"GET\r\n\r\n", b"\x80" * 9000):
        with either.raw() as sock:
            with contextlib.suppress(OSError):  # it had enough already
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
            ended(sock)
    assert either.get()[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1), b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", b"413"),
        (b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
    ],
)
def test_a_request_that_is_none_is_refused(plain: Site, request_: bytes, status: bytes) -> None:
    with plain.connect() as sock:
        sock.sendall(request_ + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        said = ended(sock)
    assert said.split(b" ")[1] == status
    assert said.count(b"HTTP/1.1") == 1, "what came after it was taken for a request"


def test_a_body_over_the_limit_is_refused_while_it_is_sent(secure: Site) -> None:
    with secure.connect() as sock:
        sock.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(300):
                sock.sendall(b"x" * 10000)
        assert b" 413 " in ended(sock)


def test_silent_clients_cost_no_worker() -> None:
    with site(tls=True, limits=replace(LIMITS, threads=4, idle_s=8)) as made, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(made.raw())
        assert made.get()[0] == 200


def test_one_address_cannot_take_all(secure: Site) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(secure.raw()) for _ in range(200)]
        for sock in socks:
            with contextlib.suppress(OSError):  # over the limit: ended already
                sock.sendall(b"\x16\x03\x01\x02")
        for _ in range(5):
            assert secure.get(source="127.0.0.2")[0] == 200
        kept = 0
        for sock in socks:
            sock.settimeout(0.01)
            try:
                kept += sock.recv(1) != b""
            except TimeoutError:
                kept += 1
            except ConnectionResetError:
                continue
        assert kept <= LIMITS.per_address
    until(lambda: secure.get()[0] == 200, what="its place to be free again")


def test_whoever_has_an_ipv6_network_is_one_client() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8:0:1::7") == source_of("2001:db8:0:1:ffff::") != source_of("2001:db8:0:2::7")
    assert source_of("fe80::1%eth0") == source_of("fe80::2%eth0")


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_places_are_given_back(tls: bool) -> None:
    few = 12
    with site(tls=tls, limits=replace(LIMITS, per_address=few)) as made:
        for _ in range(3 * few):
            assert made.get()[0] == 200
            with made.raw() as sock:
                sock.sendall(b"x\r\n\r\n")
                ended(sock)


def drip(sock: socket.socket, first: bytes) -> float:
    """Send a byte again and again until the server has enough, which it has sooner or later; seconds."""
    began = time.monotonic()
    with contextlib.suppress(OSError):
        sock.sendall(first)
        sock.settimeout(0.05)
        while True:
            sock.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if not sock.recv(100):
                    break
    return time.monotonic() - began


def test_a_handshake_that_drips_ends(secure: Site) -> None:
    with secure.raw() as sock:
        assert drip(sock, b"\x16\x03\x01\x02\x00") > 0.6


def test_a_head_that_drips_ends(either: Site) -> None:
    with either.connect() as sock:
        assert drip(sock, b"GET / HTTP/1.1\r\nHost: a\r\nX: ") > 0.7


def test_a_body_that_drips_ends(either: Site) -> None:
    with either.connect() as sock:
        assert drip(sock, b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n") > 0.8


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_a_client_that_reads_too_slowly_gives_its_worker_back(tls: bool) -> None:
    with site(tls=tls, limits=replace(LIMITS, threads=1, idle_s=20)) as made, made.connect() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert slow.recv(100)
        assert made.get()[0] == 200


def test_a_large_answer_comes_whole(either: Site) -> None:
    status, body = either.get("/large")
    assert (status, len(body)) == (200, LARGE)


def test_a_silent_client_is_let_go(either: Site) -> None:
    with either.raw() as sock:
        began = time.monotonic()
        assert ended(sock) == b""
        assert time.monotonic() - began > 0.9


def test_its_end_answers_what_is_under_way_and_takes_no_more() -> None:
    with site(tls=True) as made:
        said: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: said.append(made.get("/wait")))
        asking.start()
        assert made.entered.wait(5)
        with made.connect() as idle:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer(idle)
            ending = threading.Thread(target=made.server.close)
            ending.start()
            assert ended(idle) == b""
        until(lambda: not listens(made.port), what="the socket to be closed")
        made.release.set()
        asking.join(10)
        ending.join(10)
        assert said == [(200, b"page")]


def test_whoever_has_just_connected_gets_an_answer_at_the_end() -> None:
    with site(tls=True) as made, made.raw() as sock:
        until(lambda: open_connections(made.port) == 1, what="the server to accept it")
        ending = threading.Thread(target=made.server.close)
        ending.start()
        until(lambda: not made.server._server.ready, what="the end to begin")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(sock) as late:
            late.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answer(late) == (200, b"page")
        ending.join(10)


def open_connections(port: int) -> int:
    """Accepted ones of ours, by their port."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(fd))) as sock:
            found += sock.getsockname()[1:2] == (port,) and bool(sock.getpeername())
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_address_is_the_same_at_a_socket_for_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    made = Site(listener.getsockname()[1], tls=False)
    made.server = WebServer(made.app, listener, limits=LIMITS)
    made.server.start()
    try:
        assert made.get("/who") == (200, b"127.0.0.1 http")
    finally:
        made.server.close()


def test_a_certificate_that_is_none_is_refused() -> None:
    certificate, key = self_signed("a")
    _, other = self_signed("b")
    for wrong in ((certificate, other), ("", ""), ("no PEM", key), (certificate, "no PEM")):
        with pytest.raises(CertificateError, match="cannot use the certificate") as caught:
            tls_context(*wrong)
        assert "node.yaml" in caught.value.remedy
        assert "PRIVATE" not in str(caught.value)
