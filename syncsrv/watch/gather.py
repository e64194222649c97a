"""When changes that were noticed are handed on: after a quiet period, as one. Pure.

A save of many files shall be one commit, so each change starts the quiet period anew; but a file that never rests
must not hold the others up for ever, so nothing waits longer than a bound.
"""

from __future__ import annotations

from collections.abc import Iterable

QUIET_S = 2.0
MOST_S = 60.0

MANY = 20_000
"""Paths above which "anything" is said instead: naming them would cost more than looking at everything."""


class Gather:
    """Paths that may have changed since they were last taken.

    Args:
        quiet_s: seconds without a change after which they are due.
        most_s: seconds after the first change after which they are due at the latest.
    """

    def __init__(self, quiet_s: float = QUIET_S, most_s: float = MOST_S) -> None:
        self._quiet_s = quiet_s
        self._most_s = most_s
        self._paths: set[bytes] | None = set()
        self._first_at: float | None = None
        self._last_at = 0.0

    def note(self, paths: Iterable[bytes] | None, now: float) -> None:
        """Something may have changed.

        Args:
            paths: where; None for anywhere.
            now: monotonic seconds.
        """
        if paths is None:
            self._paths = None
        elif self._paths is not None:
            self._paths.update(paths)
            if len(self._paths) > MANY:
                self._paths = None
        if self._paths is None or self._paths:
            self._first_at = now if self._first_at is None else self._first_at
            self._last_at = now

    def due_at(self) -> float | None:
        """When to take them, in monotonic seconds; None while there is nothing."""
        if self._first_at is None:
            return None
        return min(self._last_at + self._quiet_s, self._first_at + self._most_s)

    def take(self) -> frozenset[bytes] | None:
        """What may have changed, None for anything; from now on there is nothing."""
        taken = None if self._paths is None else frozenset(self._paths)
        self._paths = set()
        self._first_at = None
        return taken
