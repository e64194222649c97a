"""``state_dir/carp/intent.json``: what people and core ordered of failover; it outlives restarts and reboots."""

from __future__ import annotations

import logging
from pathlib import Path

from syncsrv.core.carp.configure import write
from syncsrv.failover import intent as files
from syncsrv.failover.intent import BadIntentError, Intent

log = logging.getLogger(__name__)


class IntentFile:
    """Remembers it, and writes it before anything acts on it.

    Args:
        state_dir: of this node.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / files.FILE
        self.problem = ""
        """Why what was ordered earlier is not known; empty where it is."""
        try:
            self._now = files.load(state_dir)
        except BadIntentError as error:
            log.error("%s", error)
            self.problem = str(error)
            self._now = Intent()

    @property
    def now(self) -> Intent:
        """What is ordered."""
        return self._now

    def put(self, intent: Intent) -> None:
        """Order something else.

        Raises:
            NoSpaceError, UnwritableError: what was ordered before stays.
        """
        if intent == self._now and not self.problem:
            return
        write(self._path, files.encode(intent), "the orders for failover")
        self._now = intent
        self.problem = ""
