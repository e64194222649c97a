"""HTTP and TLS for the page: cheroot, with what it lacks against clients that mean no good.

A connection waits for its first byte, and between two requests, in the selector and costs no thread; the TLS
handshake is done by a worker; handshake, head, body and answer each have a deadline that dripping does not extend;
one address has a bounded number of connections.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from wsgiref.types import WSGIApplication

from cheroot import server as cheroot
from cheroot import wsgi
from cheroot.connections import ConnectionManager
from cheroot.makefile import MakeFile
from cheroot.ssl import Adapter

from syncsrv.web.deadlines import Deadlines
from syncsrv.web.fields import read_fields

log = logging.getLogger(__name__)

HEAD_BYTES = 32 * 1024
BODY_BYTES = 1024 * 1024
PIECE = 16 * 1024
LINGER_S = 1.0
"""A refused client may still be sending; closing before it has read the answer would throw that away."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much clients may take.

    Attributes:
        threads: workers.
        connections: open ones.
        per_address: open ones of one address, or of an IPv6 /64: a browser has six, and some people share an address.
        idle_s: before the first byte and between two requests.
        handshake_s, head_s, body_s: for the whole of each, however it trickles in.
        answer_s: for a large file over a thin line; who reads more slowly holds a worker up for nothing.
        stop_s: at the end, for requests under way.
    """

    threads: int = 160
    connections: int = 512
    per_address: int = 32
    idle_s: int = 8
    handshake_s: float = 5.0
    head_s: float = 8.0
    body_s: float = 30.0
    answer_s: float = 600.0
    stop_s: int = 5


GRACE_S = 1.0
"""At the end, for connections that have said nothing yet."""

_TLS_HANDSHAKE = b"\x16"
_PLAIN = (
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    "Content-Length: {}\r\n\r\n{}"
)
_SPEAKS_TLS = "cannot answer: this port speaks TLS only; open the same address with https:// instead of http://\n"


def source_of(address: str) -> str:
    """Whose connections are counted together: whoever has one IPv6 address has all of its /64."""
    if ":" not in address:
        return address
    packed = ipaddress.IPv6Address(address.partition("%")[0]).packed
    return str(ipaddress.IPv6Network((packed[:8] + bytes(8), 64)))


class WebServer:
    """The page at one listening socket.

    Args:
        app: what answers.
        listener: bound; owned from now on.
        tls: None for plain HTTP.
        limits: see Limits.
    """

    def __init__(
        self,
        app: WSGIApplication,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._server = _Server(app, listener, tls, limits or Limits())
        self._thread = threading.Thread(target=self._server.serve, name="accept", daemon=True)

    def start(self) -> None:
        """Take connections when this returns."""
        self._server.prepare()
        self._thread.start()

    def accepts(self) -> bool:
        """Whether connections are taken: until it is closed, or something broke."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no more; requests under way are answered, for ``stop_s`` seconds at most, then cut."""
        self._server.stop()
        self._thread.join()


class _Request(cheroot.HTTPRequest):
    """One request, with deadlines, and without what two readers could understand differently."""

    conn: _Connection

    def parse_request(self) -> None:
        deadlines = self.server.deadlines
        deadlines.arm(self.conn.socket, self.server.limits.head_s)
        super().parse_request()
        deadlines.off(self.conn.socket)
        if self.ready and int(self.inheaders.get(b"Content-Length", 0)):
            deadlines.arm(self.conn.socket, self.server.limits.body_s)

    def header_reader(self, rfile: Any, headers: dict[bytes, bytes]) -> None:
        read_fields(rfile, headers)

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]  # the stubs lack it
            return False
        if b"Transfer-Encoding" in self.inheaders:
            self.simple_response("411 Length Required", "cannot answer: a body must come with its Content-Length\n")
            return False
        if self.request_protocol == b"HTTP/1.1" and b"Host" not in self.inheaders:
            self.simple_response("400 Bad Request", "cannot answer: there is no Host header\n")
            return False
        return True

    def simple_response(self, status: str, msg: str = "") -> None:
        self.conn.refused = True
        super().simple_response(status, msg)

    def write(self, chunk: bytes) -> None:
        """In pieces: the socket's deadline is for one of them, and cheroot copies the rest after each."""
        for start in range(0, len(chunk), PIECE):
            super().write(chunk[start : start + PIECE])

    def send_headers(self) -> None:
        self.server.deadlines.arm(self.conn.socket, self.server.limits.answer_s, socket.SHUT_RDWR)
        super().send_headers()


