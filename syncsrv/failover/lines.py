"""Log lines leave the process by a thread of their own: who reads standard error may be slow, and adverts may not."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from typing import NoReturn

from syncsrv import log

WAITING_MOST = 2000
STACK = 256 * 1024
"""Bytes: the thread's stack is locked memory, as everything here."""

_THREAD = "carp-log"

LAST_S = 0.5
"""For the last lines, when the process ends."""


class _Queued(logging.Handler):
    """Puts each record into a queue; when that is full, counts it instead."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__()
        self._lines = lines
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self.lost += 1


class Lines:
    """Started once, when the process has the rights and the priority that it keeps.

    The thread keeps the priority of its maker: one that is starved by other programs while it holds the interpreter's
    lock would starve the loop with it.

    Args:
        process: its word, as in ``log.start``.
    """

    def __init__(self, process: str) -> None:
        log.start(process)
        root = logging.getLogger()
        self._slow = root.handlers[0]
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(WAITING_MOST)
        self._quick = _Queued(self._lines)
        root.handlers[:] = [self._quick]
        before = threading.stack_size(STACK)
        self._thread = threading.Thread(target=self._write, name=_THREAD, daemon=True)
        self._thread.start()
        threading.stack_size(before)

    def close(self) -> None:
        """Write what is left, for at most LAST_S seconds."""
        try:
            self._lines.put(None, timeout=LAST_S)
        except queue.Full:
            return
        self._thread.join(LAST_S)

    def _write(self) -> None:
        told = 0
        while (record := self._lines.get()) is not None:
            self._slow.handle(record)
            if self._quick.lost > told:
                told = self._quick.lost
                text = f"{told} lines were lost until now: nobody read them in time"
                self._slow.handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))


def leave(status: int) -> NoReturn:
    """End the process, also where nobody reads its last lines: the interpreter would wait for them for ever.

    Args:
        status: its exit status; after ``Lines.close``.
    """
    if any(thread.name == _THREAD for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)
