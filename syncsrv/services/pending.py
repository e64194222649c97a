"""Does a service run with an older configuration than the one on disk? And the memory that the answer needs."""

from __future__ import annotations

import json
import logging
import math
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from syncsrv import durable
from syncsrv.clock import rfc3339
from syncsrv.services.base import ServiceState, ServiceStatus

_log = logging.getLogger(__name__)

GRAIN_S = 0.02
"""The kernel counts the start of a process in hundredths, file times in ticks of up to 10 ms."""


def restart_pending(status: ServiceStatus, loaded_at: float | None, newest_change: float | None) -> bool:
    """Whether a running service has not seen its newest configuration. Pure.

    Args:
        status: a reading of it.
        loaded_at: when we last reloaded or started it, seconds of the epoch.
        newest_change: when a file of its areas last changed, seconds of the epoch; None where none ever did.

    Returns:
        False also where nothing at all is known of when it loaded its configuration: a command service whose
        status tells no pid and that we never touched.
    """
    if status.state not in (ServiceState.RUNNING, ServiceState.STARTING) or newest_change is None:
        return False
    read_at = last_read(status, loaded_at)
    return read_at is not None and newest_change > read_at + GRAIN_S


def last_read(status: ServiceStatus, loaded_at: float | None) -> float | None:
    """When a service last read its configuration, seconds of the epoch; None where nothing tells. Pure."""
    return max((at for at in (status.started_at, status.reloaded_at, loaded_at) if at is not None), default=None)


def pending_why(file: str, newest_change: float, read_at: float | None) -> str:
    """Which file is newer than what the process has read. Pure.

    Args:
        file: the one that changed last; empty where it is not known.
        newest_change: when, seconds of the epoch.
        read_at: when the process last read its files; None where nothing tells.
    """
    changed, read = (
        rfc3339(datetime.fromtimestamp(at, UTC)) if at is not None else "an unknown time"
        for at in (newest_change, read_at)
    )
    return f"{file or 'a file of its areas'} changed at {changed}; it last read its files at {read}"


class Verdicts:
    """What was found of each process and its files when the two were first seen together.

    Files carry the wall time of their change, processes an age; the two compare only while the wall clock runs on. So
    that is done once, seconds after the later of them: a clock that is set afterwards, by hours, changes no verdict.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], tuple[object, bool]] = {}

    def of(
        self, status: ServiceStatus, loaded_at: float | None, newest_change: float | None, now: float, what: str = ""
    ) -> bool:
        """Whether a running service has not seen its newest configuration.

        Args:
            status: a reading of it.
            loaded_at: as for ``restart_pending``.
            newest_change: likewise.
            now: seconds of the epoch; a change that is later than this was made before the clock was set back, and
                what is found of it holds only until the clock is right.
            what: which files these are, where there are several kinds.
        """
        found = restart_pending(status, loaded_at, newest_change)
        if not status.loaded_as or newest_change is None:
            return found
        seen = (status.loaded_as, loaded_at, newest_change)
        with self._lock:
            kept = self._found.get((status.name, what))
            if kept is not None and kept[0] == seen:
                return kept[1]
            if newest_change <= now + GRAIN_S:
                self._found[status.name, what] = seen, found
        return found


class ReloadLog(Protocol):
    """Remembers when we last made each service load its configuration: a manager does not tell of a reload."""

    def get(self, name: str) -> float | None:
        """Seconds of the epoch; None where we never did."""

    def put(self, name: str, epoch_s: float) -> None:
        """Remember it across our own restarts."""


class ReloadFile:
    """The memory as one JSON file; losing it costs a ``restart_pending`` too many, so damage is reported, not raised.

    Args:
        path: the file; its folder is made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._times = self._load()

    def get(self, name: str) -> float | None:
        return self._times.get(name)

    def put(self, name: str, epoch_s: float) -> None:
        with self._lock:
            self._times = {**self._times, name: epoch_s}
            try:
                self._save()
            except OSError as error:
                _log.warning("cannot write %s: %s; a restart may be shown as pending", self._path, error.strerror)

    def _load(self) -> dict[str, float]:
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("cannot read %s: %s; a restart may be shown as pending", self._path, error)
            return {}
        if not isinstance(content, dict):
            _log.warning("cannot read %s: it is no object; a restart may be shown as pending", self._path)
            return {}
        return {name: float(at) for name, at in content.items() if isinstance(at, int | float) and math.isfinite(at)}

    def _save(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(self._path, json.dumps(self._times, sort_keys=True).encode())
