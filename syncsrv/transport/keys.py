"""Keys without a secret: paramiko asks them to sign and to verify, they ask core."""

from __future__ import annotations

from typing import Any

from paramiko.message import Message
from paramiko.pkey import PKey

from syncsrv.transport.corelink import CoreLink

KEY_TYPE = "ssh-ed25519"


class _CoreKey(PKey):
    """What paramiko wants to know of any key."""

    name = KEY_TYPE
    public_blob = None

    def __init__(self, core: CoreLink, blob: bytes) -> None:
        self._core = core
        self._blob = blob

    def asbytes(self) -> bytes:
        return self._blob

    def get_name(self) -> str:
        return self.name

    def get_bits(self) -> int:
        return 256

    @property
    def _fields(self) -> tuple[Any, ...]:
        return (self.name, self._blob)


class HostKey(_CoreKey):
    """This node's key, as the host that clients meet."""

    def can_sign(self) -> bool:
        return True

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        return _wrapped(self._core.sign_kex(data))


class LoginKey(_CoreKey):
    """This node's key, to log in at a peer."""

    def can_sign(self) -> bool:
        return True

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        return _wrapped(self._core.sign_auth(data))


class PeerHostKey(_CoreKey):
    """The key of a server that core has verified."""

    def can_sign(self) -> bool:
        return False


class ClientKey(_CoreKey):
    """The key that a client offers.

    Attributes:
        ticket: what core gave for a good signature; empty before.
        label: who that is, for the log.
    """

    def __init__(self, core: CoreLink, blob: bytes) -> None:
        super().__init__(core, blob)
        self.ticket = ""
        self.label = ""

    def can_sign(self) -> bool:
        return False

    def verify_ssh_sig(self, data: bytes, msg: Message) -> bool:
        """Whether core admits who signed this; core's refusal is an error that ends the connection."""
        admitted = self._core.verify_client(data, msg.asbytes())
        self.ticket, self.label = admitted.ticket, admitted.label
        return True


def _wrapped(raw: bytes) -> Message:
    message = Message()
    message.add_string(KEY_TYPE)
    message.add_string(raw)
    return message