class _Connection(cheroot.HTTPConnection):
    """One connection; counted from here until it is closed."""

    RequestHandlerClass = _Request

    def __init__(self, server: _Server, sock: socket.socket, makefile: Any = MakeFile) -> None:
        self.refused = False
        self.heard = False
        self._shaken = not isinstance(sock, ssl.SSLSocket)
        self.address = server.enter(self, sock)
        super().__init__(server, sock, makefile)

    @property
    def remote_addr(self) -> str:
        return self.address

    @remote_addr.setter
    def remote_addr(self, value: str) -> None:
        """The server sets it, but not in a form that is the same at any listening socket."""

    def communicate(self) -> bool:
        try:
            return (self._shaken or self._shake()) and bool(super().communicate())  # type: ignore[no-untyped-call]  # the stubs lack it
        finally:
            self.server.deadlines.off(self.socket)
            self.server.answered(self)

    def close(self) -> None:
        self.server.leave(self)
        try:
            if self.refused:
                self._linger()
            super().close()
        except (OSError, ValueError) as error:  # the client was faster
            log.debug("%s: %s", self.address, error)
            self.socket.close()

    def more(self) -> bool:
        """Whether TLS has already read what comes next: no selector would tell."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def _shake(self) -> bool:
        limits = self.server.limits
        self.server.deadlines.arm(self.socket, limits.handshake_s)
        try:
            self.socket.settimeout(limits.handshake_s)
            first = socket.socket.recv(self.socket, 1, socket.MSG_PEEK)
            if first and first != _TLS_HANDSHAKE:
                said = _PLAIN.format(len(_SPEAKS_TLS), _SPEAKS_TLS)
                socket.socket.sendall(self.socket, said.encode())
                self.refused = True
                return False
            self.socket.do_handshake()
            self.socket.settimeout(limits.idle_s)
        except (OSError, ValueError) as error:
            log.debug("%s: %s", self.address, error)
            return False
        self.server.deadlines.off(self.socket)
        self._shaken = True
        return True

    def _linger(self) -> None:
        ends_at = time.monotonic() + LINGER_S
        socket.socket.shutdown(self.socket, socket.SHUT_WR)
        while (left_s := ends_at - time.monotonic()) > 0:
            self.socket.settimeout(left_s)
            if not socket.socket.recv(self.socket, 65536):
                return


class _Tls(Adapter):
    """Connections whose handshake is still to be done."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def get_environ(self) -> dict[str, str]:
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        try:
            return (
                self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False),
                self.get_environ(),
            )
        except (OSError, ValueError) as error:  # it is gone already
            sock.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, str(error)) from error

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


class _Server(wsgi.Server):
    """cheroot's server at a socket that is there already."""

    ConnectionClass = _Connection
    max_request_header_size = HEAD_BYTES
    max_request_body_size = BODY_BYTES

    def __init__(
        self, app: WSGIApplication, listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits
    ) -> None:
        super().__init__(
            listener.getsockname()[:2],
            app,
            numthreads=limits.threads,
            server_name="syncsrv",
            timeout=limits.idle_s,
            shutdown_timeout=limits.stop_s,
        )
        self.limits = limits
        self.software = "syncsrv"
        self.keep_alive_conn_limit = limits.connections
        self.socket = listener
        self.deadlines = Deadlines()
        self.ssl_adapter = _Tls(tls) if tls is not None else None
        self._lock = threading.Lock()
        self._fewer = threading.Condition(self._lock)
        self._new: set[_Connection] = set()
        self._addresses: Counter[str] = Counter()

    def prepare(self) -> None:
        self.socket.settimeout(1.0)
        self.socket.listen(128)
        self._connections = ConnectionManager(self)
        self.deadlines.start()
        self.requests.start()
        self.ready = True

    def stop(self) -> None:
        if not self.ready:
            return
        # What was accepted but not yet heard would be cut: whoever has just connected gets an answer first.
        self._connections._selector.unregister(self.socket.fileno())  # type: ignore[attr-defined]  # the stubs lack it
        self.ready = False  # no connection is kept after its answer
        with self._lock:
            self._fewer.wait_for(lambda: not self._new, GRACE_S)
        self.deadlines.hurry()
        self.ready = True
        self.bind_addr = ""  # else it knocks at its own address, and looks up that name in files
        super().stop()
        self.deadlines.stop()

    def process_conn(self, conn: _Connection) -> None:
        """A worker is for a connection that has said something; a new one waits for that first."""
        if conn.heard:
            super().process_conn(conn)
        else:
            conn.heard = True
            self._connections.put(conn)

    def put_conn(self, conn: _Connection) -> None:
        if self.ready and conn.more():
            self.process_conn(conn)
        else:
            super().put_conn(conn)

    def enter(self, conn: _Connection, sock: socket.socket) -> str:
        """The client's address, one connection of it counted.

        Raises:
            ConnectionAbortedError: there are too many, or it is gone; the socket is closed.
        """
        try:
            address = str(sock.getpeername()[0]).removeprefix("::ffff:")
        except OSError as error:
            sock.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "it is gone") from error
        source = source_of(address)
        with self._lock:
            many = (
                self._addresses[source] >= self.limits.per_address or self._addresses.total() >= self.limits.connections
            )
            if not many:
                self._addresses[source] += 1
                self._new.add(conn)
        if many:
            sock.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, f"{address} has too many connections")
        return address

    def answered(self, conn: _Connection) -> None:
        """It is not new any more."""
        with self._lock:
            self._new.discard(conn)
            self._fewer.notify_all()

    def leave(self, conn: _Connection) -> None:
        """Count it no more."""
        self.answered(conn)
        with self._lock:
            address, conn.address = conn.address, ""
            if address:
                source = source_of(address)
                self._addresses[source] -= 1
                if not self._addresses[source]:
                    del self._addresses[source]

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """What clients do wrong is no line of a log that a person reads."""
        if level >= logging.ERROR:
            log.error("%s", msg, exc_info=traceback)
        else:
            log.debug("%s", msg)
