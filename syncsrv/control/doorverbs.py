"""What core and the door process ask of each other, over the one connection between them. Standard library only.

The door has no key and decides nothing: it asks core to sign, to verify, and for the other end of each channel, which
comes as a descriptor. Whatever the door says about who somebody is counts for nothing; core checks it anew. Bytes
travel as base64.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door, Verb
from syncsrv.errors import UsageError


def pack(data: bytes) -> str:
    """Bytes as they travel."""
    return base64.b64encode(data).decode()


def unpack(text: str) -> bytes:
    """Bytes that travelled.

    Raises:
        UsageError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise UsageError("cannot read what the other process sent: it is not base64") from error


@dataclass(frozen=True, slots=True)
class SignKex:
    """Sign this exchange hash with the node's key, as the host of a connection."""

    hash: str


@dataclass(frozen=True, slots=True)
class SignAuth:
    """Sign this request to log in at a peer whose host key core verified for the same session."""

    blob: str


@dataclass(frozen=True, slots=True)
class Signature:
    """The 64 bytes of an Ed25519 signature."""

    signature: str


@dataclass(frozen=True, slots=True)
class KnowsKey:
    """May somebody with this public key come in at all?"""

    key: str


@dataclass(frozen=True, slots=True)
class Known:
    """The answer to KnowsKey; worth nothing without VerifyClient."""

    known: bool


@dataclass(frozen=True, slots=True)
class VerifyClient:
    """A client signed this blob (RFC 4252, 7); ``signature`` with its algorithm's name in front."""

    blob: str
    signature: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """``ticket`` stands for whoever core found the client to be, until CloseTicket; ``label`` is for the log."""

    ticket: str
    label: str


@dataclass(frozen=True, slots=True)
class VerifyHost:
    """A server that should be ``peer`` signed this exchange hash."""

    peer: str
    hash: str
    signature: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Whom core admitted: open the frames' other end for it (one socket comes back), or forget it."""

    ticket: str


@dataclass(frozen=True, slots=True)
class OpenGit:
    """Run this Git command; its stdin, stdout, stderr and a pipe with its exit status come back."""

    ticket: str
    command: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Take connections from these networks, on the listening sockets that come along (none: those it has)."""

    host_key: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dial:
    """Join the socket that comes along with a channel for frames at a peer.

    Attributes:
        peer: its name.
        host: its address, a number: the door resolves no names.
        port: its port.
        host_key: the public key it must prove.
        own_key: the public key we log in with.
        deadline_s: seconds for all of it.
        fresh: do not use the connection that is kept, it may be dead.
    """

    peer: str
    host: str
    port: int
    host_key: str
    own_key: str
    deadline_s: float
    fresh: bool = False


class Dialled(enum.StrEnum):
    """How a Dial ended."""

    OPEN = "open"
    WRONG_HOST_KEY = "wrong-host-key"
    NOT_KNOWN_THERE = "not-known-there"
    """The peer refused our key."""
    NO_CHANNEL = "no-channel"
    """The peer let us in and then opened nothing."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class DialReply:
    """``detail`` is why; ``presented`` the host key that came where it was the wrong one."""

    result: Dialled
    detail: str = ""
    presented: str = ""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Drop the connection to a peer that is kept: it is no longer configured, or its key changed."""

    peer: str


_DOOR = frozenset({Door.DOOR})


def _table(*verbs: Verb) -> Mapping[str, Verb]:
    return {verb.name: verb for verb in verbs}


TO_CORE = _table(
    Verb("sign-kex", SignKex, Signature, "", _DOOR),
    Verb("sign-auth", SignAuth, Signature, "", _DOOR),
    Verb("knows-key", KnowsKey, Known, "", _DOOR),
    Verb("verify-client", VerifyClient, Admitted, "", _DOOR),
    Verb("verify-host", VerifyHost, Empty, "", _DOOR),
    Verb("open-stream", Ticket, Empty, "", _DOOR),
    Verb("open-git", OpenGit, Empty, "", _DOOR),
    Verb("close-ticket", Ticket, Empty, "", _DOOR),
)
"""What the door asks core."""

TO_DOOR = _table(
    Verb("configure", Configure, Empty, "", _DOOR),
    Verb("dial", Dial, DialReply, "", _DOOR),
    Verb("hang-up", HangUp, Empty, "", _DOOR),
)
"""What core asks the door."""
