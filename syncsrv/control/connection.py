"""One connection, both sides of which may ask. Standard library only: the command line uses it too.

A reader thread sorts what comes: answers to the calls that wait for them, requests to ``on_request``. It never
handles a request itself, so an answer is never held up by a handler that waits for another one.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from syncsrv.control.errors import Body, rebuild_error
from syncsrv.control.frames import (
    BadFrameError,
    ConnectionLostError,
    Frame,
    Hello,
    Kind,
    NotSentError,
    Wire,
    close_fds,
    decode_json,
    encode_json,
)
from syncsrv.control.waiting import NoAnswerError, Pending, Waits, reason
from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

SEND_S = 30.0
"""Seconds within which the other side must take a frame."""


class Answer:
    """The reply to a call, with the descriptors that came with it (the taker closes them)."""

    def __init__(self, body: Body, fds: tuple[int, ...]) -> None:
        self.body = body
        self.fds = fds


class Stream:
    """The reply to a streaming call and, by iteration, its bytes. Close it, or iterate to the end.

    Attributes:
        reply: what came before the bytes.
        translate: turns what goes wrong while it is read into what it means to the reader.
        on_close: told once when it is over.
    """

    def __init__(self, connection: Connection, call: int, pending: Pending, waits: Waits) -> None:
        self._connection = connection
        self._call = call
        self._pending = pending
        self._waits = waits
        self._ended = False
        self._closed = False
        self.translate: Callable[[SyncsrvError], SyncsrvError] = lambda error: error
        self.on_close: Callable[[], None] = lambda: None
        try:
            frame = connection._next(pending, waits)
            if frame.kind is not Kind.REPLY:
                raise BadFrameError("order", "it sent bytes before the reply")
            close_fds(frame.fds)
            self.reply = _object(frame.payload)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        try:
            while not self._ended:
                frame = self._connection._next(self._pending, self._waits)
                if frame.kind is Kind.END:
                    self._ended = True
                elif frame.kind is Kind.BYTES:
                    yield frame.payload
                else:
                    raise BadFrameError("order", "it sent a second reply")
        except SyncsrvError as error:
            translated = self.translate(error)
            if translated is error:
                raise
            raise translated from error
        finally:
            self.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Tell the other side that no more is wanted, unless all came."""
        self._connection._drop(self._call, cancel=not self._ended)
        if not self._closed:
            self._closed = True
            self.on_close()


