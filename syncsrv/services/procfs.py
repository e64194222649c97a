"""When a process began, from the kernel."""

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
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold blanks and brackets
    if fields[0] in (b"Z", b"X"):
        return None
    age_s = booted_s() - int(fields[_STARTTIME]) / os.sysconf("SC_CLK_TCK")
    return clock.utc().timestamp() - age_s
