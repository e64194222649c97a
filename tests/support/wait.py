"""Wait for a condition, never for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01


def until(condition: Callable[[], T], deadline_s: float = 10, what: str = "") -> T:
    """Ask again and again until the answer is true in Python's sense, and return it.

    Args:
        condition: what is asked; an exception from it ends the wait at once.
        deadline_s: seconds after which the wait has failed.
        what: what is waited for, for the failure's message.

    Raises:
        AssertionError: the deadline came first.
    """
    ends_at = time.monotonic() + deadline_s
    pause = threading.Event()  # nobody sets it: a bounded pause between two questions
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= ends_at:
            raise AssertionError(f"waited {deadline_s:g} s in vain for {what or condition}; last answer: {answer!r}")
        pause.wait(POLL_S)
