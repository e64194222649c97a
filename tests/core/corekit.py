"""Whole cores in this process: all of App but its doors; two of them talk over socket pairs instead of SSH."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsrv.cli.main import run
from syncsrv.clock import Clock, SystemClock
from syncsrv.control.codec import decode_reply
from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.doorverbs import Dial, Dialled, DialReply
from syncsrv.control.serve import Server
from syncsrv.control.shapes import Facts, JobReply, JobStarted, NodeResult, Step, SyncRequest
from syncsrv.control.verbs import VERBS, Door
from syncsrv.core.app import App
from syncsrv.core.handlers import Handlers
from syncsrv.core.passwords import Passwords
from syncsrv.core.peers import PeerBook
from syncsrv.core.people import ADMIN, People
from syncsrv.core.ssh.peerlink import PeerAddress, PeerLinks
from syncsrv.store.signing import parse_public_line
from syncsrv.version import __version__
from tests.core.webloginkit import CHEAP
from tests.support.net import free_port
from tests.support.wait import until

CLUSTER = """\
cluster: edge
areas:
  app: {paths: [/etc/app], exclude: ["*.bak"], services: [app]}
  more: {paths: [/etc/more.conf, /etc/more.d]}
services:
  app:
    manager: command
    start: [CTL, start]
    stop: [CTL, stop]
    status: [CTL, status]
    reload: [CTL, reload]
    health: {exec: [CTL, status], within: 2}
"""

CTL = """\
#!/bin/sh
cd "$(dirname "$0")/$NODE" || exit 9
case $1 in
  status) test -e running || exit 3;;
  start) touch running; echo start >> told;;
  stop) rm -f running; echo stop >> told;;
  reload) echo reload >> told; ! grep BROKEN root/etc/app/app.conf;;
esac
"""
"""A service that is one file on each node, and that does not like BROKEN."""

ALICE = Caller(Door.LOCAL, "admin", "alice", via="cli")


@dataclass
class Pair:
    """The door between nodes: who is away, as what a node comes in, and how often one was dialled."""

    nodes: dict[str, Node] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    power: str = "operator"
    dialled: int = 0

    @property
    def fw1(self) -> Node:
        return self.nodes["fw1"]

    @property
    def fw2(self) -> Node:
        return self.nodes["fw2"]

    def sync(self, **asked: Any) -> NodeResult:
        """``syncsrv sync`` on the master; what became of fw2."""
        return self.fw1.do("sync", SyncRequest(**asked)).nodes["fw2"]

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


@dataclass
class LocalDoor:
    """Dials by handing one end of a socket pair to the other node's server."""

    pair: Pair
    name: str

    def dial(self, request: Dial) -> tuple[DialReply, socket.socket | None]:
        self.pair.dialled += 1
        if request.peer in self.pair.away or request.peer not in self.pair.nodes:
            return DialReply(Dialled.UNREACHABLE, detail="connection refused"), None
        ours, theirs = socket.socketpair()
        caller = Caller(Door.PEER, self.pair.power, "", node=self.name, via="peer")
        self.pair.nodes[request.peer].server.start_socket(theirs, caller)
        return DialReply(Dialled.OPEN), ours

    def wait(self, deadline_s: float) -> bool:
        return True

    def hang_up(self, peer: str) -> None:
        pass


