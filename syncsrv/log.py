"""One line an event on standard error, for the journal of whatever started us."""

from __future__ import annotations

import logging
import sys


def start(process: str, *, verbose: bool = False) -> None:
    """Send every logger's lines to standard error, marked with the process's word.

    Args:
        process: core, door, web or carp.
        verbose: also debug lines.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{process}: %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)
