"""A whole node's SSH without the rest of core: a real door process, with toy handlers behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from syncsrv.clock import SystemClock
from syncsrv.control.serve import Limits, Server
from syncsrv.core.ssh.authority import Authority, Keys, PersonKey, Pin
from syncsrv.core.ssh.doorlink import DoorLink
from syncsrv.core.ssh.gitserve import GitServer
from syncsrv.core.ssh.peerlink import PeerAddress, PeerLinks
from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.store.signing import Signer, generate_key
from syncsrv.transport.door import DoorProcess
from syncsrv.transport.server import Bounds
from tests.control.toys import TABLE, Toys
from tests.support.wait import until

LOOPBACK = ("127.0.0.0/8",)


@dataclass
class Node:
    """Core's half of a node, its door process, and its toys."""

    name: str
    directory: Path
    signer: Signer
    toys: Toys = field(default_factory=Toys)
    keys: Keys = field(default_factory=lambda: Keys({}, {}))
    peers: dict[str, PeerAddress] = field(default_factory=dict)
    door: subprocess.Popen[bytes] | None = None
    door_here: DoorProcess | None = None

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.port = int(self.listener.getsockname()[1])
        self.server = Server(
            TABLE, self.toys.handlers(), node=self.name, version="1.0", limits=Limits(connections=300, hello_s=3)
        )
        self.git = GitServer(self.directory / "config.git")
        self.used = UsedLogins(None)
        self.link = DoorLink(
            new_authority=lambda: Authority(self.signer, lambda: self.keys, self.used, SystemClock()),
            own_key=self.signer.public_blob,
            serve=self.server.start_socket,
            git=self.git.start,
            node=self.name,
            version="1.0",
        )
        self.links = PeerLinks(
            lambda: self.peers, self.link, own_key=self.signer.public_blob, node=self.name, version="1.0"
        )

    @property
    def log(self) -> str:
        return (self.directory / "door.log").read_text()

    def start_door(self, *extra: str) -> None:
        """A real door process, joined over a socket pair as serve does it."""
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-m", "syncsrv.transport.door", "--link-fd", str(theirs.fileno()), *extra, "door"]
        with theirs, (self.directory / "door.log").open("ab") as log:
            self.door = start_process(argv, log, theirs)
        self.link.configure(LOOPBACK, [self.listener])
        ours.settimeout(None)
        self._attach(ours)

    def start_door_here(self, bounds: Bounds) -> None:
        """The door's parts in this process, with bounds that a test can wait for."""
        ours, theirs = socket.socketpair()
        self.door_here = DoorProcess(theirs, [], version="1.0", bounds=bounds)
        self.link.configure(LOOPBACK, [self.listener])
        self._attach(ours)

    def _attach(self, sock: socket.socket) -> None:
        self.link.attach(sock)
        assert self.link.wait(10)

    def stop_door(self) -> None:
        if self.door is not None:
            self.door.terminate()
            self.door.wait(10)
            self.door = None

    def knows(self, other: Node, may: str = "operator") -> None:
        """Pin another node, both its address and its key."""
        pin = Pin(other.name, other.signer.public_blob, may)
        self.keys = replace(self.keys, peers={**self.keys.peers, other.name: pin})
        self.peers[other.name] = PeerAddress(other.name, other.address, other.signer.public_blob)

    def lists(self, name: str, blob: bytes, role: str = "viewer") -> None:
        self.keys = replace(self.keys, people={**self.keys.people, blob: PersonKey(name, blob, role)})

    def close(self) -> None:
        self.toys.release.set()
        self.links.close()
        self.link.close()
        if self.door_here is not None:
            self.door_here.close()
        self.server.close()
        self.git.close()
        self.listener.close()
        if self.door is not None:
            door, self.door = self.door, None
            until(lambda: door.poll() is not None, what="the door to end with core")
            assert door.returncode == 0, self.log


@contextlib.contextmanager
def node(name: str, directory: Path, *, door: bool = True) -> Iterator[Node]:
    directory.mkdir(exist_ok=True)
    generate_key(directory / "key")
    made = Node(name, directory, Signer.load(directory / "key", f"syncsrv-{name}"))
    try:
        if door:
            made.start_door()
        yield made
    finally:
        made.close()


def start_process(argv: list[str], log: IO[bytes], *inherited: socket.socket) -> subprocess.Popen[bytes]:
    """A program of ours with a log, and nothing else of this process."""
    return subprocess.Popen(
        argv,
        pass_fds=[sock.fileno() for sock in inherited],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        cwd=Path(__file__).parents[2],
    )


def open_files(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
