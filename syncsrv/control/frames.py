"""Typed frames over any stream socket: how the processes of a node, and nodes through SSH, talk. Standard library only.

A frame is a header of nine bytes (length of the payload, kind, number of the call; big endian) and its payload:
JSON, except for BYTES. Both sides send HELLO first and wait for the other's; unequal protocols never talk. Each side
numbers its own calls, so both may ask over one connection. A stream is a REPLY, any number of BYTES and an END, or an
ERROR in their place. On Unix sockets file descriptors may travel with a frame's header, where the receiver expects
them; elsewhere the kernel closes what was sent.
"""

from __future__ import annotations

import array
import contextlib
import enum
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from syncsrv.errors import SyncsrvError
from syncsrv.version import PROTOCOL

HEADER = struct.Struct(">IBI")
CHUNK = 1024 * 1024
MAX_FDS = 8
PAYLOAD_S = 30.0
"""Nobody holds a reader with half a frame for longer."""


class Kind(enum.IntEnum):
    """What a frame is; the numbers travel."""

    HELLO = 1
    REQUEST = 2
    REPLY = 3
    ERROR = 4
    BYTES = 5
    END = 6
    CANCEL = 7


LIMITS = {
    Kind.HELLO: 4096,
    Kind.REQUEST: 1024 * 1024,
    Kind.REPLY: 64 * 1024 * 1024,
    Kind.ERROR: 64 * 1024,
    Kind.BYTES: CHUNK,
    Kind.END: 0,
    Kind.CANCEL: 0,
}
"""The largest payload of each kind, in bytes; a header that says more ends the connection before a byte is read."""


class BadFrameError(SyncsrvError):
    """The other side sent what is no frame of ours; ``reason`` is one word, for counting."""

    code = "bad-frame"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"cannot understand the other side: {detail}", "the connection was closed")
        self.reason = reason


class TooLargeError(SyncsrvError):
    """What we wanted to send is over the limit of its kind; nothing of it was sent."""

    code = "too-large"

    def __init__(self, kind: Kind, size: int) -> None:
        super().__init__(
            f"cannot send a {kind.name.lower()} of {size} bytes: {LIMITS[kind]} are the most", "ask for less at once"
        )


class ProtocolMismatchError(SyncsrvError):
    """The other side speaks another protocol version; no guard and no force can change that."""

    code = "protocol"

    def __init__(self, theirs: int, their_node: str, their_version: str) -> None:
        who = their_node or "the other side"
        super().__init__(
            f"cannot talk to {who}: it speaks protocol {theirs} (syncsrv {their_version}), this is protocol {PROTOCOL}",
            "install the same version of syncsrv on both nodes",
        )
        self.theirs = theirs


class ConnectionLostError(SyncsrvError):
    """The connection ended before what was asked for had come."""

    code = "connection-lost"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot go on with this connection: {why}")


class NotSentError(ConnectionLostError):
    """The connection ended before the request was out: it was not done, and may be asked again elsewhere."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``fds`` belong to whoever takes the frame."""

    kind: Kind
    call: int
    payload: bytes = b""
    fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Hello:
    """What a side says about itself before anything else."""

    protocol: int
    version: str
    node: str


