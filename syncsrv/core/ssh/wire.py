"""The two messages of SSH that core itself reads before it trusts or signs anything (RFC 4251, 4252). Pure."""

from __future__ import annotations

from dataclasses import dataclass

KEY_TYPE = b"ssh-ed25519"
HASH_SIZES = (32, 64)
"""Bytes of an exchange hash: SHA-256 and SHA-512."""

_USERAUTH_REQUEST = 50


class MalformedError(ValueError):
    """The bytes are not the message that they should be; callers turn it into their own refusal."""


@dataclass(frozen=True, slots=True)
class UserAuth:
    """What a client signs to log in with a public key (RFC 4252, 7)."""

    session_id: bytes
    user: str
    key: bytes


def string(data: bytes) -> bytes:
    """A string as SSH writes it."""
    return len(data).to_bytes(4, "big") + data


def parse_userauth(blob: bytes) -> UserAuth:
    """The one shape that is accepted: publickey, ssh-ed25519, for ssh-connection, and not a byte more.

    Raises:
        MalformedError: it is anything else.
    """
    reader = _Reader(blob)
    session_id = reader.string()
    if len(session_id) not in HASH_SIZES:
        raise MalformedError("its session id is no hash")
    reader.expect(bytes([_USERAUTH_REQUEST]), "message number")
    user = reader.string()
    reader.expect(string(b"ssh-connection"), "service")
    reader.expect(string(b"publickey"), "method")
    reader.expect(b"\x01", "flag")
    reader.expect(string(KEY_TYPE), "algorithm")
    key = reader.string()
    reader.end()
    check_key(key)
    try:
        return UserAuth(session_id, user.decode(), key)
    except UnicodeDecodeError as error:
        raise MalformedError("its user name is no UTF-8") from error


def parse_signature(data: bytes) -> bytes:
    """The 64 bytes of an Ed25519 signature out of SSH's wrapping.

    Raises:
        MalformedError: it is anything else.
    """
    reader = _Reader(data)
    reader.expect(string(KEY_TYPE), "algorithm")
    signature = reader.string()
    reader.end()
    if len(signature) != 64:
        raise MalformedError("its signature has not 64 bytes")
    return signature


def check_key(blob: bytes) -> None:
    """Raise MalformedError unless this is an Ed25519 public key."""
    reader = _Reader(blob)
    reader.expect(string(KEY_TYPE), "key type")
    if len(reader.string()) != 32:
        raise MalformedError("its key has not 32 bytes")
    reader.end()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise MalformedError("it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def expect(self, wanted: bytes, what: str) -> None:
        if self.take(len(wanted)) != wanted:
            raise MalformedError(f"its {what} is not what it must be")

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedError("something follows its end")
