"""Core's side of SSH: who may come in, where the door listens, and one kept connection to each peer.

The door carries bytes; everything that decides is here and in ``authority.py``.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.config.load import Configuration
from syncsrv.config.model import Node, Peer
from syncsrv.control.connection import Connection, Stream
from syncsrv.control.dispatch import Caller
from syncsrv.control.doorverbs import Dial, Dialled, DialReply, pack, unpack
from syncsrv.control.errors import Body
from syncsrv.control.frames import ConnectionLostError
from syncsrv.control.serve import Server
from syncsrv.control.waiting import NoAnswerError
from syncsrv.core.authority import Authority, Keys, PersonKey, Pin
from syncsrv.core.doorlink import DoorAwayError, DoorLink
from syncsrv.core.gitserve import GitServer
from syncsrv.core.people import People
from syncsrv.core.usedlogins import UsedLogins
from syncsrv.errors import SyncsrvError, UnreachableError
from syncsrv.store.signing import Signer, fingerprint, parse_public_line
from syncsrv.version import __version__

log = logging.getLogger(__name__)

DIAL_S = 3.0


class WrongHostKeyError(UnreachableError):
    """Somebody else answers at a peer's address."""

    code = "wrong-host-key"

    def __init__(self, peer: str, address: str, pinned: bytes, presented: str) -> None:
        shown = fingerprint(unpack(presented)) if presented else "another key"
        super().__init__(
            f"cannot reach {peer}: the host at {address} shows the key {shown}, not the pinned {fingerprint(pinned)}",
            f"compare with `syncsrv key` on {peer}; if that is right now, correct `peers: {peer}: key` in node.yaml",
        )