class Connection:
    """Calls over a connected socket, and the other side's calls where ``on_request`` takes them.

    Args:
        sock: connected; the connection owns it.
        node: this node's name for HELLO, empty for a command line.
        version: this program's version for HELLO.
        on_request: gets each REQUEST frame, must not block; None: the other side may not ask.
        on_cancel: gets the number of a call that the other side no longer wants.
        on_closed: called once, with the reason, when the connection has ended.
        takes_fds: whether descriptors may come.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        node: str = "",
        version: str = "",
        on_request: Callable[[Frame], None] | None = None,
        on_cancel: Callable[[int], None] | None = None,
        on_closed: Callable[[SyncsrvError], None] | None = None,
        takes_fds: bool = False,
    ) -> None:
        self._wire = Wire(sock, takes_fds=takes_fds)
        self._node = node
        self._version = version
        self._on_request = on_request
        self._on_cancel = on_cancel
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._pending: dict[int, Pending] = {}
        self._number = 0
        self._lost: SyncsrvError | None = None
        self._reader: threading.Thread | None = None
        self._starting = False
        self._told: list[Callable[[], None]] = []
        self.hello = Hello(0, "", "")

    def start(self, deadline_s: float = 5.0) -> Hello:
        """Exchange HELLO and begin to read.

        Raises:
            ProtocolMismatchError, BadFrameError, ConnectionLostError: and the socket is closed.
        """
        with self._lock:
            if self._lost is not None:
                raise ConnectionLostError(reason(self._lost))
            self._starting = True
        try:
            self.hello = self._wire.greet(self._version, self._node, deadline_s)
            reader = threading.Thread(target=self._read, name=f"frames {self.hello.node}", daemon=True)
            with self._lock:
                if self._lost is not None:
                    raise ConnectionLostError(reason(self._lost))
                self._reader = reader
        except SyncsrvError as error:
            self._end(error)
            self._wire.close()
            raise
        reader.start()
        return self.hello

    @property
    def alive(self) -> bool:
        """Whether nothing has ended it yet."""
        return self._lost is None and self._reader is not None

    @property
    def ended(self) -> bool:
        """Whether it is over; one that has not begun is neither alive nor ended."""
        return self._lost is not None

    def when_closed(self, told: Callable[[], None]) -> None:
        """Call ``told`` once when the connection has ended; at once where it has."""
        with self._lock:
            if self._lost is None:
                self._told.append(told)
                return
        told()

    def call(
        self, verb: str, body: Body | None = None, *, deadline_s: float, person: str | None = None, origin: str = ""
    ) -> Body:
        """Ask and wait for the reply.

        Args:
            verb: a name of the table.
            body: the request's fields.
            deadline_s: seconds after which NoAnswerError is raised.
            person: whom the caller speaks for; what that is worth is decided at the other end.
            origin: the address that web was asked from; it counts there only.

        Raises:
            SyncsrvError: what the other side answered, as the class of its exit status and code.
            NotSentError: the connection was over; nothing was asked.
            NoAnswerError, ConnectionLostError: it did not answer; whether it was done is unknown.
        """
        answer = self.ask(verb, body, deadline_s=deadline_s, person=person, origin=origin)
        close_fds(answer.fds)
        return answer.body

    def ask(
        self,
        verb: str,
        body: Body | None = None,
        *,
        deadline_s: float,
        person: str | None = None,
        origin: str = "",
        fds: Sequence[int] = (),
    ) -> Answer:
        """Like ``call``, with descriptors both ways; ``fds`` stay the caller's."""
        waits = Waits(verb, deadline_s)
        number, pending = self._request(waits, body, person, origin, fds)
        answered = False
        try:
            frame = self._next(pending, waits)
            answered = True
            if frame.kind is not Kind.REPLY:
                close_fds(frame.fds)
                raise BadFrameError("order", "it answered a call with a stream")
            return Answer(_object(frame.payload), frame.fds)
        except SyncsrvError as error:
            answered = answered or not isinstance(error, NoAnswerError)
            raise
        finally:
            self._drop(number, cancel=not answered)

    def stream(
        self,
        verb: str,
        body: Body | None = None,
        *,
        deadline_s: float,
        idle_s: float = 30.0,
        person: str | None = None,
        origin: str = "",
    ) -> Stream:
        """Ask for a reply with bytes after it.

        Args:
            verb: a streaming name of the table.
            body: the request's fields.
            deadline_s: seconds for the whole stream.
            idle_s: seconds for each frame of it.
            person: as in ``call``.
            origin: as in ``call``.

        Raises:
            SyncsrvError: as ``call``; also while the stream is iterated.
        """
        waits = Waits(verb, deadline_s, idle_s)
        number, pending = self._request(waits, body, person, origin, ())
        return Stream(self, number, pending, waits)

    def send(self, frame: Frame, deadline_s: float = SEND_S) -> None:
        """Write a frame: what a server uses for replies.

        Raises:
            ConnectionLostError: it could not be written.
        """
        try:
            self._wire.send(frame, deadline_s)
        except ConnectionLostError as error:
            self._end(error)
            raise

    def close(self) -> None:
        """End it; calls that wait fail, the reader has ended when this returns."""
        self.shut()
        reader = self._reader
        if reader is None:
            if not self._starting:
                self._wire.close()
        elif reader is not threading.current_thread() and reader.ident is not None:
            reader.join()

    def shut(self) -> None:
        """End it without waiting for its reader."""
        self._end(ConnectionLostError("it was closed here"))

    def _request(
        self, waits: Waits, body: Body | None, person: str | None, origin: str, fds: Sequence[int]
    ) -> tuple[int, Pending]:
        request: Body = {"verb": waits.verb, "body": body or {}}
        if person is not None:
            request["as"] = person
        if origin:
            request["from"] = origin
        payload = encode_json(request)
        pending = Pending()
        with self._lock:
            if self._lost is not None:
                raise NotSentError(reason(self._lost))
            self._number = self._number % 0xFFFFFFFF + 1
            number = self._number
            self._pending[number] = pending
        try:
            self.send(Frame(Kind.REQUEST, number, payload, tuple(fds)), min(waits.deadline_s, SEND_S))
        except ConnectionLostError as error:
            self._drop(number, cancel=False)
            raise NotSentError(reason(error)) from error
        except SyncsrvError:
            self._drop(number, cancel=False)
            raise
        return number, pending

    def _next(self, pending: Pending, waits: Waits) -> Frame:
        frame = pending.take(waits.next_at())
        if frame is None:
            raise NoAnswerError(waits.verb, waits.deadline_s if waits.idle_s is None else waits.idle_s)
        if frame.kind is Kind.ERROR:
            close_fds(frame.fds)
            raise rebuild_error(_object(frame.payload))
        return frame

    def _drop(self, number: int, *, cancel: bool) -> None:
        with self._lock:
            pending = self._pending.pop(number, None)
        if pending is None:
            return
        pending.abandon()
        if cancel and self._lost is None:
            try:
                self.send(Frame(Kind.CANCEL, number), 1.0)
            except ConnectionLostError as error:
                log.debug("could not cancel call %d: %s", number, error)

    def _read(self) -> None:
        why: SyncsrvError = ConnectionLostError("the other side closed it")
        try:
            while (frame := self._wire.read()) is not None:
                self._sort(frame)
        except SyncsrvError as error:
            why = error
        self._end(why)
        self._wire.close()

    def _sort(self, frame: Frame) -> None:
        if frame.kind is Kind.REQUEST:
            if self._on_request is None:
                close_fds(frame.fds)
                raise BadFrameError("request", "it asks where it may only answer")
            self._on_request(frame)
        elif frame.kind is Kind.CANCEL:
            close_fds(frame.fds)
            if self._on_cancel is not None:
                self._on_cancel(frame.call)
        elif frame.kind is Kind.HELLO:
            close_fds(frame.fds)
            raise BadFrameError("hello", "it said HELLO twice")
        else:
            with self._lock:
                pending = self._pending.get(frame.call)
            if pending is None:  # an answer that came after its deadline
                close_fds(frame.fds)
            else:
                pending.offer(frame)

    def _end(self, why: SyncsrvError) -> None:
        with self._lock:
            if self._lost is not None:
                return
            self._lost = why
            pendings = list(self._pending.values())
            told, self._told = self._told, []
        self._wire.shut()
        for pending in pendings:
            pending.lose(why)
        if self._on_closed is not None:
            self._on_closed(why)
        for tell in told:
            tell()


def _object(payload: bytes) -> Body:
    value = decode_json(payload)
    if not isinstance(value, dict):
        raise BadFrameError("json", "its answer is no object")
    return value
