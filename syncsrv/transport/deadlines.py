"""One thread that ends what did not get ready in time."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Deadline:
    """A running deadline; ``met`` ends it."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action
        self._lock = threading.Lock()
        self.passed = False

    def met(self) -> bool:
        """It was done in time: the action will not happen; False when it has."""
        with self._lock:
            self._action = None
            return not self.passed

    def fire(self) -> None:
        """The time is over."""
        with self._lock:
            action, self._action = self._action, None
            self.passed = action is not None
        if action is not None:
            action()


class Deadlines:
    """Calls an action when its time is over; actions must be short and raise nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], None]) -> Deadline:
        """Call ``action`` in ``seconds``, unless the deadline is met before."""
        deadline = Deadline(action)
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._numbers), deadline))
            self._changed.notify()
        return deadline

    def close(self) -> None:
        """Forget all of them."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (self._heap and self._heap[0][0] <= time.monotonic()):
                    wait_s = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(wait_s)
                if self._closed:
                    return
                _, _, deadline = heapq.heappop(self._heap)
            deadline.fire()