class NotKnownThereError(UnreachableError):
    """A peer does not let this node in."""

    code = "not-known-there"

    def __init__(self, peer: str, address: str) -> None:
        super().__init__(
            f"cannot reach {peer}: the host at {address} does not know this node's key",
            f"put the line of `syncsrv key` into `peers:` of node.yaml on {peer}, and reload it",
        )


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
        self._config = config
        self._signer = signer
        self._people = people
        self._git = GitServer(repository)
        self._used = UsedLogins(repository.parent / "used-logins")
        self._clock = clock
        self._server: Server | None = None
        self._link: DoorLink | None = None
        self._listening: tuple[str, socket.socket] | None = None
        self._lock = threading.Lock()
        self._peers: dict[str, _Kept] = {}

    def start(self, server: Server, path: Path) -> None:
        """Listen for the door process at ``path``, and give it what it needs."""
        node = self._config().node
        self._server = server
        self._link = DoorLink(
            new_authority=lambda: Authority(self._signer, self._keys, self._used, self._clock),
            own_key=self._signer.public_blob,
            serve=self._serve,
            git=self._git.start,
            node=node.node,
            version=__version__,
        )
        self.configure()
        self._link.listen(path)

    def configure(self) -> None:
        """Take over node.yaml: the listening address, the peers, who may connect.

        Raises:
            ListenError: the address cannot be had.
        """
        assert self._link is not None
        node = self._config().node
        fresh: tuple[socket.socket, ...] = ()
        old = self._listening
        if old is None or old[0] != node.ssh.listen:
            self._listening = (node.ssh.listen, _listen(node.ssh.listen))
            fresh = (self._listening[1],)
        self._link.configure(sources(node), fresh)
        if old is not None and fresh:
            old[1].close()
        with self._lock:
            gone = {
                name: kept
                for name, kept in self._peers.items()
                if name not in node.peers or node.peers[name] != kept.peer
            }
            for name in gone:
                del self._peers[name]
        for name, kept in gone.items():
            kept.drop()
            self._link.hang_up(name)
        self.recheck()

    def recheck(self) -> None:
        """Keys or roles changed: who lost theirs is out now."""
        if self._link is not None:
            self._link.recheck()

    def close(self) -> None:
        """End everything that goes over SSH."""
        with self._lock:
            peers = list(self._peers.values())
        for kept in peers:
            kept.drop()
        if self._link is not None:
            self._link.close()
        if self._listening is not None:
            self._listening[1].close()
        self._git.close()
        self._used.close()

    # -- asking peers

    def call(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Body:
        """Ask a peer over its kept connection, dialled anew where that is dead.

        Raises:
            UnreachableError: it cannot be reached, or does not answer in time.
            SyncsrvError: what it answered.
        """
        try:
            return self._connected(peer, deadline_s).call(verb, body, deadline_s=deadline_s, person=person)
        except (ConnectionLostError, NoAnswerError, DoorAwayError) as error:
            raise self._unreachable(peer, error) from error

    def stream(self, peer: str, verb: str, body: Body, *, deadline_s: float, person: str | None = None) -> Stream:
        """The same for a verb whose reply has bytes behind it.

        Raises:
            UnreachableError, SyncsrvError: as ``call``.
        """
        try:
            return self._connected(peer, DIAL_S).stream(verb, body, deadline_s=deadline_s, person=person)
        except (ConnectionLostError, NoAnswerError, DoorAwayError) as error:
            raise self._unreachable(peer, error) from error

    def _connected(self, name: str, deadline_s: float) -> Connection:
        peer = self._config().node.peers.get(name)
        if peer is None:
            raise UnreachableError(f"cannot reach {name}: no such peer", "`peers:` of node.yaml names them")
        with self._lock:
            kept = self._peers.get(name)
            if kept is None:
                kept = self._peers[name] = _Kept(name, peer)
        return kept.connection(lambda: self._dial(name, peer, min(DIAL_S, deadline_s)))

    def _dial(self, name: str, peer: Peer, deadline_s: float) -> Connection:
        assert self._link is not None
        host, port = split_address(peer.address)
        pinned = parse_public_line(peer.key)
        request = Dial(name, host, port, pack(pinned), pack(self._signer.public_blob), deadline_s)
        reply, sock = self._link.dial(request)
        if sock is None:
            raise _why_not(name, peer.address, pinned, reply)
        connection = Connection(sock, node=self._config().node.node, version=__version__)
        connection.start(deadline_s)
        return connection

    def _unreachable(self, peer: str, error: SyncsrvError) -> UnreachableError:
        why = error.message.split(": ", 1)[-1]
        with self._lock:
            kept = self._peers.get(peer)
        if kept is not None and isinstance(error, NoAnswerError):
            kept.drop()
        return UnreachableError(f"cannot reach {peer}: {why}", error.remedy or f"see whether syncsrv runs on {peer}")

    # -- who may come in

    def _keys(self) -> Keys:
        node = self._config().node
        peers = {name: Pin(name, parse_public_line(peer.key), peer.may.value) for name, peer in node.peers.items()}
        people = {blob: PersonKey(name, blob, power.value) for blob, (name, power) in self._people.keys().items()}
        return Keys(peers, people)

    def _serve(self, sock: socket.socket, caller: Caller) -> Connection:
        assert self._server is not None
        return self._server.start_socket(sock, caller)


class _Kept:
    """One connection to one peer; dialled by one thread at a time."""

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def connection(self, dial: Callable[[], Connection]) -> Connection:
        with self._lock:
            if self._connection is None or not self._connection.alive:
                self._connection = dial()
            return self._connection

    def drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _why_not(name: str, address: str, pinned: bytes, reply: DialReply) -> SyncsrvError:
    match reply.result:
        case Dialled.WRONG_HOST_KEY:
            return WrongHostKeyError(name, address, pinned, reply.presented)
        case Dialled.NOT_KNOWN_THERE:
            return NotKnownThereError(name, address)
        case Dialled.TIMEOUT:
            why = f"nothing answers at {address} in time"
        case _:
            why = f"{address}: {reply.detail}"
    return UnreachableError(
        f"cannot reach {name}: {why}", f"see whether syncsrv runs on {name} and the network is well"
    )


def sources(node: Node) -> tuple[str, ...]:
    """From where connections are taken: the peers' addresses, and what ``ssh: {from:}`` adds."""
    networks = []
    for name, peer in node.peers.items():
        host, _ = split_address(peer.address)
        try:
            networks.append(str(ipaddress.ip_network(host)))
        except ValueError:
            log.warning("peer %s: %s is no address in numbers; nothing is taken from there", name, host)
    return (*networks, *node.ssh.from_)


def split_address(address: str) -> tuple[str, int]:
    """``192.0.2.2:8022`` or ``[2001:db8::2]:8022`` as host and port; the configuration was checked."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ListenError(address, (error.strerror or str(error)).lower()) from error
    return listener