class Node:
    """One node: a real ``init``, a real App, never started."""

    def __init__(self, home: Path, name: str, role: str, pair: Pair, cluster: str = CLUSTER) -> None:
        self.home, self.name, self.pair = home, name, pair
        self.root, self.etc, self.state = home / "root", home / "conf", home / "state"
        (self.root / "etc").mkdir(parents=True)
        argv = [
            *("--config", str(self.etc), "init", "--node", name, "--role", role, "--root", str(self.root)),
            *("--state-dir", str(self.state), "--run-dir", str(home / "run"), "--ssh", f"127.0.0.1:{free_port()}"),
        ]
        self.state.mkdir(mode=0o700)
        People(self.state, Passwords(CHEAP)).add(ADMIN, "admin", "a password that nobody uses", None)
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(argv) == 0
        ctl = home.parent / "ctl"
        ctl.write_text(CTL)
        ctl.chmod(0o755)
        (self.etc / "cluster.yaml").write_text(cluster.replace("CTL", str(ctl)))
        self.clock: Clock = SystemClock()
        pair.nodes[name] = self

    def open(self) -> None:
        """Put the core together, and commit what is live."""
        self.app = App(self.etc, self.clock, Passwords(CHEAP))
        core = self.core = self.app.core
        core.link = self.links = PeerLinks(
            lambda: {
                name: PeerAddress(name, peer.address, parse_public_line(peer.key))
                for name, peer in core.live.config.node.peers.items()
            },
            LocalDoor(self.pair, self.name),
            own_key=core.signer.public_blob,
            node=self.name,
            version=__version__,
        )
        core.book = PeerBook(
            lambda: tuple(core.live.config.node.peers), self._ask, lambda _peer, _facts: None, core.clock
        )
        self.handlers = Handlers(core).table()
        self.server = Server(VERBS, self.handlers, node=self.name, version=__version__, claim=core.login.claim)
        core.record(via="watch")

    def _ask(self, peer: str, deadline_s: float) -> Facts:
        applied = {area: one.commit for area, one in self.core.state.now.applied.items()}
        reply = self.core.link.call(peer, "facts", {"applied": applied}, deadline_s=deadline_s)
        facts: Facts = decode_reply("facts", Facts, reply)
        return facts

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.root / path.strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def text(self, path: str) -> str:
        return (self.root / path.strip("/")).read_text()

    def told(self) -> list[str]:
        """What the service was told."""
        told = self.home / "told"
        return told.read_text().split() if told.exists() else []

    def ask(self, verb: str, request: object = None, caller: Caller = ALICE) -> object:
        """Call a verb's handler as core would."""
        return self.handlers[verb](caller, VERBS[verb].request() if request is None else request, Call(verb, "r"))

    def end(self, job: str) -> JobReply:
        """Wait for a job."""
        found = self.core.jobs.get(job)
        until(lambda: found.state != "running", 60, f"the end of {job}")
        return found.follow(0, 0.0)

    def do(self, verb: str, request: object, caller: Caller = ALICE) -> JobReply:
        """Start a job and wait for its end."""
        started = self.ask(verb, request, caller)
        assert isinstance(started, JobStarted)
        return self.end(started.job)

    def hear(self) -> None:
        """Poll every peer once."""
        for name in self.core.live.config.node.peers:
            self.core.book.refresh(name)

    def close(self) -> None:
        if hasattr(self, "app"):
            self.server.close()
            self.links.close()
            self.app.stop()


def pin(node: Node, *peers: Node) -> None:
    """Write ``peers:`` into node.yaml."""
    lines = ["", "peers:"]
    for peer in peers:
        lines.append(f'  {peer.name}: {{address: "127.0.0.1:1", key: "{key_of(peer)}"}}')
    with (node.etc / "node.yaml").open("a") as file:
        file.write("\n".join(lines) + "\n")


def key_of(node: Node) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run(["--config", str(node.etc), "key"]) == 0
    return said.getvalue().strip()


def steps(reply: JobReply, node: str) -> dict[str, Step]:
    """A job's ended steps on one node by name."""
    return {step.name: step for name, step in reply.steps if name == node and step.result != "running"}


@contextlib.contextmanager
def single(home: Path, role: str = "master", cluster: str = CLUSTER) -> Iterator[Node]:
    """One node without peers."""
    pair = Pair()
    node = Node(home / "fw1", "fw1", role, pair, cluster)
    node.put("/etc/app/app.conf", "one")
    node.put("/etc/more.conf", "more")
    node.open()
    try:
        yield node
    finally:
        pair.close()


@contextlib.contextmanager
def pair_of(home: Path, cluster: str = CLUSTER, roles: tuple[str, str] = ("master", "backup")) -> Iterator[Pair]:
    """fw1, the master with some files, and fw2, its backup, which has nothing yet."""
    pair = Pair()
    one = Node(home / "fw1", "fw1", roles[0], pair, cluster)
    two = Node(home / "fw2", "fw2", roles[1], pair, cluster)
    pin(one, two)
    pin(two, one)
    one.put("/etc/app/app.conf", "one")
    one.put("/etc/more.conf", "more")
    try:
        for node in (one, two):
            node.open()
        one.hear()
        two.hear()
        yield pair
    finally:
        pair.close()
