"""One line an event on standard error, for the journal of whatever started us."""

from __future__ import annotations

import logging
import os
import stat
import sys
from datetime import UTC, datetime

from syncsrv.clock import SystemClock, rfc3339


def start(process: str, *, verbose: bool = False) -> None:
    """Send every logger's lines to standard error, marked with the process's word.

    Args:
        process: core, door, web or carp.
        verbose: also debug lines.
    """
    handler = logging.StreamHandler(sys.stderr)
    time = "%(asctime)s " if _needs_time() else ""
    handler.setFormatter(_Lines(f"{time}{process}: %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)


def say(process: str, text: str) -> None:
    """A line of a process that has no loggers."""
    time = f"{rfc3339(SystemClock().utc())} " if _needs_time() else ""
    sys.stderr.write(f"{time}{process}: {text}\n")
    sys.stderr.flush()


class _Lines(logging.Formatter):
    """No text of a peer or of a file makes a line of its own, or steers a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        message = "".join(
            char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
            for char in record.getMessage()
        )
        shown = logging.makeLogRecord({**record.__dict__, "msg": message, "args": None})
        return super().format(shown)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return rfc3339(datetime.fromtimestamp(record.created, UTC))


def _needs_time() -> bool:
    """The journal, which is a socket, writes the time of each line itself; a file and a terminal do not."""
    try:
        return not stat.S_ISSOCK(os.fstat(sys.stderr.fileno()).st_mode)
    except (OSError, ValueError):
        return True
