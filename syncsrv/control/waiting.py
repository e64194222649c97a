"""What a call waits for: its frames, its deadlines. Standard library only."""

from __future__ import annotations

import threading
import time
from collections import deque

from syncsrv.control.frames import ConnectionLostError, Frame, close_fds
from syncsrv.errors import SyncsrvError

_AHEAD = 16
"""Frames of a stream that may wait for a consumer before the reader waits for it."""


class NoAnswerError(SyncsrvError):
    """The other side did not answer in time; what it was asked may still happen."""

    code = "no-answer"

    def __init__(self, verb: str, deadline_s: float) -> None:
        super().__init__(f'cannot get an answer to "{verb}": none came within {deadline_s:g} s')
        self.verb = verb
        self.deadline_s = deadline_s


class Pending:
    """The frames that came for one call and wait to be taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._lost: SyncsrvError | None = None
        self._abandoned = False

    def offer(self, frame: Frame) -> None:
        """Called by the reader: wait for room, unless nobody takes frames any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) < _AHEAD or self._abandoned or self._lost is not None)
            if self._abandoned:
                close_fds(frame.fds)
                return
            self._frames.append(frame)
            self._changed.notify_all()

    def lose(self, why: SyncsrvError) -> None:
        with self._changed:
            self._lost = why
            self._changed.notify_all()

    def take(self, ends_at: float) -> Frame | None:
        """The next frame; None at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._lost, max(0.0, ends_at - time.monotonic()))
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._lost is not None:
                raise ConnectionLostError(reason(self._lost))
            return None

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            for frame in self._frames:
                close_fds(frame.fds)
            self._frames.clear()
            self._changed.notify_all()


class Waits:
    """The deadlines of one call: for the whole, and for each frame."""

    def __init__(self, verb: str, deadline_s: float, idle_s: float | None = None) -> None:
        self.verb = verb
        self.deadline_s = deadline_s
        self.idle_s = idle_s
        self.ends_at = time.monotonic() + deadline_s

    def next_at(self) -> float:
        if self.idle_s is None:
            return self.ends_at
        return min(self.ends_at, time.monotonic() + self.idle_s)


def reason(error: SyncsrvError) -> str:
    """Why it was lost, without what could not be done."""
    return error.message.split(": ", 1)[-1]
