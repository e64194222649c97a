"""A small table with handlers that do what a test needs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from syncsrv.control.dispatch import Call, Caller, Handler, Streamed
from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door, Verb
from syncsrv.errors import RefusedError, UnreachableError


@dataclass(frozen=True, slots=True)
class Echo:
    text: str
    number: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    number: int


@dataclass(frozen=True, slots=True)
class Who:
    label: str
    power: str
    door: str
    via: str


EVERY = frozenset(Door)
TABLE = {
    verb.name: verb
    for verb in (
        Verb("echo", Echo, Echo, "viewer", EVERY),
        Verb("who", Empty, Who, "viewer", EVERY),
        Verb("wait", Empty, Empty, "viewer", EVERY),
        Verb("crash", Empty, Empty, "viewer", EVERY),
        Verb("refuse", Empty, Empty, "viewer", EVERY),
        Verb("away", Empty, Empty, "viewer", EVERY),
        Verb("wrong-type", Empty, Echo, "viewer", EVERY),
        Verb("change", Empty, Empty, "operator", EVERY),
        Verb("own", Empty, Empty, "admin", frozenset({Door.LOCAL})),
        Verb("login", Empty, Empty, "", frozenset({Door.WEB})),
        Verb("count", Count, Count, "viewer", EVERY, streams=True),
        Verb("breaks", Empty, Empty, "viewer", EVERY, streams=True),
        Verb("endless", Empty, Empty, "viewer", EVERY, streams=True),
        Verb("swap", Empty, Empty, "viewer", EVERY),
        Verb("unhandled", Empty, Empty, "viewer", EVERY),
    )
}


@dataclass
class Toys:
    """The handlers, and what they saw."""

    handled: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        """As new, for the next test."""
        self.handled.clear()
        self.inside.clear()
        for event in (self.entered, self.release, self.closed, self.gone):
            event.clear()

    def handlers(self) -> dict[str, Handler]:
        return {
            "echo": self.echo,
            "who": lambda caller, _request, _call: Who(caller.label, caller.power, caller.door, caller.via),
            "wait": self.wait,
            "crash": self.crash,
            "refuse": self.refuse,
            "away": self.away,
            "wrong-type": lambda _caller, _request, _call: object(),
            "change": self.nothing,
            "own": self.nothing,
            "login": self.nothing,
            "count": lambda _caller, request, _call: Streamed(
                request, (bytes([i % 256]) for i in range(request.number))
            ),
            "breaks": lambda _caller, _request, _call: Streamed(Empty(), self.breaking()),
            "endless": lambda _caller, _request, _call: Streamed(Empty(), self.endless()),
            "swap": self.swap,
        }

    def echo(self, caller: Caller, request: Echo, call: Call) -> Echo:
        self.handled.append("echo")
        return request

    def nothing(self, caller: Caller, request: Empty, call: Call) -> Empty:
        self.handled.append(call.verb)
        return Empty()

    def wait(self, caller: Caller, request: Empty, call: Call) -> Empty:
        self.inside.append(call.request_id)
        self.entered.set()
        self.release.wait(30)
        if call.gone.is_set():
            self.gone.set()
        return Empty()

    def crash(self, caller: Caller, request: Empty, call: Call) -> Empty:
        raise KeyError("a secret that must not travel")

    def refuse(self, caller: Caller, request: Empty, call: Call) -> Empty:
        raise RefusedError("cannot sync: two guards fired", "force them", ("drift", "commands"))

    def away(self, caller: Caller, request: Empty, call: Call) -> Empty:
        raise UnreachableError("cannot reach fw2: \x1b[31mred", "look")

    def breaking(self) -> Iterator[bytes]:
        yield b"one"
        raise RefusedError("cannot go on: it broke")

    def endless(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 300_000
        finally:
            self.closed.set()

    def swap(self, caller: Caller, request: Empty, call: Call) -> Empty:
        """Write into the descriptor that came, send back a pipe's reading end."""
        os.write(call.fds[0], b"from the handler")
        reader, writer = os.pipe()
        os.write(writer, b"from a pipe")
        os.close(writer)
        call.reply_fds.append(reader)
        return Empty()
