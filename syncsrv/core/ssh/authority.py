"""Who is who over SSH, and what may be signed: core's answers to one door process. No I/O.

The door may be in an enemy's hands. So core signs nothing but an exchange hash (32 or 64 bytes) and a login at a
pinned peer that has just proven its host key for the same session; and somebody counts as a peer or a person only
when core itself has checked their signature over a session id that core signed and that nobody used before. An
SSHSIG signature (tags, commits) can never come out of here: those begin with their magic, these with a length.

The hash is all that core sees of a key exchange, so an enemy could have it signed again and play a recorded login
again. Therefore a login is remembered for good (``UsedLogins``), over restarts of door and core.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from syncsrv.clock import Clock
from syncsrv.control.dispatch import Caller
from syncsrv.control.verbs import Door
from syncsrv.core.ssh.usedlogins import UsedLogins
from syncsrv.core.ssh.wire import HASH_SIZES, MalformedError, parse_signature, parse_userauth
from syncsrv.errors import DeniedError
from syncsrv.store.signing import verify_raw

USER = "syncsrv"
"""The name that nodes log in with at each other; people may use any."""

SESSION_S = 60.0
"""A session id that core signed is good for one login within this time."""

MAX_SESSIONS = 8192
MAX_TICKETS = 512

_SSHSIG = b"SSHSIG"


class Signer(Protocol):
    """The node's key, as store.signing has it."""

    public_blob: bytes

    def sign_raw(self, data: bytes) -> bytes:
        """64 bytes."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A peer's key from node.yaml, and what that peer may have done here."""

    name: str
    blob: bytes
    may: str


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A person's listed key."""

    name: str
    blob: bytes
    role: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Everybody who may come in, as the configuration and the list of people say now."""

    peers: Mapping[str, Pin]
    people: Mapping[bytes, PersonKey]


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom core found a client to be, and the key that proved it."""

    caller: Caller
    blob: bytes


class NotSignedError(DeniedError):
    """The door asked for a signature that core does not give."""

    code = "not-signed"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot sign for the door: {why}")


class NotAdmittedError(DeniedError):
    """A client, or a server, is not who it should be."""

    code = "not-admitted"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot admit the other side: {why}")


