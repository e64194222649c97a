"""Both ends of the traffic that a failover must not break: a program of its own, for figures.

    python flows.py server ADDRESS
    python flows.py client ADDRESS

At the server's address, PORT is a transfer that goes both ways at once, PORT + 1 echoes over TCP and PORT + 2 over UDP.
Each end writes `ready`, obeys the lines of its standard input, and answers each with one JSON object. The client:

    open N     N more connections, each of which has to echo once
    ask S      have each connection echo; who has not after so many seconds is silent
    end        bring the transfer to its end
    came       records of the transfer that have come; the server's answer too
    seen       what it saw; the server's answer too

All times are CLOCK_MONOTONIC seconds, so that they stand beside those of whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

PORT = 5000
PRIORITY = 30
"""Below the agents under test, which must never wait for us."""

PROBE_S = 0.01
"""Between two packets over UDP."""
PACE_S = 0.002
"""Between two records of the transfer, each way."""
RECORD = 4096
QUEUE = 16 * RECORD
"""What waits to be sent at most; after a stall it all comes at once."""
GAP_S = 0.03
"""A silence of the transfer that is remembered."""
OPEN_S = 10.0
END_S = 20.0

_HEAD = struct.Struct("!QII")  # number, length and checksum of what follows
_PROBE = struct.Struct("!Q")
_TOKEN = struct.Struct("!QQ")


class Transfer:
    """One end of a connection on which both send numbered records with checksums, each at its pace, until told to end.

    The last record is empty. What is wrong is kept in ``error``, the first of it.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.sent = self.came = 0
        self.ending = self.told_end = self.heard_end = False
        self.error = ""
        self.gaps: list[tuple[float, float]] = []
        self._out = b""
        self._in = b""
        self._shut = self._deaf = False
        self._next_at = self._came_at = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it: both have ended it, or it broke."""
        return bool(self.error) or (self._shut and self._deaf)

    def tend(self, now: float) -> None:
        """Send what is due, as far as the connection takes it."""
        if self.over:
            return
        while self._next_at <= now and len(self._out) < QUEUE and not self.told_end:
            self._next_at += PACE_S
            self.told_end = self.ending
            content = b"" if self.ending else random.Random(self.sent).randbytes(RECORD)
            self._out += _HEAD.pack(self.sent, len(content), zlib.crc32(content, self.sent)) + content
            self.sent += not self.ending
        with self._noticing():
            self._out = self._out[self.connection.send(self._out) :] if self._out else b""
            if self.told_end and not self._out and not self._shut:
                self._shut = True
                self.connection.shutdown(socket.SHUT_WR)

    def hear(self) -> bool:
        """Take what came, and see that it is what should come next; whether more may come."""
        with self._noticing():
            data = self.connection.recv(1 << 18)
            now = time.monotonic()
            if now - self._came_at > GAP_S:
                self.gaps.append((self._came_at, now))
            self._came_at = now
            if not data and not self.heard_end:
                raise ConnectionError("it ended before its last record")
            self._deaf = not data
            self._in += data
            self._check()
        return not self._deaf and not self.error

    def _check(self) -> None:
        while len(self._in) >= _HEAD.size:
            number, length, checksum = _HEAD.unpack_from(self._in)
            if len(self._in) < _HEAD.size + length:
                return
            content = self._in[_HEAD.size : _HEAD.size + length]
            self._in = self._in[_HEAD.size + length :]
            if number != self.came or self.heard_end or zlib.crc32(content, number) != checksum:
                raise ConnectionError(f"record {number} came where {self.came} should")
            self.heard_end = length == 0
            self.came += length > 0
        self.ending = self.ending or self.heard_end

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = self.error or error.strerror or str(error)

    def said(self) -> dict[str, Any]:
        whole = self.told_end and self.heard_end and not self._in and not self._out
        return {"sent": self.sent, "came": self.came, "whole": whole, "error": self.error, "gaps": self.gaps}


class Loop:
    """Sockets and what is done when there is something on them, and the lines of standard input."""

    def __init__(self, orders: dict[str, Callable[..., None]]) -> None:
        self._poll = select.epoll()
        self._hear: dict[int, Callable[[int], None]] = {}
        self._orders = orders
        self._input = b""
        self.add(sys.stdin.fileno(), self._obey)

    def add(self, handle: int, hear: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        self._hear[handle] = hear
        self._poll.register(handle, events)

    def change(self, handle: int, events: int) -> None:
        self._poll.modify(handle, events)

    def drop(self, handle: int) -> None:
        self._poll.unregister(handle)
        del self._hear[handle]

    def turn(self, until_at: float) -> None:
        """Wait for something, at most until then, and do it."""
        for handle, events in self._poll.poll(max(0.0, until_at - time.monotonic())):
            if handle in self._hear:
                self._hear[handle](events)

    def _obey(self, _: int) -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            raise SystemExit(0)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            word, *rest = line.decode().split()
            self._orders[word](*map(int, rest))


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


class Server:
    """The far end: it answers, and tells how its end of the transfer went."""

    def __init__(self, address: str) -> None:
        self.loop = Loop({"came": lambda: say(self.transfer.came if self.transfer else 0), "seen": self.seen})
        self.transfer: Transfer | None = None
        self.lost: list[str] = []
        for port, accept in ((PORT, self.accept_transfer), (PORT + 1, self.accept_echo)):
            listener = socket.create_server((address, port), backlog=1024)
            listener.setblocking(False)
            self.loop.add(listener.fileno(), partial(self.take, listener, accept))
        self.probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.probe.bind((address, PORT + 2))
        self.loop.add(self.probe.fileno(), self.answer)

    def take(self, listener: socket.socket, accept: Callable[[socket.socket], None], _: int) -> None:
        accept(listener.accept()[0])

    def accept_transfer(self, connection: socket.socket) -> None:
        transfer = self.transfer = Transfer(connection)

        def hear(_: int) -> None:
            if not transfer.hear():
                self.loop.drop(connection.fileno())

        self.loop.add(connection.fileno(), hear)

    def accept_echo(self, connection: socket.socket) -> None:
        def hear(_: int) -> None:
            data = b""
            try:
                data = connection.recv(4096)
                connection.sendall(data)
            except OSError as error:
                self.lost.append(error.strerror or str(error))
            if not data:
                self.loop.drop(connection.fileno())
                connection.close()

        self.loop.add(connection.fileno(), hear)

    def answer(self, _: int) -> None:
        with contextlib.suppress(OSError):  # no route, no neighbour: it is not answered, which is what counts
            data, peer = self.probe.recvfrom(4096)
            self.probe.sendto(data, peer)

    def seen(self) -> None:
        say({"transfer": self.transfer.said() if self.transfer else None, "lost": self.lost})

    def run(self) -> None:
        while True:
            now = time.monotonic()
            if self.transfer is not None:
                self.transfer.tend(now)
            self.loop.turn(now + PACE_S)


class Client:
    """The near end: it opens everything, asks, and tells what it saw."""

    def __init__(self, address: str) -> None:
        self.address = address
        orders: dict[str, Callable[..., None]] = {
            "open": self.open,
            "ask": self.ask,
            "end": self.end,
            "seen": self.seen,
        }
        orders["came"] = lambda: say(self.transfer.came)
        self.loop = Loop(orders)
        self.idle: list[socket.socket] = []
        self.broken: dict[int, str] = {}
        self.unsent: dict[int, bytes] = {}
        self.asked: dict[int, bytes] = {}
        self.counted: list[int] = []
        self.ends_at = 0.0
        self.answering = self.finishing = False
        self.probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.probe.connect((address, PORT + 2))
        self.probe.setblocking(False)
        self.loop.add(self.probe.fileno(), self.hear_probe)
        self.sent: list[float] = []
        self.answers: list[tuple[int, float]] = []
        self.transfer = Transfer(socket.create_connection((address, PORT), 5))
        self.loop.add(self.transfer.connection.fileno(), self.hear_transfer)

    def hear_transfer(self, _: int) -> None:
        if not self.transfer.hear():
            self.loop.drop(self.transfer.connection.fileno())

    def hear_probe(self, _: int) -> None:
        with contextlib.suppress(OSError):  # an error that the network reported for an earlier packet
            (number,) = _PROBE.unpack(self.probe.recv(64))
            self.answers.append((number, time.monotonic()))

    def open(self, count: int) -> None:
        began = len(self.idle)
        for _ in range(count):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
            connection.connect_ex((self.address, PORT + 1))
            self.idle.append(connection)
            self.loop.add(connection.fileno(), partial(self.hear_idle, connection))
        self._ask(self.idle[began:], OPEN_S)

    def ask(self, wait_s: int) -> None:
        self._ask(self.idle, wait_s)

    def _ask(self, connections: list[socket.socket], wait_s: float) -> None:
        now = time.monotonic()
        self.ends_at, self.answering = now + wait_s, True
        self.counted = [one.fileno() for one in connections]
        for number, one in enumerate(connections):
            if one.fileno() not in self.broken:
                self.unsent[one.fileno()] = _TOKEN.pack(number, time.monotonic_ns())
                self.asked[one.fileno()] = self.asked.get(one.fileno(), b"") + self.unsent[one.fileno()]
                self.loop.change(one.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def hear_idle(self, connection: socket.socket, events: int) -> None:
        handle = connection.fileno()
        try:
            if events & select.EPOLLOUT:
                if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(number, os.strerror(number))
                connection.send(self.unsent[handle])
                self.loop.change(handle, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                data = connection.recv(4096)
                if not data:
                    raise ConnectionError("closed")
                wanted = self.asked.pop(handle, b"")
                if not wanted.startswith(data):
                    raise ConnectionError("something else came")
                if len(data) < len(wanted):
                    self.asked[handle] = wanted[len(data) :]
        except OSError as error:
            self.broken[handle] = error.strerror or str(error)
            self.asked.pop(handle, None)
            self.loop.drop(handle)

    def end(self) -> None:
        self.transfer.ending = self.finishing = True
        self.ends_at = time.monotonic() + END_S

    def seen(self) -> None:
        say({"sent": self.sent, "answers": self.answers, "transfer": self.transfer.said()})

    def run(self) -> None:
        next_at = time.monotonic()
        while True:
            now = time.monotonic()
            self.transfer.tend(now)
            if now >= next_at:
                self.sent.append(now)
                with contextlib.suppress(OSError):  # no route, no neighbour: it is not answered, which is what counts
                    self.probe.send(_PROBE.pack(len(self.sent) - 1))
                next_at = max(next_at + PROBE_S, now)  # what was missed is not made up for by a burst
            silent = sum(one in self.asked for one in self.counted) if self.answering else 0
            if self.answering and (not silent or now >= self.ends_at):
                self.answering = False
                broken = [self.broken[one] for one in self.counted if one in self.broken]
                say({"answered": len(self.counted) - silent - len(broken), "silent": silent, "broken": broken})
            if self.finishing and (self.transfer.over or now >= self.ends_at):
                self.finishing = False
                say(self.transfer.said())
            self.loop.turn(min(next_at, now + PACE_S))


def main(role: str, address: str) -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    end = Server(address) if role == "server" else Client(address)
    print("ready", flush=True)
    end.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
