"""Since when this node has had which commit on main: what ``soak`` of a schedule counts.

``state_dir/soak.json``: monotonic seconds, and the kernel's name for the boot that they belong to. Dates are of no use
here: whoever sets the clock, or writes a date into a commit, must not make a change look older. After a boot all
counts begin anew; while core does not run the boot goes on, and so does the count. Losing the file makes everything
look new, which only costs time, so damage is reported and not raised.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from syncsrv import durable
from syncsrv.clock import Clock
from syncsrv.plan.soak import newest_soaked, with_seen

log = logging.getLogger(__name__)


class SoakFile:
    """Remembers, and answers what has soaked.

    Args:
        path: the file.
        clock: for monotonic time only.
        boot: the kernel's name for this boot.
    """

    def __init__(self, path: Path, clock: Clock, boot: str) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._lock = threading.Lock()
        self._seen = self._load()

    def saw(self, commit: str) -> None:
        """This commit is on main now; where that cannot be written, only this core knows it."""
        with self._lock:
            if commit in self._seen:
                return
            seen = with_seen(self._seen, commit, self._clock.monotonic())
            self._seen = seen
            try:
                durable.write(self._path, json.dumps({"boot": self._boot, "seen": seen}).encode() + b"\n")
            except OSError as error:
                log.warning("cannot write %s: %s; after a restart %s counts as new", self._path, error, commit[:10])

    def newest(self, line: Iterable[str], soak_s: float) -> str | None:
        """The newest commit of main, given newest first, that has been there for ``soak_s`` seconds."""
        with self._lock:
            seen = dict(self._seen)
        return newest_soaked(line, seen, self._clock.monotonic(), soak_s)

    def _load(self) -> dict[str, float]:
        try:
            raw = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("cannot read %s: %s; every commit counts as new", self._path, error)
            return {}
        seen = raw.get("seen") if isinstance(raw, Mapping) and raw.get("boot") == self._boot else None
        now = self._clock.monotonic()
        if not isinstance(seen, Mapping):
            return {}
        return {
            str(commit): float(at)
            for commit, at in seen.items()
            if isinstance(at, int | float) and math.isfinite(at) and at <= now
        }
