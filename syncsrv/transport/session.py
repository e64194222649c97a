"""One SSH connection from outside: its login, its channels, its end.

All that is decided here is bounds. Who the client is, and what it may have, core decides.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Protocol

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
from paramiko.transport import Transport

from syncsrv.errors import SyncsrvError
from syncsrv.transport.corelink import CoreLink
from syncsrv.transport.keys import KEY_TYPE, ClientKey
from syncsrv.transport.pump import join_program, join_socket, say_and_close
from syncsrv.transport.suite import SuiteTransport

log = logging.getLogger(__name__)

NO_SHELL = "there is no shell here; use `git clone ssh://NODE:PORT/config`, or the syncsrv command line on the node"


class Host(Protocol):
    """What a connection needs of whoever accepted it."""

    core: CoreLink

    @property
    def max_channels(self) -> int:
        """Channels at once of one connection."""

    def count(self, what: str) -> None:
        """One more of what did not go well."""

    def admitted(self, client: Client) -> None:
        """It has logged in."""

    def forget(self, client: Client) -> None:
        """It has ended."""


class _Auth(AuthHandler):
    """Public keys of any type are read as an offer; only Ed25519 is ever taken."""

    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> PKey:
        # paramiko would end the connection at the first key of another type, and people's agents offer several.
        server = self.transport.server_object
        assert isinstance(server, Client)
        return server.key(keyblob if algorithm == KEY_TYPE else b"")


class InboundTransport(SuiteTransport):
    """A Transport that joins a channel only after its request was answered: else the end can overtake the answer."""

    def __init__(self, sock: socket.socket, client: Client) -> None:
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


class Client(ServerInterface):
    """One connection: from knocking to its end."""

    def __init__(self, inbound: Host, address: str) -> None:
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
            if self._channels >= self._inbound.max_channels:
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
