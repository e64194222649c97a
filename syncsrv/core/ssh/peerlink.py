"""How core asks its peers: one kept connection each, through the door, dialled at the first question.

A connection that broke is dialled anew at once by the next question, whoever asks. One on which an answer did not
come in time takes no further questions, because it may be dead without a sign; what is under way on it may end.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from syncsrv.control.connection import Connection, Stream
from syncsrv.control.doorverbs import Dial, Dialled, DialReply, pack, unpack
from syncsrv.control.errors import Body
from syncsrv.control.frames import BadFrameError, ConnectionLostError, NotSentError, ProtocolMismatchError
from syncsrv.control.waiting import NoAnswerError, reason
from syncsrv.core.ssh.doorlink import DoorAwayError
from syncsrv.errors import SyncsrvError, UnreachableError, UsageError
from syncsrv.store.signing import fingerprint

log = logging.getLogger(__name__)

T = TypeVar("T")

DIAL_S = 3.0
DOOR_S = 5.0
"""For the door to come (back): after a restart of core it is there a second or two later."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer is and how it proves who it is.

    Attributes:
        name: its name in node.yaml.
        address: ``HOST:PORT`` or ``[HOST]:PORT``.
        key: the blob of its public key.
    """

    name: str
    address: str
    key: bytes


class Dialler(Protocol):
    """The door, as DoorLink offers it."""

    def dial(self, request: Dial) -> tuple[DialReply, socket.socket | None]:
        """A socket that speaks frames with the peer, or why not."""

    def wait(self, deadline_s: float) -> bool:
        """Whether it is there within ``deadline_s`` seconds."""

    def hang_up(self, peer: str) -> None:
        """Forget what is kept of it."""


class WrongHostKeyError(UnreachableError):
    """What answers at the peer's address has another key than the pinned one."""

    code = "wrong-host-key"

    def __init__(self, peer: PeerAddress, presented: bytes) -> None:
        shown = fingerprint(presented) if presented else "none"
        super().__init__(
            f"cannot trust {peer.name} at {peer.address}: it shows the key {shown},"
            f" node.yaml has pinned {fingerprint(peer.key)}",
            f"compare with `syncsrv key` on {peer.name}; if it has a new key, correct peers.{peer.name}.key",
        )
        self.peer = peer.name
        self.presented = presented


class NotKnownThereError(UnreachableError):
    """The peer does not let our key in."""

    code = "not-known-there"

    def __init__(self, peer: PeerAddress, own_fingerprint: str) -> None:
        super().__init__(
            f"cannot log in at {peer.name}: it does not know this node's key ({own_fingerprint})",
            f"put the line of `syncsrv key` of this node into peers: in node.yaml on {peer.name}",
        )
        self.peer = peer.name


class PeerUnreachableError(UnreachableError):
    """The peer could not be asked; ``why`` in few words."""

    def __init__(self, peer: str, why: str, remedy: str = "") -> None:
        super().__init__(
            f"cannot reach {peer}: {why}",
            remedy or f"check that syncsrv runs on {peer} (`systemctl status 'syncsrv*'`) and the network between",
        )
        self.peer = peer
        self.why = why


class UnknownPeerError(UsageError):
    """node.yaml has no such peer."""

    code = "unknown-peer"

    def __init__(self, name: str, known: Mapping[str, PeerAddress]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"cannot ask {name[:64]}: node.yaml has no such peer", f"the peers are: {names}")


@dataclass(slots=True, eq=False)
class _Lane:
    """One connection with a peer and how many use it."""

    connection: Connection
    users: int = 0
    retired: bool = False


@dataclass(slots=True, eq=False)
class _PeerState:
    dialling: threading.Lock = field(default_factory=threading.Lock)
    lane: _Lane | None = None
    suspect: bool = False
    """The last connection went silent: the door must not use its own one again either."""


