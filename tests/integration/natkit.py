"""Two nodes that translate addresses between a client and a server, with the real conntrackd of the test root.

client --- br0 --- a, b --- wan --- server, and a cable from a to b for the tables. The nodes send everything out with
the virtual address of the wan, so that a reply finds whoever has that address, and breaks where it knows nothing of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync import state
from syncsrv.failover.statesync.state import State
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes
from tests.support import netns
from tests.support.lab import VIP, Lab, Node, command, kill_all
from tests.support.testroot import TestRoot
from tests.support.wait import until

SERVER = "10.98.0.10"
WAN_VIP = "10.98.0.100"
PORT = 5000
WAN, SYNC = "wan0", "sync0"
QUICK_WAN = replace(QUICK, vhid=2, interface="wan", device=WAN, addresses=(f"{WAN_VIP}/24",))

RULES = f"""
table inet edge {{
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ct state invalid drop
        ip daddr {SERVER} tcp dport {PORT} ct state new tcp flags & (syn|ack|rst|fin) == syn accept
    }}
    chain out {{
        type nat hook postrouting priority 100;
        oifname "{WAN}" ip saddr != 10.98.0.0/24 snat ip to {WAN_VIP}
    }}
}}
"""
"""Strict: a packet in the middle of a connection that is not known does not pass."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The lab, and the root that its programs come from."""

    lab: Lab
    root: TestRoot
    home: Path

    def ip(self, words: str) -> None:
        """``ip`` here, with the namespaces by their paths."""
        done = self.lab.spaces.run("server", [*command("ip"), *words.split()])
        assert done.returncode == 0, f"ip {words}: {done.stderr}"

    def cables(self, name: str, *, plugged: bool) -> None:
        """Both cables of a node that clients reach it by; the one for the tables stays."""
        (self.lab.plug if plugged else self.lab.pull)(name)
        self.ip(f"link set dev to-{name} {'up' if plugged else 'down'}")

    def sync_cable(self, *, plugged: bool) -> None:
        """The one for the tables, at b's end."""
        self.lab["b"].ip(f"link set {SYNC} {'up' if plugged else 'down'}")

    def conntrack(self, name: str, *words: str) -> str:
        """The kernel's table of a node."""
        argv = self.root.outside("usr/sbin/conntrack", *words)
        done = self.lab.spaces.run(name, argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def programs(self, name: str) -> str:
        """A folder with conntrackd for PATH, as an installation of the package would bring it."""
        folder = self.home / f"{name}-bin"
        folder.mkdir()
        words = " ".join(self.root.outside("usr/sbin/conntrackd"))
        program = folder / "conntrackd"
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"


@contextmanager
def edge(root: TestRoot, home: Path) -> Iterator[Edge]:
    """Everything but the carp processes."""
    spaces = netns.Lab("client", "server", "a", "b")
    try:
        nodes = {name: Node(name, spaces, f"10.99.0.{k}", f"fd99::{k}") for name, k in (("a", 1), ("b", 2))}
        client = Node("client", spaces, "10.99.0.10", "fd99::10")
        made = Edge(Lab(spaces, client, nodes), root, home)
        for node in (client, *nodes.values()):
            made.lab.give(node)
        client.ip(f"route add default via {VIP}")
        made.ip("link add name wan type bridge forward_delay 0")
        made.ip("link set wan up")
        spaces.address("server", "wan", f"{SERVER}/24")
        for k, (name, node) in enumerate(nodes.items(), 1):
            made.ip(f"link add name to-{name} type veth peer name {WAN} netns {node.path}")
            made.ip(f"link set dev to-{name} master wan up")
            node.ip(f"link set {WAN} up")
            spaces.address(name, WAN, f"10.98.0.{k}/24")
            for setting, value in (
                ("net/ipv4/ip_forward", "1"),
                ("net/netfilter/nf_conntrack_tcp_loose", "0"),
                ("net/netfilter/nf_conntrack_tcp_be_liberal", "0"),
            ):
                spaces.write(name, setting, value)
            rules = home / f"{name}.nft"
            rules.write_text(RULES)
            node.run("nft", "-f", str(rules))
        nodes["a"].ip(f"link add name {SYNC} type veth peer name {SYNC} netns {nodes['b'].path}")
        for k, (name, node) in enumerate(nodes.items(), 1):
            spaces.address(name, SYNC, f"10.97.0.{k}/24")
            node.ip(f"link set {SYNC} up")
        with _echoing(spaces):
            yield made
    finally:
        for name in ("client", "server", "a", "b"):
            kill_all(spaces, name)
        spaces.close()


def wanted(name: str, timeout_s: float = 30.0) -> StateSync:
    """What a node is told to do with its table."""
    own, peer = ("10.97.0.1", "10.97.0.2") if name == "a" else ("10.97.0.2", "10.97.0.1")
    ignore = tuple(f"{net}.{end}" for net in ("10.99.0", "10.98.0") for end in ("1", "2", "100"))
    return StateSync("conntrackd", (StateLink(SYNC, own, peer),), "225.0.0.50", 3780, ignore, timeout_s)


@contextmanager
def synced_nodes(edge: Edge, timeout_s: float = 30.0) -> Iterator[tuple[CarpNode, CarpNode]]:
    """Two carp processes that keep conntrackd, not yet started; ``a`` is the better one."""
    with carp_nodes(edge.lab, edge.home, vips=(QUICK, QUICK_WAN), tracked=(QUICK.device, WAN)) as nodes:
        for node in nodes:
            node.settings = replace(node.settings, state_sync=wanted(node.name, timeout_s))
            node.path = edge.programs(node.name)
        yield nodes


def await_said(node: CarpNode, holds: Callable[[State], bool], what: str, deadline_s: float = 15) -> State:
    """Wait for something that the keeper says."""

    def look() -> State | None:
        found = state.load(node.run_dir)
        return found if found is not None and holds(found) else None

    try:
        found = until(look, deadline_s, f"{node.name}: {what}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{state.load(node.run_dir)}\n{node.text()}") from None
    assert found is not None
    return found


def await_word(node: CarpNode, word: str, deadline_s: float = 15) -> State:
    """Wait until the keeper says one word."""
    return await_said(node, lambda said: said.word == word, f"the word {word}", deadline_s)


class Connections:
    """Idle connections and a busy one, through whoever serves.

    Args:
        edge: where.
        idle: how many.
    """

    def __init__(self, edge: Edge, idle: int) -> None:
        with edge.lab.spaces.entered("client"):
            self._idle = [socket.create_connection((SERVER, PORT), 5) for _ in range(idle)]
            self._busy = socket.create_connection((SERVER, PORT), 5)
        self.received = 0
        self.error = ""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._transfer)
        self._thread.start()

    def _transfer(self) -> None:
        """Send a stream of numbers, and compare what comes back with it, byte for byte."""
        cycle = b"".join(number.to_bytes(4, "big") for number in range(16384))
        self._busy.setblocking(False)
        sent = 0
        try:
            while not self._ends.is_set():
                room = sent - self.received < 300_000
                readable, writable, _ = select.select([self._busy], [self._busy] if room else [], [], 0.05)
                if writable:
                    at = sent % len(cycle)
                    sent += self._busy.send(cycle[at : at + 16384])
                if readable:
                    data = self._busy.recv(16384)
                    at = self.received % len(cycle)
                    if not data or data != (cycle + cycle)[at : at + len(data)]:
                        self.error = "it ended" if not data else f"other bytes after {self.received}"
                        return
                    self.received += len(data)
        except OSError as error:
            self.error = error.strerror or str(error)

    def broken(self, patience_s: float = 5.0) -> list[str]:
        """What each connection says that did not carry something there and back just now."""
        before, found = self.received, []
        for one in self._idle:
            one.settimeout(patience_s)
            with contextlib.suppress(OSError):
                one.send(b"still here?")
        for number, one in enumerate(self._idle):
            try:
                if one.recv(64) != b"still here?":
                    found.append(f"idle {number}: other bytes")
            except OSError as error:
                found.append(f"idle {number}: {error}")
                one.settimeout(0.01)  # the others' time is over too
                patience_s = 0.01
                for rest in self._idle[number + 1 :]:
                    rest.settimeout(patience_s)
        try:
            until(lambda: self.error or self.received > before, patience_s + 1, "the transfer to go on")
        except AssertionError as error:
            found.append(f"busy: {error}")
        return [*found, *([f"busy: {self.error}"] if self.error else [])]

    def close(self) -> None:
        """End all of them."""
        self._ends.set()
        self._thread.join()
        for one in (*self._idle, self._busy):
            one.close()

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _echoing(spaces: netns.Lab) -> Iterator[None]:
    """A server that sends back what it hears."""
    with spaces.entered("server"):
        listener = socket.create_server((SERVER, PORT), backlog=1000)
    ends_read, ends_write = os.pipe()

    def serve() -> None:
        with select.epoll() as poll:
            peers: dict[int, socket.socket] = {}
            unsent: dict[int, bytes] = {}
            poll.register(listener, select.EPOLLIN)
            poll.register(ends_read, select.EPOLLIN)
            while True:
                for handle, _ in poll.poll():
                    if handle == ends_read:
                        for peer in peers.values():
                            peer.close()
                        return
                    if handle == listener.fileno():
                        peer, _address = listener.accept()
                        peer.setblocking(False)
                        peers[peer.fileno()] = peer
                        poll.register(peer, select.EPOLLIN)
                        continue
                    peer = peers[handle]
                    try:
                        data = unsent.pop(handle, b"") or peer.recv(65536)
                        left = data[peer.send(data) :] if data else b""
                    except BlockingIOError:
                        left = data
                    except OSError:
                        data = left = b""
                    if left:
                        unsent[handle] = left
                    if not data:
                        poll.unregister(peer)
                        peers.pop(handle).close()
                    else:
                        poll.modify(peer, select.EPOLLOUT if left else select.EPOLLIN)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.write(ends_write, b".")
        thread.join()
        listener.close()
        os.close(ends_read)
        os.close(ends_write)
