"""What may be read once: a secret that one request made waits in memory for the page that shows it."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from syncsrv.clock import Clock

LASTS_S = 60.0
"""Only the redirect lies between the two."""

MOST = 100


class Once:
    """The secrets of one web process. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, str, str, str]] = OrderedDict()

    def put(self, person: str, about: str, secret: str) -> str:
        """Keep a secret for a person.

        Args:
            person: who made it, and nobody else gets it.
            about: what it is, to be said with it.
            secret: never in an address, never in a cookie.

        Returns:
            The id to ask for it with.
        """
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._sweep()
            self._kept[name] = (self._clock.monotonic() + LASTS_S, person, about, secret)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return name

    def take(self, name: str, person: str) -> tuple[str, str] | None:
        """What it is about and the secret, this once; None for another person, or where it is gone."""
        with self._lock:
            self._sweep()
            if name not in self._kept or self._kept[name][1] != person:
                return None
            _, _, about, secret = self._kept.pop(name)
        return about, secret

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, kept in self._kept.items() if kept[0] <= now]:
            del self._kept[name]