class PeerLinks:
    """The connections with all peers.

    Args:
        peers: the configured peers, asked anew each time.
        door: dials.
        own_key: the blob of this node's public key.
        node: this node's name.
        version: this program's version.
    """

    def __init__(
        self,
        peers: Callable[[], Mapping[str, PeerAddress]],
        door: Dialler,
        *,
        own_key: bytes,
        node: str,
        version: str,
    ) -> None:
        self._peers = peers
        self._door = door
        self._own_key = own_key
        self._node = node
        self._version = version
        self._lock = threading.Lock()
        self._states: dict[str, _PeerState] = {}
        self._closed = False

    def call(
        self, peer: str, verb: str, body: Body | None = None, *, deadline_s: float, person: str | None = None
    ) -> Body:
        """Ask a peer and wait for the reply; dials if need be, within the deadline.

        Raises:
            UnknownPeerError: node.yaml has no such peer.
            UnreachableError: it could not be asked, or did not answer; of a class that says which.
            ProtocolMismatchError: it runs another version that cannot be talked to.
            SyncsrvError: what the peer answered.
        """
        ends_at = time.monotonic() + deadline_s

        def ask(lane: _Lane) -> Body:
            left_s = max(0.01, ends_at - time.monotonic())
            return lane.connection.call(verb, body, deadline_s=left_s, person=person)

        return self._ask(peer, deadline_s, verb, ask)

    def stream(
        self,
        peer: str,
        verb: str,
        body: Body | None = None,
        *,
        deadline_s: float,
        idle_s: float = 30.0,
        person: str | None = None,
    ) -> Stream:
        """Ask a peer for a reply with bytes after it; close it. Errors as in ``call``, also while it is read."""

        def ask(lane: _Lane) -> Stream:
            stream = lane.connection.stream(verb, body, deadline_s=deadline_s, idle_s=idle_s, person=person)
            with self._lock:
                lane.users += 1
            stream.on_close = lambda: self._leave(lane)
            stream.translate = lambda error: self._failed(peer, lane, verb, error)
            return stream

        return self._ask(peer, deadline_s, verb, ask)

    def version(self, peer: str) -> str | None:
        """What the peer said of its version; None while it is not connected."""
        with self._lock:
            state = self._states.get(peer)
            return state.lane.connection.hello.version if state is not None and state.lane is not None else None

    def hang_up(self, peer: str) -> None:
        """End the connection with a peer: it is no longer configured, or has another key."""
        with self._lock:
            state = self._states.pop(peer, None)
        if state is not None and state.lane is not None:
            state.lane.connection.close()
        self._door.hang_up(peer)

    def close(self) -> None:
        """End every connection; none is made any more."""
        with self._lock:
            self._closed = True
            states, self._states = list(self._states.values()), {}
        for state in states:
            if state.lane is not None:
                state.lane.connection.close()

    def _ask(self, peer: str, deadline_s: float, verb: str, ask: Callable[[_Lane], T]) -> T:
        """Ask over the kept connection; over a new one where the kept one turns out to be over before it was asked."""
        try:
            with self._lane(peer, deadline_s, verb) as lane:
                return ask(lane)
        except NotSentError:
            pass
        try:
            with self._lane(peer, deadline_s, verb) as lane:
                return ask(lane)
        except NotSentError as error:
            raise PeerUnreachableError(peer, f"the connection ended at once ({reason(error)})") from error

    @contextmanager
    def _lane(self, name: str, deadline_s: float, verb: str) -> Iterator[_Lane]:
        peers = self._peers()
        peer = peers.get(name)
        if peer is None:
            raise UnknownPeerError(name, peers)
        lane = self._enter(peer, deadline_s)
        try:
            yield lane
        except NotSentError:
            raise
        except (NoAnswerError, ConnectionLostError, BadFrameError) as error:
            raise self._failed(name, lane, verb, error) from error
        finally:
            self._leave(lane)

    def _failed(self, peer: str, lane: _Lane, verb: str, error: SyncsrvError) -> SyncsrvError:
        """What went wrong on a connection, as what it means for its peer; what the peer answered stays as it is."""
        if isinstance(error, NoAnswerError):
            self._retire(peer, lane)
            return PeerUnreachableError(peer, f'it did not answer "{verb}" within {error.deadline_s:.3g} s')
        if isinstance(error, ConnectionLostError):
            return PeerUnreachableError(peer, f'the connection ended before it answered "{verb}" ({reason(error)})')
        if isinstance(error, BadFrameError):
            return PeerUnreachableError(peer, f"it sent what cannot be understood ({error.reason})")
        return error

    def _enter(self, peer: PeerAddress, deadline_s: float) -> _Lane:
        with self._lock:
            if self._closed:
                raise PeerUnreachableError(peer.name, "this node is ending")
            state = self._states.setdefault(peer.name, _PeerState())
            lane = self._usable(state)
        if lane is not None:
            return lane
        if not state.dialling.acquire(timeout=deadline_s):
            raise PeerUnreachableError(peer.name, f"no connection within {deadline_s:g} s")
        try:
            with self._lock:
                lane = self._usable(state)
            return lane or self._dial(peer, state, deadline_s)
        finally:
            state.dialling.release()

    def _usable(self, state: _PeerState) -> _Lane | None:
        lane = state.lane
        if lane is None or lane.retired or not lane.connection.alive:
            return None
        lane.users += 1
        return lane

    def _dial(self, peer: PeerAddress, state: _PeerState, deadline_s: float) -> _Lane:
        host, port = resolve(peer, min(deadline_s, DIAL_S))
        ends_at = time.monotonic() + deadline_s
        self._door.wait(min(deadline_s, DOOR_S))
        left_s = round(max(0.1, min(ends_at - time.monotonic(), DIAL_S)), 2)
        request = Dial(
            peer.name, host, port, pack(peer.key), pack(self._own_key), deadline_s=left_s, fresh=state.suspect
        )
        try:
            reply, sock = self._door.dial(request)
        except DoorAwayError as error:
            raise PeerUnreachableError(peer.name, reason(error), error.remedy) from error
        if sock is None:
            raise self._dial_error(peer, reply)
        connection = Connection(sock, node=self._node, version=self._version)
        try:
            connection.start(left_s)
        except ProtocolMismatchError:
            raise
        except SyncsrvError as error:
            state.suspect = True
            raise PeerUnreachableError(
                peer.name, f"it let this node in and then said nothing ({reason(error)})"
            ) from error
        lane = _Lane(connection, users=1)
        with self._lock:
            if self._closed or self._states.get(peer.name) is not state:
                lane.retired = True
            else:
                state.lane, state.suspect = lane, False
        return lane

    def _dial_error(self, peer: PeerAddress, reply: DialReply) -> UnreachableError:
        if reply.result is Dialled.WRONG_HOST_KEY:
            return WrongHostKeyError(peer, unpack(reply.presented))
        if reply.result is Dialled.NOT_KNOWN_THERE:
            return NotKnownThereError(peer, fingerprint(self._own_key))
        return PeerUnreachableError(peer.name, f"{reply.detail} at {peer.address}")

    def _retire(self, name: str, lane: _Lane) -> None:
        with self._lock:
            lane.retired = True
            state = self._states.get(name)
            if state is not None and state.lane is lane:
                state.lane, state.suspect = None, True

    def _leave(self, lane: _Lane) -> None:
        with self._lock:
            lane.users -= 1
            over = lane.retired and lane.users == 0
        if over:
            lane.connection.close()


def resolve(peer: PeerAddress, deadline_s: float) -> tuple[str, int]:
    """The peer's address as numbers: the door looks nothing up.

    Raises:
        UnreachableError: the name is not known, or nobody says in time.
    """
    host, _, port_text = peer.address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise PeerUnreachableError(
            peer.name, f"{peer.address} is no address", f"write peers.{peer.name}.address as HOST:PORT"
        )
    port = int(port_text)
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        return _look_up(peer.name, host, port, deadline_s), port


def _look_up(peer: str, host: str, port: int, deadline_s: float) -> str:
    found: Future[str] = Future()

    def ask() -> None:
        try:
            found.set_result(str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]))
        except OSError as error:
            found.set_exception(error)

    # The resolver takes no deadline; its thread ends when the resolver gives up.
    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    remedy = f"write its IP address into peers.{peer}.address"
    try:
        return found.result(deadline_s)
    except TimeoutError as error:
        raise PeerUnreachableError(peer, f"nobody says which address {host} has", remedy) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise PeerUnreachableError(peer, f"the name {host} has no address ({why})", remedy) from error
