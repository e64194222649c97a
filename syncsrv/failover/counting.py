"""The counter of adverts: each later packet of this node has a higher one, also after a restart of the agent.

Our own peers drop what does not count up (a captured advert that is sent again); the other implementations jump.
"""

from __future__ import annotations

from syncsrv.clock import Clock

_NS = 1_000_000_000


def base_of(clock: Clock) -> int:
    """What a Counter starts from: the wall clock, read once, so that a reboot does not count backwards."""
    return int(clock.utc().timestamp() * _NS) - int(clock.monotonic() * _NS)


class Counter:
    """Nanoseconds since ``base``, and one more where two adverts fall into one.

    Args:
        clock: monotonic.
        base: from ``base_of``, of the guardian: it says its farewell after the agent that it stands in for.
    """

    def __init__(self, clock: Clock, base: int) -> None:
        self._clock = clock
        self._base = base
        self._last = 0

    def next(self) -> int:
        """A higher number than ever, below 2**64 until the year 2554."""
        self._last = max(self._last + 1, self._base + int(self._clock.monotonic() * _NS))
        return self._last
