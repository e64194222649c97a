"""The agent's side of carp.sock: answers questions, tells watchers of changes, and never waits for anybody.

A client that does not read is dropped when an answer does not fit any more; a watcher that is slow gets the latest
report when it reads again, and none of those between.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncsrv.errors import SyncsrvError
from syncsrv.failover.loop import Loop, Rank
from syncsrv.failover.messages import LARGEST, SOCKET, Answer, Ask, Refused, Watch, decode_ask, encode_answer

log = logging.getLogger(__name__)

CLIENTS_MOST = 16
ASKED_MOST = 8
"""Questions of one client that are answered in one turn of the loop."""


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    watching: bool = False
    behind: bool = False


class Server:
    """Listens at ``run_dir/carp.sock``, mode 0600.

    Args:
        run_dir: where; it must exist.
        loop: what the sockets are watched by.
        answer: gives the answer to a question; its SyncsrvError is said to whoever asked.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, run_dir: Path, loop: Loop, answer: Callable[[Ask], Answer]) -> None:
        self._loop = loop
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._latest = b""
        self._listener = _listener(run_dir)
        loop.watch(self._listener.fileno(), Rank.CLIENT, self._accept)

    @property
    def watched(self) -> bool:
        """Whether anybody wants to be told of changes."""
        return any(client.watching for client in self._clients.values())

    def tell(self, report: Answer) -> None:
        """Send it to all who watch, or keep it for those who are slow; it replaces what they were not sent yet."""
        self._latest = encode_answer(report)
        for client in list(self._clients.values()):
            if client.watching and not client.behind:
                self._send_latest(client)

    def close(self) -> None:
        """Drop everybody. The name stays: the next agent replaces it, and who asks until then is told at once."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for client in list(self._clients.values()):
            self._drop(client)

    def _accept(self, _: int) -> None:
        try:
            handle, _peer = self._listener.accept()
        except OSError as error:
            log.warning("cannot take a connection: %s", (error.strerror or str(error)).lower())
            return
        if len(self._clients) >= CLIENTS_MOST:
            handle.close()
            return
        handle.setblocking(False)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        client = _Client(handle)
        self._clients[handle.fileno()] = client
        self._watch(client)

    def _watch(self, client: _Client) -> None:
        events = select.EPOLLIN | (select.EPOLLOUT if client.behind else 0)
        self._loop.watch(client.socket.fileno(), Rank.CLIENT, lambda seen: self._ready(client, seen), events)

    def _ready(self, client: _Client, events: int) -> None:
        if events & select.EPOLLOUT and client.behind:
            client.behind = False
            self._send_latest(client)
            if client.socket.fileno() >= 0:
                self._watch(client)
        if not events & ~select.EPOLLOUT:
            return
        for _ in range(ASKED_MOST):
            if client.socket.fileno() < 0:
                return
            try:
                data = client.socket.recv(LARGEST + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop(client)
                return
            self._serve(client, data)

    def _serve(self, client: _Client, data: bytes) -> None:
        try:
            ask = decode_ask(data)
            answer = self._answer(ask)
            client.watching = client.watching or isinstance(ask, Watch)
        except SyncsrvError as error:
            answer = Refused(error.message)
        out = encode_answer(answer)
        if len(out) > LARGEST:
            out = encode_answer(Refused(f"cannot answer: the answer has {len(out)} bytes, {LARGEST} at most"))
        try:
            client.socket.send(out)
        except OSError:  # it does not read what it asked for, or has gone
            self._drop(client)

    def _send_latest(self, client: _Client) -> None:
        try:
            client.socket.send(self._latest)
        except BlockingIOError:
            client.behind = True
            self._watch(client)
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        handle = client.socket.fileno()
        if handle < 0:
            return
        self._loop.forget(handle)
        del self._clients[handle]
        client.socket.close()


def _listener(run_dir: Path) -> socket.socket:
    """Bound by way of the directory's descriptor: its path may be longer than a socket's address."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")
        listener.listen(CLIENTS_MOST)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
        os.close(directory)
    return listener
