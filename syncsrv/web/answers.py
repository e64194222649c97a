"""What core answered to a form that made no job: kept for a while, for the page that the browser is sent to.

It can be read again, so that a reload of that page neither loses it nor does the deed once more.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from syncsrv.clock import Clock
from syncsrv.control.shapes_failover import VipReply

LASTS_S = 15 * 60.0
MOST = 100


class Answers:
    """Those of one web process. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, str, str, VipReply]] = OrderedDict()

    def put(self, person: str, asked: str, reply: VipReply) -> str:
        """Keep an answer; the id to ask for it with.

        Args:
            person: who asked, and nobody else gets it.
            asked: what was asked for.
            reply: what came of it.
        """
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._sweep()
            self._kept[name] = (self._clock.monotonic() + LASTS_S, person, asked, reply)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str, person: str) -> tuple[str, VipReply] | None:
        """What was asked for and what came of it; None for another person, or where it is gone."""
        with self._lock:
            self._sweep()
            if name not in self._kept or self._kept[name][1] != person:
                return None
            _, _, asked, reply = self._kept[name]
        return asked, reply

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, kept in self._kept.items() if kept[0] <= now]:
            del self._kept[name]
