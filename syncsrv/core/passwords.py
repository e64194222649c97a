"""Passwords: hashed and checked with argon2, at most two at once, since each takes 64 MiB and a tenth of a second."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from syncsrv.control.errors import SlowDownError
from syncsrv.errors import UsageError

log = logging.getLogger(__name__)

SHORTEST = 8
LONGEST_BYTES = 1024
AT_ONCE = 2
WAIT_S = 5.0
QUEUE = 4
"""Strangers that wait; more are turned away at once, so that they cannot take all of core's time to answer."""
_MOST_MIB = 1024
_MOST_ROUNDS = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one hash: rounds, memory in KiB, lanes. The default is what argon2-cffi advises (RFC 9106, low memory)."""

    rounds: int = 3
    memory_kib: int = 65536
    lanes: int = 4


class Passwords:
    """Hashes and checks.

    Args:
        cost: of new hashes; one that was made with another cost is made anew when its password is next seen.
        wait_s: how long a password waits for its turn.
    """

    def __init__(self, cost: Cost | None = None, wait_s: float = WAIT_S) -> None:
        self._cost = cost or Cost()
        self._wait_s = wait_s
        self._all = threading.BoundedSemaphore(AT_ONCE)
        self._strangers = threading.BoundedSemaphore(AT_ONCE - 1)
        self._queue = threading.BoundedSemaphore(AT_ONCE - 1 + QUEUE)
        self._lock = threading.Lock()
        self._nobodys = ""

    def hash(self, password: str) -> str:
        """The hash of a new password.

        Raises:
            UsageError: it is too short or too long.
            SlowDownError: too many are at work.
        """
        if len(password) < SHORTEST:
            short = "it is empty" if not password else f"it has {len(password)} characters"
            raise UsageError(f"cannot set the password: {short}", f"give one of at least {SHORTEST} characters")
        if len(_bytes(password)) > LONGEST_BYTES:
            raise UsageError(
                f"cannot set the password: it has {len(_bytes(password))} bytes", f"give one of at most {LONGEST_BYTES}"
            )
        with self._turn(known=True):
            return self._made(_bytes(password))

    def matches(self, password_hash: str, password: str, *, known: bool) -> bool:
        """Whether this is the password; without a hash it costs the same and is not.

        Args:
            password_hash: of the user; empty where there is no user, or no password.
            password: as it was typed.
            known: a device or an address that logged in before; strangers never take every place at once.

        Raises:
            SlowDownError: too many are at work.
        """
        from argon2 import low_level  # 30 ms that only processes with passwords pay
        from argon2.exceptions import InvalidHashError, VerificationError

        with self._turn(known=known):
            with self._lock:
                self._nobodys = self._nobodys or self._made(secrets.token_bytes(16))
            kept = password_hash if _bearable(password_hash) else ""
            try:
                right = low_level.verify_secret(
                    (kept or self._nobodys).encode(), _bytes(password)[: LONGEST_BYTES + 1], low_level.Type.ID
                )
            except (VerificationError, InvalidHashError):
                return False
            return bool(kept) and right

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with another cost than new ones are."""
        from argon2 import extract_parameters

        made = extract_parameters(password_hash)
        return (made.time_cost, made.memory_cost, made.parallelism) != (
            self._cost.rounds,
            self._cost.memory_kib,
            self._cost.lanes,
        )

    def _made(self, password: bytes) -> str:
        from argon2 import PasswordHasher

        cost = self._cost
        return PasswordHasher(cost.rounds, cost.memory_kib, cost.lanes).hash(password)

    @contextmanager
    def _turn(self, *, known: bool) -> Iterator[None]:
        held = []
        wanted = [(self._all, self._wait_s)]
        if not known:
            wanted = [(self._queue, 0.0), (self._strangers, self._wait_s), *wanted]
        try:
            for places, wait_s in wanted:
                if not places.acquire(timeout=wait_s):
                    raise SlowDownError(
                        "cannot look at the password: too many others are being looked at", "try again in 2 s", 2.0
                    )
                held.append(places)
            yield
        finally:
            for places in held:
                places.release()


def _bearable(password_hash: str) -> bool:
    """Whether it is a hash that we could have made: what a master sends must not take all memory."""
    from argon2 import Type, extract_parameters
    from argon2.exceptions import InvalidHashError

    if not password_hash:
        return False
    try:
        made = extract_parameters(password_hash)
    except (InvalidHashError, ValueError):
        log.warning("a password hash is none; its user cannot log in until the password is set anew")
        return False
    return made.type is Type.ID and made.memory_cost <= _MOST_MIB * 1024 and made.time_cost <= _MOST_ROUNDS


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
