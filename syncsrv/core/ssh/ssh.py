"""Core's side of SSH, joined: the door's address and whom it lets in, the peers, stock Git.

The door carries bytes; what decides is in ``authority.py``.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.config.load import Configuration
from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Caller
from syncsrv.control.serve import Server
from syncsrv.core.people import People
from syncsrv.core.ssh.authority import Authority, Keys, PersonKey, Pin
from syncsrv.core.ssh.doorlink import DoorLink
from syncsrv.core.ssh.gitserve import GitServer
from syncsrv.core.ssh.peerlink import PeerAddress, PeerLinks, resolve
from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.errors import SyncsrvError, UnreachableError
from syncsrv.privilege import installed
from syncsrv.store.signing import Signer, parse_public_line
from syncsrv.version import __version__

log = logging.getLogger(__name__)

USER = "syncsrv-door"
RESOLVE_S = 3.0


class ListenError(SyncsrvError):
    """The SSH address cannot be listened at."""

    code = "listen"

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"cannot listen at {address}: {why}", "correct `ssh: {listen:}` in node.yaml, or end what listens there"
        )


class Ssh:
    """The node's SSH, in and out.

    Args:
        config: the configuration in force.
        signer: the node's key.
        people: whose keys may come in.
        repository: what stock Git is served.
        clock: for the authority.
    """

    def __init__(
        self, config: Callable[[], Configuration], signer: Signer, people: People, repository: Path, clock: Clock
    ) -> None:
        node = config().node
        self._config = config
        self._people = people
        self._git = GitServer(repository)
        self._used = UsedLogins(repository.parent / "used-logins")
        self._server: Server | None = None
        self._listening: tuple[str, socket.socket] | None = None
        self._link = DoorLink(
            new_authority=lambda: Authority(signer, self._keys, self._used, clock),
            own_key=signer.public_blob,
            serve=self._serve,
            git=self._git.start,
            node=node.node,
            version=__version__,
        )
        self.peers = PeerLinks(
            self._addresses, self._link, own_key=signer.public_blob, node=node.node, version=__version__
        )
        self._known = self._addresses()

    def start(self, server: Server, path: Path) -> None:
        """Listen for the door process at ``path``, and give it what it needs."""
        self._server = server
        self.configure()
        user = installed(USER)
        if user is None:
            self._link.listen(path)
        else:  # a door of its own unit; only root can give the socket to that group
            self._link.listen(path, group=user.gid if os.geteuid() == 0 else None, users=(user.uid,))

    def configure(self) -> None:
        """Take over node.yaml: the listening address, the peers, who may connect.

        Raises:
            ListenError: the address cannot be had.
        """
        listen = self._config().node.ssh.listen
        old = self._listening
        fresh: tuple[socket.socket, ...] = ()
        if old is None or old[0] != listen:
            self._listening = (listen, _listen(listen))
            fresh = (self._listening[1],)
        self._link.configure(self._sources(), fresh)
        if old is not None and fresh:
            old[1].close()
        before, self._known = self._known, self._addresses()
        for name, address in before.items():
            if self._known.get(name) != address:
                self.peers.hang_up(name)
        self.recheck()

    def wait(self, deadline_s: float) -> bool:
        """Whether the door is there within ``deadline_s`` seconds, so that a peer can be asked."""
        return self._link.wait(deadline_s)

    def end_waiting(self) -> None:
        """Core ends: whoever waits for the door is told at once that there is none."""
        self._link.end_waiting()

    def recheck(self) -> None:
        """Keys or roles changed: who lost theirs is out now."""
        self._link.recheck()

    def close(self) -> None:
        """End everything that goes over SSH."""
        self.peers.close()
        self._link.close()
        if self._listening is not None:
            self._listening[1].close()
        self._git.close()
        self._used.close()

    def _addresses(self) -> dict[str, PeerAddress]:
        return {
            name: PeerAddress(name, peer.address, parse_public_line(peer.key))
            for name, peer in self._config().node.peers.items()
        }

    def _sources(self) -> tuple[str, ...]:
        """From where connections are taken: the peers' addresses, and what ``ssh: {from:}`` adds."""
        networks = list(self._config().node.ssh.from_)
        for address in self._addresses().values():
            try:
                host, _ = resolve(address, RESOLVE_S)
            except UnreachableError as error:
                log.warning("nothing is taken from %s: %s", address.name, error)
            else:
                networks.append(str(ipaddress.ip_network(host)))
        return tuple(networks)

    def _keys(self) -> Keys:
        node = self._config().node
        peers = {name: Pin(name, parse_public_line(peer.key), peer.may.value) for name, peer in node.peers.items()}
        people = {blob: PersonKey(name, blob, power.value) for blob, (name, power) in self._people.keys().items()}
        return Keys(peers, people)

    def _serve(self, sock: socket.socket, caller: Caller) -> Connection:
        assert self._server is not None
        return self._server.start_socket(sock, caller)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ListenError(address, (error.strerror or str(error)).lower()) from error
    return listener