def decode_json(payload: bytes) -> object:
    """JSON from another process: no NaN, no nesting that exhausts the stack.

    Raises:
        BadFrameError: it is not JSON.
    """
    try:
        return json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadFrameError("json", "its JSON cannot be read") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def encode_json(value: object) -> bytes:
    """JSON as it travels; lone surrogates (file names that are no UTF-8) survive as escapes."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class Wire:
    """Frames in and out of one connected socket. One thread reads; any number write.

    Args:
        sock: a connected stream socket; the wire owns it from now on.
        takes_fds: whether descriptors that come with a frame are taken.
        payload_s: seconds within which a payload whose header came must be whole.
    """

    def __init__(self, sock: socket.socket, *, takes_fds: bool = False, payload_s: float = PAYLOAD_S) -> None:
        sock.settimeout(None)
        self._sock = sock
        self._takes_fds = takes_fds
        self._payload_s = payload_s
        self._write_lock = threading.Lock()
        self._receive_timeout_s = 0.0

    def send(self, frame: Frame, deadline_s: float) -> None:
        """Write one frame whole, within ``deadline_s`` seconds.

        Raises:
            TooLargeError: it is over the limit of its kind; the stream is as before.
            ConnectionLostError: it could not be written in time or at all; the stream is useless afterwards.
        """
        if len(frame.payload) > LIMITS[frame.kind]:
            raise TooLargeError(frame.kind, len(frame.payload))
        ends_at = time.monotonic() + deadline_s
        if not self._write_lock.acquire(timeout=max(0.0, deadline_s)):
            raise ConnectionLostError("the other side does not read")
        try:
            head = HEADER.pack(len(frame.payload), frame.kind, frame.call)
            if frame.fds:
                sent = self._write_some([memoryview(head)], ends_at, frame.fds)
                self._write_all(memoryview(head[sent:] + frame.payload), ends_at)
            elif len(frame.payload) <= 65536:
                self._write_all(memoryview(head + frame.payload), ends_at)
            else:
                self._write_all(memoryview(head), ends_at)
                self._write_all(memoryview(frame.payload), ends_at)
        except OSError as error:
            self.shut()
            slow = isinstance(error, BlockingIOError)
            raise ConnectionLostError("the other side does not read" if slow else _why(error)) from error
        finally:
            self._write_lock.release()

    def _write_all(self, data: memoryview, ends_at: float) -> None:
        while data:
            data = data[self._write_some([data], ends_at, ()) :]

    def _write_some(self, parts: list[memoryview], ends_at: float, fds: Sequence[int]) -> int:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            raise BlockingIOError
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(left_s))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        return self._sock.sendmsg(parts, ancillary)

    def read(self, deadline_s: float | None = None) -> Frame | None:
        """The next frame; None when the other side ended the stream between two frames.

        Args:
            deadline_s: seconds to wait for it to begin; None for ever.

        Raises:
            BadFrameError: what came is no frame.
            ConnectionLostError: the stream broke, or nothing came in time.
        """
        fds: list[int] = []
        try:
            head = self._read_exactly(HEADER.size, deadline_s or 0.0, fds if self._takes_fds else None)
            if not head:
                return None
            if len(head) != HEADER.size:
                raise BadFrameError("short", "it ended within a header")
            length, number, call = HEADER.unpack(head)
            kind = _kind(number)
            if length > LIMITS[kind]:
                raise BadFrameError("size", f"a {kind.name} of {length} bytes is over its limit of {LIMITS[kind]}")
            payload = self._read_exactly(length, self._payload_s, None) if length else b""
            if len(payload) != length:
                raise BadFrameError("short", "it ended within a frame")
            frame = Frame(kind, call, payload, tuple(fds))
            fds = []
            return frame
        except BlockingIOError as error:
            raise ConnectionLostError("the other side stopped talking") from error
        except OSError as error:
            raise ConnectionLostError(_why(error)) from error
        finally:
            close_fds(fds)

    def _read_exactly(self, count: int, timeout_s: float, fds: list[int] | None) -> bytes:
        """``count`` bytes, fewer where the stream ended before."""
        if timeout_s != self._receive_timeout_s:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            self._receive_timeout_s = timeout_s
        buffer = bytearray(count)
        view = memoryview(buffer)
        have = 0
        while have < count:
            got = self._sock.recv_into(view[have:]) if fds is None else self._receive_with_fds(view[have:], fds)
            if got == 0:
                return bytes(buffer[:have])
            have += got
        return bytes(buffer)

    def _receive_with_fds(self, view: memoryview, fds: list[int]) -> int:
        space = socket.CMSG_LEN(MAX_FDS * array.array("i").itemsize)
        got, ancillary, flags, _ = self._sock.recvmsg_into([view], space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                fds.extend(numbers)
        if flags & socket.MSG_CTRUNC or len(fds) > MAX_FDS:
            raise BadFrameError("fds", "it sent too many descriptors")
        return got

    def greet(self, version: str, node: str, deadline_s: float) -> Hello:
        """Send HELLO, wait for theirs.

        Raises:
            ProtocolMismatchError: they speak another protocol.
            BadFrameError: what came is no HELLO.
            ConnectionLostError: nothing came in time.
        """
        ends_at = time.monotonic() + deadline_s
        hello = {"protocol": PROTOCOL, "version": version, "node": node}
        self.send(Frame(Kind.HELLO, 0, encode_json(hello)), deadline_s)
        frame = self.read(max(0.001, ends_at - time.monotonic()))
        if frame is None:
            raise ConnectionLostError("the other side closed it without a word")
        close_fds(frame.fds)
        if frame.kind is not Kind.HELLO:
            raise BadFrameError("hello", "it did not begin with HELLO")
        return _hello(frame.payload)

    def shut(self) -> None:
        """End the stream both ways: a reader that waits returns at once."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back; only when no thread reads any more (writers are waited for: shut ends them)."""
        self.shut()
        with self._write_lock:
            self._sock.close()


def _hello(payload: bytes) -> Hello:
    value = decode_json(payload)
    if not isinstance(value, dict):
        raise BadFrameError("hello", "its HELLO is no object")
    protocol, version, node = value.get("protocol"), value.get("version"), value.get("node")
    if type(protocol) is not int or not isinstance(version, str) or not isinstance(node, str):
        raise BadFrameError("hello", "its HELLO lacks protocol, version or node")
    hello = Hello(protocol, printable(version)[:64], printable(node)[:64])
    if protocol != PROTOCOL:
        raise ProtocolMismatchError(protocol, hello.node, hello.version)
    return hello


def printable(text: str) -> str:
    """Text from another process as it may be shown: no control character reaches a terminal or a log."""
    return "".join(char if char == "\n" or char.isprintable() else "�" for char in text)


def close_fds(fds: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError as error:
        raise BadFrameError("kind", f"it sent a frame of kind {number}") from error


def _timeval(seconds: float) -> bytes:
    """A struct timeval; zero means for ever, so a short wait is rounded up."""
    micros = max(1000, int(seconds * 1e6)) if seconds > 0 else 0
    return struct.pack("@ll", micros // 1_000_000, micros % 1_000_000)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
