"""SSH in: who may knock, how long, how many, and what a channel of an admitted client is joined with.

All that is decided here is bounds. Who a client is, and what it may have, core decides.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    MSG_CHANNEL_REQUEST,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)
from paramiko.message import Message
from paramiko.pkey import PKey
from paramiko.server import ServerInterface
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from syncsrv.errors import SyncsrvError
from syncsrv.transport.corelink import CoreLink
from syncsrv.transport.deadlines import Deadlines
from syncsrv.transport.keys import KEY_TYPE, ClientKey, HostKey
from syncsrv.transport.pump import join_program, join_socket, say_and_close
from syncsrv.transport.suite import SuiteTransport, prepare

log = logging.getLogger(__name__)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SAY_EACH_S = 10.0
"""Seconds between two log lines about strangers for the same reason."""

NO_SHELL = "there is no shell here; use `git clone ssh://NODE:PORT/config`, or the syncsrv command line on the node"


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


class _Auth(AuthHandler):
    """Public keys of any type are read as an offer; only Ed25519 is ever taken."""

    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> PKey:
        # paramiko would end the connection at the first key of another type, and people's agents offer several.
        server = self.transport.server_object
        assert isinstance(server, _Client)
        return server.key(keyblob if algorithm == KEY_TYPE else b"")


class _InboundTransport(SuiteTransport):
    """A Transport that joins a channel only after its request was answered: else the end can overtake the answer."""

    def __init__(self, sock: socket.socket, client: _Client) -> None:
        super().__init__(sock)
        self._client = client
        self._channel_handler_table = {
            **Transport._channel_handler_table,  # type: ignore[attr-defined]  # paramiko has no public hook
            MSG_CHANNEL_REQUEST: self._handle_channel_request,
        }

    def _parse_newkeys(self, m: Message) -> None:
        if self.auth_handler is None:
            self.auth_handler = _Auth(self)
        super()._parse_newkeys(m)  # type: ignore[misc]  # the stubs leave out private names

    def _handle_channel_request(self, channel: Channel, m: Message) -> None:
        Channel._handle_request(channel, m)  # type: ignore[attr-defined]  # the stubs leave out private names
        self._client.answered(channel)

    def _auth_trigger(self) -> None:
        super()._auth_trigger()  # type: ignore[misc]  # the stubs leave out private names
        self._client.admitted()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._client.ended()


class _Client(ServerInterface):
    """One connection: from knocking to its end."""

    def __init__(self, inbound: Inbound, address: str) -> None:
        self._inbound = inbound
        self.address = address
        self._key: ClientKey | None = None
        self.known = False
        self._lock = threading.Lock()
        self._channels = 0
        self._git_protocol: dict[int, str] = {}
        self._join: dict[int, Callable[[Channel], None]] = {}
        self._joined: set[int] = set()

    def key(self, blob: bytes) -> ClientKey:
        """The key that is offered; paramiko asks it to verify what follows."""
        self._key = ClientKey(self._inbound.core, blob)
        return self._key

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: PKey) -> int:
        blob = key.asbytes()
        known = bool(blob) and self._inbound.core.knows_key(blob)
        if not known:
            self._inbound.count("unknown key")
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if not self._ticket or kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        with self._lock:
            if self._channels >= self._inbound.bounds.channels:
                self._inbound.count("too many channels")
                return OPEN_FAILED_RESOURCE_SHORTAGE
            self._channels += 1
        return OPEN_SUCCEEDED

    def check_channel_env_request(self, channel: Channel, name: bytes, value: bytes) -> bool:
        if name != b"GIT_PROTOCOL" or len(value) > 64:
            return False
        self._git_protocol[channel.chanid] = value.decode("ascii", "replace")
        return True

    def check_channel_subsystem_request(self, channel: Channel, name: str) -> bool:
        return name == "syncsrv" and self._joins(channel, self._open_stream)

    def check_channel_exec_request(self, channel: Channel, command: bytes) -> bool:
        text = command.decode("utf-8", "replace")
        return self._joins(channel, lambda channel: self._open_git(channel, text))

    def check_channel_shell_request(self, channel: Channel) -> bool:
        return self._joins(channel, lambda channel: self._say(channel, NO_SHELL))

    def answered(self, channel: Channel) -> None:
        """The last request on this channel was answered: join it now, if that is what it asked for."""
        join = self._join.pop(channel.chanid, None)
        if join is not None:
            threading.Thread(target=join, args=(channel,), name="join", daemon=True).start()

    def admitted(self) -> None:
        """Core admitted this client; paramiko has told it so."""
        log.info("%s logged in as %s", self.address, self._key.label if self._key else "?")
        self._inbound.admitted(self)

    def ended(self) -> None:
        """The connection is over: so is its ticket."""
        self._inbound.forget(self)
        if self._ticket:
            try:
                self._inbound.core.close_ticket(self._ticket)
            except SyncsrvError as error:
                log.debug("core did not take back a ticket: %s", error)

    @property
    def _ticket(self) -> str:
        return self._key.ticket if self._key is not None else ""

    def _joins(self, channel: Channel, join: Callable[[Channel], None]) -> bool:
        if channel.chanid in self._joined:  # one program a channel, RFC 4254, 6.5
            return False
        self._joined.add(channel.chanid)
        self._join[channel.chanid] = join
        return True

    def _open_stream(self, channel: Channel) -> None:
        try:
            sock = self._inbound.core.open_stream(self._ticket)
        except SyncsrvError as error:
            log.warning("%s: %s", self.address, error)
            self._say(channel, str(error))
            return
        join_socket(channel, sock, self._channel_ended)

    def _open_git(self, channel: Channel, command: str) -> None:
        try:
            protocol = self._git_protocol.pop(channel.chanid, "")
            pipes = self._inbound.core.open_git(self._ticket, command, protocol)
        except SyncsrvError as error:
            self._say(channel, str(error))
            return
        join_program(channel, pipes, self._channel_ended)

    def _say(self, channel: Channel, text: str) -> None:
        say_and_close(channel, text, 1)
        self._channel_ended()

    def _channel_ended(self) -> None:
        with self._lock:
            self._channels -= 1


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
        self._listeners: list[_Listener] = []
        self._clients: dict[_Client, _InboundTransport] = {}
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
            earlier: list[_Listener] = []
            if listeners:
                earlier, self._listeners = self._listeners, [_Listener(sock) for sock in listeners]
                for listener in self._listeners:
                    listener.start(self._accept)
        for listener in earlier:
            listener.stop()

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
            _cut(transport)
        for transport in transports:
            transport.join()

    def count(self, what: str) -> None:
        """One more of what did not go well."""
        with self._lock:
            self.counts[what] += 1

    def admitted(self, client: _Client) -> None:
        """A connection has logged in: it no longer counts as unknown."""
        with self._lock:
            if not client.known:
                client.known = True
                self._unknown[client.address] -= 1
                self._unknown += Counter()  # drops the zeros

    def forget(self, client: _Client) -> None:
        """A connection has ended."""
        self.admitted(client)
        with self._lock:
            self._clients.pop(client, None)

    def _accept(self, listener: _Listener) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except _StoppedError:
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
        client = _Client(self, address)
        try:
            prepare(sock)
            transport = _InboundTransport(sock, client)
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

    def _late(self, client: _Client, transport: _InboundTransport) -> None:
        if not client.known:
            self.count("no login in time")
            self._say("no login in time", client.address)
            _cut(transport)


def _cut(transport: Transport) -> None:
    """End the TCP connection; the transport's own thread notices at once."""
    with contextlib.suppress(OSError):  # it has ended
        transport.sock.shutdown(socket.SHUT_RDWR)


class _StoppedError(Exception):
    """Nobody wants to accept any more."""


class _Listener:
    """A listening socket that other processes hold too: we stop accepting, we do not end it for them."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._wake, self._stop = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self.thread = threading.Thread(name="ssh accept", daemon=True)

    def start(self, accept: Callable[[_Listener], None]) -> None:
        self.thread = threading.Thread(target=accept, args=(self,), name="ssh accept", daemon=True)
        self.thread.start()

    def accept(self) -> tuple[socket.socket, tuple[object, ...]]:
        """The next connection; _StoppedError after ``stop``."""
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._wake in ready:
                raise _StoppedError
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # another process took it, or it left
                return self._sock.accept()

    def stop(self) -> None:
        self._stop.close()
        self.thread.join()
        self._selector.close()
        self._wake.close()
        self._sock.close()
