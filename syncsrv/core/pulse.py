"""Whether core still works, for who watches over it: it is asked as anybody asks it, and the clock must still strike.

The answer to ``status`` shows that the listening thread, the readers, the workers and what they lock all go on; that
something is fired shows that the timetable does. A thread that only says that it is there would show neither.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.control.ask import Client, CoreAwayError
from syncsrv.control.waiting import NoAnswerError
from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

STILL_S = 60.0
"""Without anything fired the timetable stands still: it fires something each five seconds."""


class Pulse:
    """One for each core.

    Args:
        path: core.sock.
        fired_at: when the timetable last fired anything, monotonic seconds.
        clock: monotonic.
        still_s: see STILL_S.
    """

    def __init__(self, path: Path, fired_at: Callable[[], float], clock: Clock, *, still_s: float = STILL_S) -> None:
        self._path = path
        self._fired_at = fired_at
        self._clock = clock
        self._still_s = still_s
        self._answered_at = clock.monotonic()
        self._asking: threading.Thread | None = None

    def beats(self, within_s: float) -> bool:
        """Whether core answered within the last ``within_s`` seconds; has it asked again, and does not wait for that.

        Args:
            within_s: also how long it may take to answer.
        """
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, args=(within_s,), name="pulse", daemon=True)
            self._asking.start()
        now = self._clock.monotonic()
        return now - self._answered_at <= within_s and now - self._fired_at() <= self._still_s

    def _ask(self, deadline_s: float) -> None:
        try:
            with Client(self._path) as client:
                client.call("status", {}, deadline_s=deadline_s)
        except (CoreAwayError, NoAnswerError) as error:
            log.error("core does not answer itself: %s", error)
            return
        except SyncsrvError as error:  # an answer all the same
            log.debug("%s", error)
        self._answered_at = self._clock.monotonic()
