"""What is asked and answered about people: users, passwords, tokens, and what a backup takes from its master.

Standard library only. The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A person as shown: never a hash, never a token."""

    name: str
    role: str
    keys: tuple[str, ...]
    password: bool
    tokens: int
    local: bool


@dataclass(frozen=True, slots=True)
class UserAddRequest:
    name: str
    role: str
    password: str | None = None
    ssh_key: str | None = None


@dataclass(frozen=True, slots=True)
class UserRequest:
    name: str


@dataclass(frozen=True, slots=True)
class PasswordRequest:
    name: str
    password: str


@dataclass(frozen=True, slots=True)
class TokenReply:
    """Shown once; only its digest is kept."""

    token: str


@dataclass(frozen=True, slots=True)
class UsersReply:
    users: tuple[UserInfo, ...]


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person as a backup takes it from its master: never tokens."""

    name: str
    role: str
    password_hash: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PeopleReply:
    """A master's people for one backup; see core/following.py for the signature."""

    node: str
    receiver: str
    serial: int
    people: tuple[PersonRecord, ...]
    signature: str = ""