class Authority:
    """The memory of one connection with a door; it dies with it.

    Args:
        signer: the node's key.
        keys: who may come in, asked anew each time.
        used: the logins of all times, shared by all doors.
        clock: only its monotonic half.
    """

    def __init__(self, signer: Signer, keys: Callable[[], Keys], used: UsedLogins, clock: Clock) -> None:
        self._signer = signer
        self._keys = keys
        self._used = used
        self._clock = clock
        self._lock = threading.Lock()
        self._served = _Once(MAX_SESSIONS, SESSION_S)
        self._verified = _Once(MAX_SESSIONS, SESSION_S)
        self._tickets: OrderedDict[str, Principal] = OrderedDict()

    def sign_kex(self, exchange_hash: bytes) -> bytes:
        """Sign as the host of a connection; remembers the hash: of a first key exchange it is the session id.

        Raises:
            NotSignedError: it has not the size of a hash.
        """
        if len(exchange_hash) not in HASH_SIZES:
            raise NotSignedError(f"{len(exchange_hash)} bytes are no exchange hash")
        if exchange_hash.startswith(_SSHSIG):
            raise NotSignedError("this would be a signature over a file")
        with self._lock:
            self._served.add(exchange_hash, self._clock.monotonic())
        return self._signer.sign_raw(exchange_hash)

    def knows_key(self, blob: bytes) -> bool:
        """Whether a signature by this key could be admitted; a hint for clients that have several keys."""
        return self._find(blob) is not None

    def verify_client(self, blob: bytes, signature: bytes) -> tuple[str, Principal]:
        """Check what a client signed, and issue a ticket for whoever that makes it.

        Raises:
            NotAdmittedError: with the reason; the session id is used up unless it was never good.
        """
        try:
            request = parse_userauth(blob)
            raw = parse_signature(signature)
        except MalformedError as error:
            raise NotAdmittedError(f"its login request is malformed: {error}") from error
        caller = self._find(request.key)
        if caller is None:
            raise NotAdmittedError("its key is not listed here")
        with self._lock:
            if not self._served.use(request.session_id, self._clock.monotonic()):
                raise NotAdmittedError("its session was not begun by this node just now")
        if not verify_raw(request.key, raw, blob):
            raise NotAdmittedError("its signature is wrong")
        if not self._used.add(request.session_id):
            raise NotAdmittedError("this login was used before")
        principal = Principal(caller, request.key)
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            if len(self._tickets) >= MAX_TICKETS:
                raise NotAdmittedError("too many connections are open")
            self._tickets[ticket] = principal
        return ticket, principal

    def redeem(self, ticket: str) -> Principal:
        """Who holds this ticket, with the rights of now.

        Raises:
            NotAdmittedError: the ticket is closed or was never issued, or its key is no longer listed.
        """
        with self._lock:
            principal = self._tickets.get(ticket)
        if principal is None:
            raise NotAdmittedError("its connection is over")
        caller = self._find(principal.blob)
        if caller is None or (caller.door, caller.node, caller.person) != (
            principal.caller.door,
            principal.caller.node,
            principal.caller.person,
        ):
            self.close_ticket(ticket)
            raise NotAdmittedError("its key is no longer listed here")
        return Principal(caller, principal.blob)

    def close_ticket(self, ticket: str) -> None:
        """The connection that this ticket stood for has ended."""
        with self._lock:
            self._tickets.pop(ticket, None)

    def tickets(self) -> tuple[str, ...]:
        """Those that are open."""
        with self._lock:
            return tuple(self._tickets)

    def verify_host(self, peer: str, exchange_hash: bytes, signature: bytes) -> None:
        """Check that a server holds the pinned key of ``peer``; one login there may then be signed.

        Raises:
            NotAdmittedError: it does not, or there is no such peer.
        """
        pin = self._keys().peers.get(peer)
        if pin is None:
            raise NotAdmittedError(f"no peer is called {peer[:64]}")
        try:
            raw = parse_signature(signature)
        except MalformedError as error:
            raise NotAdmittedError(f"its host signature is malformed: {error}") from error
        if len(exchange_hash) not in HASH_SIZES or not verify_raw(pin.blob, raw, exchange_hash):
            raise NotAdmittedError("its host signature is wrong")
        with self._lock:
            self._verified.add(exchange_hash, self._clock.monotonic())

    def sign_auth(self, blob: bytes) -> bytes:
        """Sign our login at a peer.

        Raises:
            NotSignedError: it is anything but our login in a session whose host was verified just now.
        """
        if blob.startswith(_SSHSIG):
            raise NotSignedError("this would be a signature over a tag or a commit")
        try:
            request = parse_userauth(blob)
        except MalformedError as error:
            raise NotSignedError(f"this is no login request: {error}") from error
        if request.user != USER or request.key != self._signer.public_blob:
            raise NotSignedError("this is not a login of this node")
        with self._lock:
            if not self._verified.use(request.session_id, self._clock.monotonic()):
                raise NotSignedError("no pinned peer was verified for this session just now")
        return self._signer.sign_raw(blob)

    def _find(self, blob: bytes) -> Caller | None:
        if blob == self._signer.public_blob:  # a node is not its own peer, whatever node.yaml says
            return None
        keys = self._keys()
        for pin in keys.peers.values():
            if pin.blob == blob:
                return Caller(Door.PEER, pin.may, node=pin.name, via="peer")
        person = keys.people.get(blob)
        if person is None:
            return None
        return Caller(Door.PERSON, person.role, person.name, via="ssh")


class _Once:
    """Hashes that are good once, for a time; the oldest go when there are too many."""

    def __init__(self, limit: int, lasts_s: float) -> None:
        self._limit = limit
        self._lasts_s = lasts_s
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, value: bytes, now: float) -> None:
        self._until.pop(value, None)
        while self._until and (len(self._until) >= self._limit or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)
        self._until[value] = now + self._lasts_s

    def use(self, value: bytes, now: float) -> bool:
        until = self._until.pop(value, None)
        return until is not None and now < until
