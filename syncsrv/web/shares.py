"""How many streams one person may hold: whoever reads slowly holds up only what is theirs."""

from __future__ import annotations

import threading
from collections import Counter

from syncsrv.errors import SyncsrvError

EACH = 2
"""Of web's streams that one person may hold at once."""


class TooManyStreamsError(SyncsrvError):
    """This person reads as many files as one may at once."""

    code = "busy"

    def __init__(self, whose: str) -> None:
        super().__init__(
            f"cannot send another file: {EACH} are being sent to {whose} already", "wait until one has ended, or end it"
        )


class Shares:
    """Who holds how many streams. Thread-safe."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, whose: str) -> None:
        """Count one more.

        Args:
            whose: the person, or the address where there is none.

        Raises:
            TooManyStreamsError: these would be too many.
        """
        with self._lock:
            if self._held[whose] >= EACH:
                raise TooManyStreamsError(whose)
            self._held[whose] += 1

    def give_back(self, whose: str) -> None:
        """Count one less."""
        with self._lock:
            self._held[whose] -= 1
            if not self._held[whose]:
                del self._held[whose]
