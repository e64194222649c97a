"""The guardian's second child: the keeper of conntrackd, where connections are synchronized. It serves nobody itself.

So nothing here waits for it: the guardian looks at it in each of its turns, and starts it again when it is due. It
lives on while agents come and go.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)

AGAIN_S = 0.5
"""Before one that died is started again; doubled each time until AGAIN_MOST_S."""

AGAIN_MOST_S = 30.0
STEADY_S = 30.0
END_S = 3.0
"""For one that was told to end; conntrackd ends with it."""


class Companion:
    """One keeper after the other.

    Args:
        state_dir: where core wrote the settings.
    """

    def __init__(self, state_dir: Path) -> None:
        self._argv = [sys.executable, "-Es", "-m", "syncsrv.failover.statesync", "--state-dir", str(state_dir)]
        self._child: subprocess.Popen[bytes] | None = None
        self._began_at = self._again_at = 0.0
        self._again_s = AGAIN_S

    def tend(self, wanted: bool, now: float) -> None:
        """One look, and what is due.

        Args:
            wanted: whether there is to be one.
            now: monotonic seconds.
        """
        if self._child is not None:
            status = self._child.poll()
            if status is None:
                if not wanted:
                    self._child.terminate()
                return
            self._child = None
            if now - self._began_at > STEADY_S:
                self._again_s = AGAIN_S
            self._again_at = now + self._again_s
            if wanted:
                log.warning("the keeper of conntrackd ended with %d; again in %.1f s", status, self._again_s)
            self._again_s = min(self._again_s * 2, AGAIN_MOST_S)
        if wanted and now >= self._again_at:
            self._began_at = now
            try:
                self._child = subprocess.Popen([*self._argv, "statesync"], stdin=subprocess.DEVNULL)
            except OSError as error:
                log.error("cannot start the keeper of conntrackd: %s", (error.strerror or str(error)).lower())
                self._again_at = now + AGAIN_MOST_S

    def end(self) -> None:
        """Nobody is served any more, so there is time for it."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None
