"""The only place that reads a clock.

Durations end in ``_s``, deadlines in ``_at``; both are monotonic seconds. Wall time is for people only: UTC, and
names end in ``_utc``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the shells ask for the time; tests pass one that they move by hand."""

    def monotonic(self) -> float:
        """Seconds that never jump and do not run while the machine sleeps."""

    def utc(self) -> datetime:
        """Wall time, aware, UTC."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def utc(self) -> datetime:
        return datetime.now(UTC)


def rfc3339(moment_utc: datetime) -> str:
    """``2026-11-23T02:13:04Z``: every time that leaves a process looks like this."""
    return moment_utc.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def boot_id() -> str:
    """The kernel's name for this boot; monotonic readings compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def booted_s() -> float:
    """Seconds since the kernel booted, sleep included: what /proc counts the start of processes from."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
