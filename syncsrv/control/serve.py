"""Serve the table over Unix sockets and over sockets that were handed to us.

One reader a connection, one bounded set of workers a door: a handler that takes long holds up neither the other
requests of its connection nor those of another door.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import BusyError, Call, Caller, Claim, Dispatcher, Handler, named_person, refuse
from syncsrv.control.frames import BadFrameError, Frame, close_fds
from syncsrv.control.sockets import listen, local_person
from syncsrv.control.verbs import Door, Verb
from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked at once.

    Attributes:
        connections: open connections of one door; more at its listening socket are closed at once.
        calls: requests under way of one connection; more are answered as busy.
        workers: handlers at work for one door.
        hello_s: seconds within which a connection must say HELLO.
    """

    connections: int = 64
    calls: int = 32
    workers: int = 32
    hello_s: float = 5.0


Identify: TypeAlias = Callable[[socket.socket], Caller | None]
"""Says who is at the other end of an accepted socket; None: not to be served."""

OnConnection: TypeAlias = Callable[[Connection, Caller], None]
"""Told of a connection that said HELLO."""


class Server:
    """Everything that may be asked of this process.

    Args:
        table: name to verb.
        handlers: name to handler.
        node: this node's name.
        version: this program's version.
        claim: whom a request counts for, given who the socket says it is.
        limits: see Limits.
    """

    def __init__(
        self,
        table: Mapping[str, Verb],
        handlers: Mapping[str, Handler],
        *,
        node: str,
        version: str,
        claim: Claim = named_person,
        limits: Limits | None = None,
    ) -> None:
        self._dispatcher = Dispatcher(table, handlers, version=version, claim=claim)
        self._node = node
        self._version = version
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._closed = False
        self._ending = threading.Event()
        self._listeners: list[tuple[socket.socket, Path, threading.Thread]] = []
        self._served: set[_Served] = set()
        self._workers: dict[Door, ThreadPoolExecutor] = {}
        self._starting: set[threading.Thread] = set()
        self.counts: Counter[str] = Counter()

    def serve_unix(
        self,
        path: Path,
        door: Door,
        *,
        mode: int,
        group: int | None = None,
        identify: Identify | None = None,
        on_connection: OnConnection | None = None,
    ) -> None:
        """Listen at ``path`` and serve who connects.

        Args:
            path: made new; what a dead process left there is replaced.
            door: which column of the table applies.
            mode: its permissions.
            group: its group, by number; None leaves ours.
            identify: who connects; default: by the kernel's word, see ``local_person``.
            on_connection: told of each connection once it said HELLO; for a door that we ask too.

        Raises:
            SocketInUseError, ListenError: nothing listens then.
        """
        listener = listen(path, mode, group)
        who = identify or (lambda sock: local_person(sock, door))
        thread = threading.Thread(
            target=self._accept, args=(listener, door, who, on_connection), name=f"accept {path.name}", daemon=True
        )
        with self._lock:
            self._listeners.append((listener, path, thread))
        thread.start()

    def serve_socket(self, sock: socket.socket, caller: Caller, *, takes_fds: bool = False) -> Connection:
        """Serve one connected socket; returns once HELLO is exchanged. We may ask over it too.

        Raises:
            ProtocolMismatchError, BadFrameError, ConnectionLostError: and it is closed.
        """
        connection = self._served_connection(sock, caller, takes_fds)
        connection.start(self._limits.hello_s)
        return connection

    def start_socket(
        self,
        sock: socket.socket,
        caller: Caller,
        *,
        takes_fds: bool = False,
        on_connection: OnConnection | None = None,
    ) -> Connection:
        """Like ``serve_socket``, but does not wait for HELLO: a failure is only counted and logged."""
        connection = self._served_connection(sock, caller, takes_fds)
        thread = threading.Thread(
            target=self._begin, args=(connection, caller, on_connection), name="hello", daemon=True
        )
        with self._lock:
            self._starting.add(thread)
        thread.start()
        return connection

    def close(self, deadline_s: float = 10.0) -> None:
        """Stop listening, end every connection, wait for the handlers."""
        with self._lock:
            self._closed = True
            self._ending.set()
            listeners, self._listeners = self._listeners, []
            served = list(self._served)
            workers = list(self._workers.values())
        for listener, path, thread in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(deadline_s)
            listener.close()
            path.unlink(missing_ok=True)
        for one in served:
            one.connection.close()
        with self._lock:
            starting = list(self._starting)
        for thread in starting:
            thread.join(deadline_s)
        for pool in workers:
            pool.shutdown(wait=True, cancel_futures=True)

    def _accept(
        self, listener: socket.socket, door: Door, identify: Identify, on_connection: OnConnection | None
    ) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if self._closed:
                    return
                log.warning("cannot accept a connection: %s", error)  # descriptors ran out: others must end first
                self._ending.wait(0.1)
                continue
            with self._lock:
                open_now = sum(1 for served in self._served if served.caller.door is door)
            many = open_now >= self._limits.connections
            caller = None if many else identify(sock)
            if caller is None:
                self.counts["too many connections" if many else "not allowed"] += 1
                sock.close()
                continue
            self.start_socket(sock, caller, takes_fds=caller.door is Door.DOOR, on_connection=on_connection)

    def _served_connection(self, sock: socket.socket, caller: Caller, takes_fds: bool) -> Connection:
        served = _Served(self, self._dispatcher, sock, caller, self._limits.calls, takes_fds)
        with self._lock:
            self._served.add(served)
            closed = self._closed
        if closed:
            served.connection.close()
        return served.connection

    def _begin(self, connection: Connection, caller: Caller, on_connection: OnConnection | None) -> None:
        try:
            connection.start(self._limits.hello_s)
            if on_connection is not None:
                on_connection(connection, caller)
        except SyncsrvError as error:
            log.info("%s: %s", caller.label or caller.door, error)
        finally:
            with self._lock:
                self._starting.discard(threading.current_thread())

    def _submit(self, door: Door, work: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise BadFrameError("closed", "this process is ending")
            pool = self._workers.get(door)
            if pool is None:
                pool = self._workers[door] = ThreadPoolExecutor(self._limits.workers, f"{door} request")
            pool.submit(work)

    def _gone(self, served: _Served, why: SyncsrvError) -> None:
        with self._lock:
            self._served.discard(served)
            if isinstance(why, BadFrameError):
                self.counts[f"bad frame: {why.reason}"] += 1
        if isinstance(why, BadFrameError):
            log.warning("%s: %s", served.caller.label or served.caller.door, why)


class _Served:
    """One connection and its requests under way."""

    def __init__(
        self,
        server: Server,
        dispatcher: Dispatcher,
        sock: socket.socket,
        caller: Caller,
        limit: int,
        takes_fds: bool,
    ) -> None:
        self.caller = caller
        self._server = server
        self._dispatcher = dispatcher
        self._limit = limit
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self.connection = Connection(
            sock,
            node=server._node,
            version=server._version,
            on_request=self._request,
            on_cancel=self._cancel,
            on_closed=self._closed,
            takes_fds=takes_fds,
        )

    def _request(self, frame: Frame) -> None:
        try:
            call, envelope = self._dispatcher.begin(frame)
        except BadFrameError:
            close_fds(frame.fds)
            raise
        with self._lock:
            twice = frame.call in self._calls
            busy = len(self._calls) >= self._limit
            if not twice and not busy:
                self._calls[frame.call] = call
        if twice or busy:
            close_fds(call.fds)
            if twice:
                raise BadFrameError("number", "it used the number of a call that is under way")
            self._server.counts["busy"] += 1
            refuse(self.connection, frame.call, BusyError(call.verb[:40], self._limit))
            return

        def work() -> None:
            try:
                self._dispatcher.answer(self.connection, self.caller, frame.call, call, envelope)
            finally:
                with self._lock:
                    self._calls.pop(frame.call, None)

        self._server._submit(self.caller.door, work)

    def _cancel(self, number: int) -> None:
        with self._lock:
            call = self._calls.get(number)
        if call is not None:
            call.gone.set()

    def _closed(self, why: SyncsrvError) -> None:
        with self._lock:
            calls = list(self._calls.values())
        for call in calls:
            call.gone.set()
        self._server._gone(self, why)
