"""The carp process where no network namespace can be had: over an in-process medium instead of a network.

State machine, packets, digests, orders and reports are the product's own; only what touches a kernel is replaced. A
directory is the segment, each node a datagram socket in it; a file says which addresses a node would hold, another one
that its cable is pulled. There is no guardian: nothing real would be left behind.

    python -m syncsrv.demo.medium SEGMENT NODE ADDRESS PROGRAM... --state-dir DIR [--life-fd N] carp
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from syncsrv import durable, log
from syncsrv.carp.packet import TTL
from syncsrv.carp.receive import Frame
from syncsrv.clock import SystemClock
from syncsrv.errors import SyncsrvError
from syncsrv.failover import intent, settings
from syncsrv.failover.bond import Bond
from syncsrv.failover.counting import Counter, base_of
from syncsrv.failover.intent import Intent
from syncsrv.failover.ports import Address, Interface
from syncsrv.failover.report import Self
from syncsrv.failover.running import Agent, World

SAID = "the addresses are not real here: they move over the demo's in-process medium"

_LARGEST = 4096


def pulled(segment: Path, node: str) -> Path:
    """The file that stands for a pulled cable."""
    return segment / f"{node}.pulled"


def holds(segment: Path, node: str) -> Path:
    """The file with the addresses that a node would hold, one a line."""
    return segment / f"{node}.holds"


class Cable:
    """Packets between the nodes of the segment."""

    def __init__(self, segment: Path, node: str, source: str) -> None:
        self._segment = segment
        self._node = node
        self._source = source
        self._path = segment / f"{node}.sock"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))

    def filenos(self) -> Sequence[int]:
        """Its socket."""
        return [self._socket.fileno()]

    def send(self, data: bytes, sources: Sequence[Address], unicast: Sequence[Address], mac: bytes = b"") -> None:
        """To every other node whose cable is in; one that does not listen hears nothing."""
        if pulled(self._segment, self._node).exists():
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))
        for other in self._segment.glob("*.sock"):
            if other != self._path and not pulled(self._segment, other.stem).exists():
                with contextlib.suppress(OSError):
                    self._socket.sendto(f"{self._source} ".encode() + data, str(other))

    def receive(self) -> Iterable[Frame]:
        """What has come in."""
        with contextlib.suppress(OSError):
            while True:
                source, _, data = self._socket.recv(_LARGEST).partition(b" ")
                yield Frame(data, ipaddress.ip_address(source.decode()), TTL)

    def reopen(self) -> None:
        """A directory forgets no membership."""

    def close(self) -> None:
        """Nobody hears this node any more."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class Book:
    """What a node would hold; kept in a file for the demo's client."""

    def __init__(self, segment: Path, node: str, source: str) -> None:
        self._segment = segment
        self._node = node
        self._source = ipaddress.ip_address(source)
        self._held: frozenset[Interface] = frozenset()
        self._was_pulled = self._is_pulled()
        self._write(frozenset())

    def filenos(self) -> Sequence[int]:
        """A file reports nothing; the agent looks each second."""
        return ()

    def changed(self) -> bool:
        """Whether the cable was pulled or put back."""
        before, self._was_pulled = self._was_pulled, self._is_pulled()
        return before != self._was_pulled

    def link(self, device: str) -> str:
        return f"{device} has no link" if self._is_pulled() else ""

    def sources(self, device: str, vips: Iterable[Interface], named: Collection[Address] = ()) -> Sequence[Address]:
        return [self._source]

    def held(self, device: str) -> frozenset[Interface]:
        return self._held

    def hold(self, device: str, addresses: Iterable[Interface], lifetime_s: float) -> None:
        self._write(self._held.union(addresses))

    def release(self, device: str, addresses: Iterable[Interface]) -> None:
        self._write(self._held.difference(addresses))

    def sweep(
        self, device: str, keep: Iterable[Interface], elsewhere: Iterable[Interface] = ()
    ) -> frozenset[Interface]:
        strays = self._held.difference(keep)
        self.release(device, strays)
        return strays

    def announce(self, device: str, addresses: Iterable[Interface]) -> None:
        """There are no neighbours with a table."""

    def probe(self, device: str, addresses: Iterable[Interface]) -> None:
        """Nor one that could answer."""

    def conflicts(self) -> Iterable[tuple[str, Address, str]]:
        return ()

    def prepare(self, device: str, vhid: int) -> None:
        """A group's own MAC means nothing here."""

    def up(self, device: str, vhid: int) -> None:
        """Likewise."""

    def down(self, device: str, vhid: int) -> None:
        """Likewise."""

    def remove(self, device: str, vhid: int) -> None:
        """Likewise."""

    def _is_pulled(self) -> bool:
        return pulled(self._segment, self._node).exists()

    def _write(self, held: frozenset[Interface]) -> None:
        path = holds(self._segment, self._node)
        if held != self._held or not path.exists():
            durable.write(path, "".join(f"{one}\n" for one in sorted(map(str, held))).encode())
        self._held = held


def _end_with(life: int | None, guardian: socket.socket) -> None:
    """A thread that takes the agent's beats as its guardian would, and ends the process when ``life`` ends."""

    def watch() -> None:
        handles = [guardian.fileno(), *([] if life is None else [life])]
        while True:
            ready, _, _ = select.select(handles, [], [])
            if guardian.fileno() in ready and not guardian.recv(1 << 20):
                return
            if life in ready:
                os.kill(os.getpid(), signal.SIGTERM)
                handles.remove(life)

    threading.Thread(target=watch, name="life", daemon=True).start()


def main(argv: Sequence[str]) -> int:
    """Be the carp process of one node.

    Args:
        argv: the segment's directory, the node's name and address, then the argv of the real one.
    """
    segment, node, source = Path(argv[0]), argv[1], argv[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--life-fd", type=int)
    told, _ = parser.parse_known_args(argv[argv.index("--state-dir") :])
    log.start("carp")
    try:
        found = settings.load(told.state_dir)
        if found is None or not found.vips:
            return 0
        ordered = intent.load(told.state_dir)
    except SyncsrvError as error:
        log.say("carp", str(error))
        return error.exit_status
    _run(segment, node, source, found, ordered, told.life_fd)
    return 0


def _run(segment: Path, node: str, source: str, found: settings.Settings, ordered: Intent, life: int | None) -> None:
    os.makedirs(found.run_dir, 0o755, exist_ok=True)
    clock = SystemClock()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _end_with(life, theirs)
    book = Book(segment, node, source)
    world = World(book, book, lambda device: Cable(segment, node, source), book)
    this = Self(os.getpid(), os.getppid(), "best effort: the demo is an ordinary program")
    counter = Counter(clock, base_of(clock))
    try:
        Agent(this, found, ordered, world, clock, counter, Bond(ours.detach()), jitter_s=0.0, troubles=(SAID,)).run()
    finally:
        holds(segment, node).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
