"""SSH in: who may knock, how many, and how long until the login."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from paramiko.ssh_exception import SSHException

from syncsrv.transport.corelink import CoreLink
from syncsrv.transport.deadlines import Deadlines
from syncsrv.transport.keys import HostKey
from syncsrv.transport.listener import Listener, StoppedError
from syncsrv.transport.session import Client, InboundTransport
from syncsrv.transport.suite import cut, prepare

log = logging.getLogger(__name__)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SAY_EACH_S = 10.0
"""Seconds between two log lines about strangers for the same reason."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a stranger, and a client, can take of us.

    Attributes:
        unknown: connections at once that have not logged in yet.
        unknown_each: the same from one address.
        connections: connections at once.
        channels: channels at once of one connection.
        login_s: seconds from the first packet to the login.
    """

    unknown: int = 32
    unknown_each: int = 8
    connections: int = 128
    channels: int = 16
    login_s: float = 10.0


class Inbound:
    """Listens and keeps the bounds.

    Args:
        core: signs, verifies, opens.
        deadlines: ends logins that take too long.
        bounds: see Bounds.
    """

    def __init__(self, core: CoreLink, deadlines: Deadlines, bounds: Bounds | None = None) -> None:
        self.core = core
        self.bounds = bounds or Bounds()
        self._deadlines = deadlines
        self._lock = threading.Lock()
        self._host_key = b""
        self._sources: tuple[Network, ...] = ()
        self._listeners: list[Listener] = []
        self._clients: dict[Client, InboundTransport] = {}
        self._unknown: Counter[str] = Counter()
        self._closed = False
        self._ending = threading.Event()
        self.counts: Counter[str] = Counter()
        self._said_at: dict[str, float] = {}

    def configure(self, host_key: bytes, sources: tuple[Network, ...], listeners: list[socket.socket]) -> None:
        """Take connections from ``sources`` only; ``listeners`` replace those there are, unless empty."""
        with self._lock:
            self._host_key = host_key
            self._sources = sources
            earlier: list[Listener] = []
            if listeners:
                earlier, self._listeners = self._listeners, [Listener(sock) for sock in listeners]
                for listener in self._listeners:
                    listener.start(self._accept)
        for listener in earlier:
            listener.stop()

    def accepts(self) -> bool:
        """Whether each listening socket still has its thread."""
        with self._lock:
            return all(listener.thread.is_alive() for listener in self._listeners)

    @property
    def max_channels(self) -> int:
        """Channels at once of one connection."""
        return self.bounds.channels

    def close(self) -> None:
        """Stop listening, end every connection."""
        with self._lock:
            self._closed = True
            self._ending.set()
            listeners, self._listeners = self._listeners, []
            transports = list(self._clients.values())
        for listener in listeners:
            listener.stop()
        for transport in transports:
            cut(transport)
        for transport in transports:
            transport.join()

    def count(self, what: str) -> None:
        """One more of what did not go well."""
        with self._lock:
            self.counts[what] += 1

    def admitted(self, client: Client) -> None:
        """A connection has logged in: it no longer counts as unknown."""
        with self._lock:
            if not client.known:
                client.known = True
                self._unknown[client.address] -= 1
                self._unknown += Counter()  # drops the zeros

    def forget(self, client: Client) -> None:
        """A connection has ended."""
        self.admitted(client)
        with self._lock:
            self._clients.pop(client, None)

    def _accept(self, listener: Listener) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except StoppedError:
                return
            except OSError as error:
                log.warning("cannot accept an SSH connection: %s", error)
                self._ending.wait(0.1)  # descriptors ran out: others must end first
                continue
            address = str(peer[0]).split("%", 1)[0].removeprefix("::ffff:")
            refusal = self._refusal(address)
            if refusal:
                self.count(refusal)
                sock.close()
                self._say(refusal, address)
            else:
                self._begin(sock, address)

    def _say(self, what: str, address: str) -> None:
        """Log it, at most once in a while for each reason: strangers must not fill the disk."""
        now = time.monotonic()
        with self._lock:
            if now - self._said_at.get(what, -SAY_EACH_S) < SAY_EACH_S:
                return
            self._said_at[what] = now
            times = self.counts[what]
        log.info("%s was not let in: %s (%d so far)", address, what, times)

    def _refusal(self, address: str) -> str:
        """Why an address may not even knock; empty when it may."""
        source = ipaddress.ip_address(address)
        with self._lock:
            if not any(source in network for network in self._sources):
                return "not a peer's address"
            if len(self._clients) >= self.bounds.connections or self._unknown.total() >= self.bounds.unknown:
                return "too many connections"
            if self._unknown[address] >= self.bounds.unknown_each:
                return "too many connections of this address"
        return ""

    def _begin(self, sock: socket.socket, address: str) -> None:
        client = Client(self, address)
        try:
            prepare(sock)
            transport = InboundTransport(sock, client)
        except (OSError, SSHException) as error:
            log.debug("%s: %s", address, error)
            sock.close()
            return
        transport.add_server_key(HostKey(self.core, self._host_key))
        transport.banner_timeout = transport.handshake_timeout = self.bounds.login_s + 5  # ours comes first
        with self._lock:
            if self._closed:
                sock.close()
                return
            self._clients[client] = transport
            self._unknown[address] += 1
        self._deadlines.after(self.bounds.login_s, lambda: self._late(client, transport))
        transport.start_server(event=threading.Event(), server=client)

    def _late(self, client: Client, transport: InboundTransport) -> None:
        if not client.known:
            self.count("no login in time")
            self._say("no login in time", client.address)
            cut(transport)
