"""When a process began and what memory it has, from the kernel."""

from __future__ import annotations

import os
from pathlib import Path

from syncsrv.clock import Clock, booted_s

_STARTTIME = 22 - 3
"""Field 22 of /proc/PID/stat (proc_pid_stat(5)), counted from the state, which is field 3."""


def started_at(pid: int, clock: Clock) -> float | None:
    """Seconds of the epoch at which the process began, to a hundredth; None where there is no such process, or only
    its remains.

    The kernel counts from boot; btime in /proc/stat would give that moment in whole seconds only, and
    /proc/uptime is another one inside lxcfs containers.
    """
    ticks = _born(pid)
    if ticks is None:
        return None
    return clock.utc().timestamp() - (booted_s() - ticks / os.sysconf("SC_CLK_TCK"))


def identity(pid: int) -> str:
    """What tells the process from every other of this boot, whatever the wall clock does; empty where it is gone."""
    ticks = _born(pid)
    return "" if ticks is None else f"{pid}.{ticks}"


def resident(pid: int) -> int | None:
    """Bytes of memory that the process has resident (proc_pid_statm(5), field 2); None where there is no process."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _born(pid: int) -> int | None:
    """Clock ticks from boot to the start of the process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold blanks and brackets
    return None if fields[0] in (b"Z", b"X") else int(fields[_STARTTIME])
