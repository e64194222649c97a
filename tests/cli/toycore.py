"""A core that answers what a test wants: the real sockets and the real table of verbs, toy handlers behind them."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import io
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from syncsrv.cli.main import run
from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.serve import Server
from syncsrv.control.shapes import JobReply, JobStarted, NodeResult, Step
from syncsrv.control.verbs import VERBS, Door

Answer = Callable[[Any], object]


@dataclasses.dataclass
class Said:
    """What a command printed and ended with."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Toy:
    """One toy core and the configuration directory that leads to it."""

    def __init__(self, home: Path) -> None:
        self.etc = home / "conf"
        self.etc.mkdir()
        (self.etc / "node.yaml").write_text(f"node: fw1\nrole: master\nrun_dir: {home}\nstate_dir: {home}\n")
        self.socket = home / "core.sock"
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Any]] = []
        self.callers: list[Caller] = []
        self.server = Server(VERBS, dict.fromkeys(VERBS, self._answer), node="fw1", version="1.0")
        self.server.serve_unix(self.socket, Door.LOCAL, mode=0o600)

    def _answer(self, caller: Caller, request: Any, call: Call) -> object:
        self.asked.append((call.verb, request))
        self.callers.append(caller)
        return self.answers[call.verb](request)

    def request(self, verb: str) -> Any:
        """The one request of a verb that came."""
        (found,) = [request for name, request in self.asked if name == verb]
        return found

    def will(self, verb: str, reply: object) -> None:
        """Answer a verb; an exception is raised."""

        def answer(_request: Any) -> object:
            if isinstance(reply, Exception):
                raise reply
            return reply

        self.answers[verb] = answer

    def will_do(
        self, verb: str, nodes: Mapping[str, NodeResult], *steps: tuple[str, Step], tag: str | None = None
    ) -> None:
        """Answer a verb by a job that ends so."""
        self.will(verb, JobStarted("j1"))
        self.answers["job"] = lambda request: JobReply("j1", verb, "done", tuple(steps[request.after :]), tag, nodes)

    def cli(self, *argv: str, stdin: str = "") -> Said:
        """One command in this process; none of its streams is a terminal."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _standard_input(stdin):
            status = run(["--config", str(self.etc), *argv])
        return Said(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _standard_input(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before


@contextlib.contextmanager
def toy_core(home: Path) -> Iterator[Toy]:
    toy = Toy(home)
    try:
        yield toy
    finally:
        toy.server.close()


HOSTILE = "x\nFORGED\x1b[2J\x07\x9b1m\u202e\r"
"""A text that would begin a line of its own, clear the screen, ring and turn the line around."""


def hostile(kind: Any) -> Any:
    """A value of a type of the table in which every text is HOSTILE, keys too."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is str:
        return HOSTILE
    if kind in (int, float):
        return kind(7)
    if kind is bool:
        return True
    if origin in (types.UnionType, typing.Union):
        return hostile(inner[0])
    if origin is typing.Literal:
        return inner[0]
    if origin is tuple:
        return (hostile(inner[0]),) if inner[-1] is ... else tuple(hostile(one) for one in inner)
    if origin in (collections.abc.Mapping, dict):
        return {HOSTILE: hostile(inner[1])}
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: hostile(hints[field.name]) for field in dataclasses.fields(kind)})


def steers(text: str) -> bool:
    """Whether printed text holds more than letters and line ends, or a line that a peer wrote."""
    return any(not (one.isprintable() or one == "\n") for one in text) or any(
        line.startswith("FORGED") for line in text.splitlines()
    )
