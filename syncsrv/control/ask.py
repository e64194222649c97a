"""Ask core over its Unix socket: what the command line and web use. Standard library only."""

from __future__ import annotations

import os
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from syncsrv.control.connection import Connection, Stream
from syncsrv.control.errors import Body
from syncsrv.control.frames import ConnectionLostError, NotSentError
from syncsrv.control.waiting import NoAnswerError, reason
from syncsrv.errors import SyncsrvError

T = TypeVar("T")

_SUN_PATH = 107
"""Bytes that a Unix socket's address can hold."""
_LOOK_S = 0.1
"""Between two looks whether core is there."""


START = "start it with `systemctl start syncsrv-core`; where that is not installed, with `syncsrv serve`"


class CoreAwayError(SyncsrvError):
    """No core listens at the socket; or, without ``path``, web was handed none."""

    code = "core-away"

    def __init__(self, path: Path | None, why: str, remedy: str = START) -> None:
        super().__init__(f"cannot ask core{f' at {path}' if path else ''}: {why}", remedy)
        self.path = path


class Client:
    """One connection to core, opened at the first question.

    Args:
        path: core's socket.
        person: whom the command line speaks for (SUDO_USER as it sees it); only a label to core.
        version: this program's version.
    """

    def __init__(self, path: Path, *, person: str | None = None, version: str = "") -> None:
        self._path = path
        self._person = person
        self._version = version
        self._connection: Connection | None = None

    def call(self, verb: str, body: Body | None = None, *, deadline_s: float) -> Body:
        """Ask and wait for the reply.

        Raises:
            CoreAwayError: core is not there, or went away before it answered.
            NoAnswerError: it did not answer within ``deadline_s`` seconds.
            SyncsrvError: what core answered, as the class of its exit status and code.
        """
        return self._ask(lambda connection: connection.call(verb, body, deadline_s=deadline_s, person=self._person))

    def stream(self, verb: str, body: Body | None = None, *, deadline_s: float, idle_s: float = 30.0) -> Stream:
        """Ask for a reply with bytes after it; errors as in ``call``."""
        return self._ask(
            lambda connection: connection.stream(verb, body, deadline_s=deadline_s, idle_s=idle_s, person=self._person)
        )

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, ask: Callable[[Connection], T]) -> T:
        """Over the kept connection; over a new one where core was restarted since the last question."""
        try:
            try:
                return ask(self._connected())
            except NotSentError:
                return ask(self._connected())
        except ConnectionLostError as error:
            raise CoreAwayError(self._path, f"it ended before it answered ({reason(error)})") from error

    def _connected(self) -> Connection:
        if self._connection is None or not self._connection.alive:
            self._connection = connect(self._path, version=self._version)
        return self._connection


def connect(path: Path, *, version: str = "", deadline_s: float = 5.0) -> Connection:
    """A started connection to the socket at ``path``.

    Raises:
        CoreAwayError: nothing listens there, or it does not say HELLO in time.
        ProtocolMismatchError: it speaks another protocol.
    """
    connection = Connection(connect_socket(path, deadline_s), version=version)
    try:
        connection.start(deadline_s)
    except (ConnectionLostError, NoAnswerError) as error:
        raise CoreAwayError(path, f"it does not answer ({reason(error)})") from error
    return connection


def connect_socket(path: Path, deadline_s: float = 5.0) -> socket.socket:
    """A socket that is connected to ``path``.

    Raises:
        CoreAwayError: nothing listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(deadline_s)
        with address(path) as name:
            sock.connect(name)
    except OSError as error:
        sock.close()
        raise CoreAwayError(path, _why(error)) from error
    return sock


def await_socket(path: Path, wait_s: float) -> socket.socket:
    """As ``connect_socket``, for who is started together with core: waits for it, at most ``wait_s`` seconds."""
    ends_at = time.monotonic() + wait_s
    while True:
        try:
            return connect_socket(path)
        except CoreAwayError:
            if time.monotonic() >= ends_at:
                raise
        select.poll().poll(_LOOK_S * 1000)


def hand_over(links: socket.socket, path: Path, wait_s: float = 0.0) -> None:
    """Give web, which reaches no path, a connection with core.

    Args:
        links: the supervisor's end of the socket over which web asked for it.
        path: core's web.sock.
        wait_s: seconds to wait for core.

    Raises:
        CoreAwayError: there is no core yet, or none any more.
        OSError: web is gone, or does not take what it asked for: no supervisor ever waits for it.
    """
    with await_socket(path, wait_s) as sock:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [sock.fileno()]))]
        links.sendmsg([b"c"], rights, socket.MSG_DONTWAIT)  # send_fds ignores its flags


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A Unix socket's address for ``path``, however long that is: the kernel takes 107 bytes only."""
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is not running (no such socket)"
    if isinstance(error, ConnectionRefusedError):
        return "it is not running (nobody listens)"
    if isinstance(error, PermissionError):
        return "permission denied"
    return (error.strerror or str(error)).lower()
