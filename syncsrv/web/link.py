"""Web's end of its connections with core, which may be another one after every restart of core."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator

from syncsrv.control.ask import START, CoreAwayError
from syncsrv.control.connection import Answer, Connection, Stream
from syncsrv.control.dispatch import BusyError
from syncsrv.control.errors import Body
from syncsrv.control.frames import ConnectionLostError, NotSentError, close_fds
from syncsrv.control.waiting import reason
from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

AWAY_S = 1.0
"""A page waits this long for a core that was just restarted, then it says that there is none."""

AGAIN_S = 0.5
"""Before another connection is asked for in the place of one that was none."""

CALLS = 24
"""Under way at once; core takes no more than 32 of one connection and answers what is over that as busy."""

COMPARING = frozenset({"preview", "diff", "show", "audit"})
COMPARISONS = 8
"""Of the calls, those that may take seconds in core: however many are asked for, log-in, status, abort get through."""

STREAMS = 4
"""Connections for streams, beside the one for calls: a slow download holds up whatever shares its connection."""


class Link:
    """Core, as everything in web asks it. Thread-safe; one connection carries all calls, the others a stream each.

    Args:
        links: over which connected core sockets come, one for each byte that is sent for one; its end is ours.
        version: this program's version.
        away_s: seconds to wait for a core that is not there.
        keep: whether to outlive core; else the end of a connection is ours too.
        start: whether to begin at once; else there is no core until ``start`` is called.
        comparing: verbs of which only ``COMPARISONS`` are under way at once.

    Attributes:
        ended: set once no core can come any more.
    """

    def __init__(
        self,
        links: socket.socket,
        *,
        version: str = "",
        away_s: float = AWAY_S,
        keep: bool = True,
        start: bool = True,
        comparing: Collection[str] = COMPARING,
    ) -> None:
        self._links = links
        self._version = version
        self._away_s = away_s
        self._keep = keep
        self._changed = threading.Condition()
        self._connections: list[Connection] = []
        self._streaming: set[Connection] = set()
        self._calls = threading.BoundedSemaphore(CALLS)
        self._comparing = comparing
        self._comparisons = threading.BoundedSemaphore(COMPARISONS)
        self._paused = threading.Event()  # set at the end only
        self.ended = threading.Event()
        self._thread: threading.Thread | None = None
        if start:
            self.start()

    def start(self) -> None:
        """Begin to take connections."""
        self._thread = threading.Thread(target=self._take, name="links", daemon=True)
        self._thread.start()
        want(self._links, 1 + STREAMS)

    def call(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Body:
        """Ask core and wait for its reply.

        Args:
            verb: a name of the table.
            body: the request's fields.
            who: ``session:ID`` or ``token:TOKEN``; None before a log-in.
            origin: the address of the client.
            deadline_s: seconds for the whole.

        Raises:
            CoreAwayError: there is no core, or it went away before it answered: then nobody knows whether it was
                done, and it is not asked again.
            NoAnswerError: it did not answer in time.
            BusyError: too much is asked at once.
            SyncsrvError: what core answered, as the class of its exit status and code.
        """
        answer = self.ask(verb, body, who=who, origin=origin, deadline_s=deadline_s)
        close_fds(answer.fds)
        return answer.body

    def ask(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Answer:
        """Like ``call``, with the descriptors that came along; the taker closes them."""
        ends_at = time.monotonic() + deadline_s
        with contextlib.ExitStack() as held:
            if verb in self._comparing:
                held.enter_context(_place(self._comparisons, verb, COMPARISONS, ends_at))
            held.enter_context(_place(self._calls, verb, CALLS, ends_at))
            return self._ask(verb, body, who, origin, ends_at)

    def _ask(self, verb: str, body: Body | None, who: str | None, origin: str, ends_at: float) -> Answer:
        try:
            away_at = self._away_at(ends_at)
            while True:
                connection = self._connected(away_at)
                left_s = max(0.001, ends_at - time.monotonic())
                try:
                    return connection.ask(verb, body, deadline_s=left_s, person=who, origin=origin)
                except NotSentError as error:  # core has just gone: the next one may be asked
                    log.debug("not sent: %s", error)
        except ConnectionLostError as error:
            raise _away(error) from error

    def stream(
        self,
        verb: str,
        body: Body | None = None,
        *,
        who: str | None = None,
        origin: str = "",
        deadline_s: float = 60.0,
        idle_s: float = 15.0,
    ) -> Stream:
        """Ask for a reply with bytes after it; errors as in ``call``, also while it is read. Close it."""
        connection = self._idle(verb, min(deadline_s, idle_s))
        try:
            stream = connection.stream(verb, body, deadline_s=deadline_s, idle_s=idle_s, person=who, origin=origin)
        except ConnectionLostError as error:
            self._release(connection)
            raise _away(error) from error
        except BaseException:
            self._release(connection)
            raise
        stream.translate = _away
        stream.on_close = lambda: self._release(connection)
        return stream

    def wait(self, deadline_s: float) -> bool:
        """Whether there is a core, or comes one within ``deadline_s`` seconds."""
        with self._changed:
            return bool(self._changed.wait_for(self._alive, deadline_s))

    def close(self) -> None:
        """End it; ``ended`` is set when this returns."""
        self._paused.set()
        _shut(self._links)
        if self._thread is None:
            self.start()
        assert self._thread is not None
        self._thread.join()

    def _away_at(self, ends_at: float) -> float:
        return min(ends_at, time.monotonic() + self._away_s)

    def _alive(self) -> list[Connection]:
        return [connection for connection in self._connections if connection.alive]

    def _connected(self, away_at: float) -> Connection:
        with self._changed:
            if self._thread is not None:
                self._changed.wait_for(self._alive, max(0.0, away_at - time.monotonic()))
            alive = self._alive()
        if not alive:
            raise CoreAwayError(None, "it is not running", START)
        return alive[0]

    def _idle(self, verb: str, wait_s: float) -> Connection:
        """A connection without a stream, marked as having one; that of the calls only where it is the only one."""
        ends_at = time.monotonic() + wait_s
        self._connected(self._away_at(ends_at))
        with self._changed:
            self._changed.wait_for(self._without_stream, max(0.0, ends_at - time.monotonic()))
            free = self._without_stream()
            if not free:
                raise BusyError(verb, STREAMS)
            self._streaming.add(free[0])
            return free[0]

    def _without_stream(self) -> list[Connection]:
        alive = self._alive()
        return [connection for connection in alive[1:] or alive if connection not in self._streaming]

    def _release(self, connection: Connection) -> None:
        with self._changed:
            self._streaming.discard(connection)
            self._changed.notify_all()

    def _take(self) -> None:
        try:
            while (sock := received(self._links)) is not None:
                self._join(sock)
        finally:
            with self._changed:
                connections, self._connections = self._connections, []
            for connection in connections:
                connection.close()
            self._links.close()
            self.ended.set()

    def _join(self, sock: socket.socket) -> None:
        connection = Connection(sock, version=self._version, takes_fds=True)
        try:
            hello = connection.start()
        except SyncsrvError as error:
            log.info("%s", error)
            self._paused.wait(AGAIN_S)
            want(self._links)
            return
        with self._changed:
            alive = self._alive()
            self._connections = [*alive, connection]
            self._changed.notify_all()
        connection.when_closed(self._lost)
        if not alive:
            log.info("joined with core of %s", hello.node)

    def _lost(self) -> None:
        if self._keep:
            want(self._links)
        else:
            _shut(self._links)


@contextlib.contextmanager
def _place(places: threading.Semaphore, verb: str, count: int, ends_at: float) -> Iterator[None]:
    """One of ``count`` places.

    Raises:
        BusyError: none becomes free in time.
    """
    if not places.acquire(timeout=max(0.0, ends_at - time.monotonic())):
        raise BusyError(verb, count)
    try:
        yield
    finally:
        places.release()


def want(links: socket.socket, count: int = 1) -> None:
    """Ask the supervisor for connections with core; they come when there is one."""
    try:
        links.send(b"?" * count)
    except OSError as error:
        log.debug("the supervisor is gone: %s", error)


def received(links: socket.socket) -> socket.socket | None:
    """The next connected socket that the supervisor hands over; None at the end."""
    while True:
        try:
            said, fds, _, _ = socket.recv_fds(links, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            log.info("the supervisor is gone: %s", error)
            return None
        if fds:
            os.set_blocking(fds[0], True)
            return socket.socket(fileno=fds[0])
        if not said:
            return None


def _away(error: SyncsrvError) -> SyncsrvError:
    if not isinstance(error, ConnectionLostError):
        return error
    return CoreAwayError(
        None,
        f"it ended before it answered ({reason(error)})",
        "whether it was done is not known: look at the page again before you repeat it",
    )


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:  # the other end was faster
        log.debug("%s", error)
