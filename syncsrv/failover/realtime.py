"""Run on time whatever the machine does: real-time scheduling and locked memory, taken while all rights are there.

Both processes of failover call ``take`` first and give their other rights away afterwards; what is refused is
replaced by the next best and said.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from dataclasses import dataclass

PRIORITY = 50
"""Of SCHED_FIFO: above everything that people run, below the kernel's own threads at 99."""
CPU_S = 0.5
"""Without a pause; after it the kernel ends the process (SIGXCPU): a real-time loop gone wild would hold a core."""
_NICEST = -20
_MCL_CURRENT = 1
_MCL_FUTURE = 2
_STACK_LEVELS = 4000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Timing:
    """What was granted.

    Attributes:
        refused: a sentence for each thing that was not; they make the timing best effort.
        notes: what is less than it could be and still good.
    """

    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """``real-time``, or ``best effort: why``: what status shows."""
        return f"best effort: {'; '.join(self.refused)}" if self.refused else "real-time"


def take(*, priority: int = PRIORITY, cpu_s: float = CPU_S) -> Timing:
    """SCHED_FIFO, a limit of its use, and locked memory; nice -20 where the first is refused.

    For the guardian and for the agent, each for itself at its start, before its first thread: memory locks are not
    inherited, and the scheduling is given to the calling thread.

    Args:
        priority: of SCHED_FIFO, 1 to 99.
        cpu_s: processor time in seconds after which a process that never waits is ended; only with SCHED_FIFO.
    """
    refused: list[str] = []
    notes: list[str] = []
    if reason := _schedule(priority, cpu_s):
        refused.append(reason)
    locked, reason = _lock()
    if reason:
        (notes if locked else refused).append(reason)
    return Timing(tuple(refused), tuple(notes))


def give_up() -> None:
    """Be an ordinary process again, whatever was inherited, and let nothing that this one starts be more."""
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))  # less would need a right


def _schedule(priority: int, cpu_s: float) -> str:
    """Why not real-time; empty when it is."""
    try:
        _limit_use(int(cpu_s * 1_000_000))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        reason = f"cannot use SCHED_FIFO: {_why(error)}, see the limit rtprio and the cgroup's cpu.rt_runtime_us"
    else:
        return ""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    except OSError as error:
        return f"{reason}; cannot use nice {_NICEST} instead: {_why(error)}"
    return f"{reason}; nice {_NICEST} instead"


def _limit_use(most_us: int) -> None:
    """SIGXCPU at the soft limit, SIGKILL at twice that; never above a hard limit that is there already."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    wanted = most_us * 2 if hard == resource.RLIM_INFINITY else min(most_us * 2, hard)
    resource.setrlimit(resource.RLIMIT_RTTIME, (min(most_us, wanted), wanted))


def _lock() -> tuple[bool, str]:
    """(whether what is in memory now stays there, why not all or not what comes later)."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return _lock_current()
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return True, ""
    return False, f"cannot lock the memory: {_why(_os_error())}, see the limit memlock"


def _lock_current() -> tuple[bool, str]:
    """Lock what there is, not what will come.

    Under a finite limit MCL_FUTURE would be a trap: once CAP_IPC_LOCK is given away, the first growth of memory beyond
    the limit fails. The stack is such a growth in any case, so it grows first.
    """
    _grow_stack()
    if _libc.mlockall(_MCL_CURRENT) != 0:
        return False, f"cannot lock the memory: {_why(_os_error())}, see the limit memlock"
    return True, "memory taken later is not locked: the limit memlock is finite and cannot be raised"


def _grow_stack() -> None:
    """Use the C stack deeply once, which the kernel then never takes back: repr recurses in C."""
    nested: list[object] = []
    for _ in range(_STACK_LEVELS):
        nested = [nested]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _STACK_LEVELS * 2))
    try:
        with contextlib.suppress(RecursionError):  # a newer Python has its own limit there; as far as it goes is good
            repr(nested)
    finally:
        sys.setrecursionlimit(before)


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
