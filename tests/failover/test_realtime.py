"""Real-time scheduling and locked memory: granted, refused with a reason, and harmless after the rights are gone.

Each is tried in a process of its own: what it takes, and what it gives up, stays with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from syncsrv.failover.realtime import Timing

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="real-time scheduling needs root")
needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")

REPORT = """
import json, os, resource, sys
from pathlib import Path
from syncsrv.failover import capabilities, realtime

def status(name, pid="self"):
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return lines[name].strip()

def report(timing, **more):
    print(json.dumps({
        "timing": str(timing), "notes": timing.notes, "policy": os.sched_getscheduler(0),
        "priority": os.sched_getparam(0).sched_priority, "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "rttime": resource.getrlimit(resource.RLIMIT_RTTIME), "locked": int(status("VmLck").split()[0]),
        "limit": sys.getrecursionlimit(), **more,
    }))
"""


def ran(code: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    argv = [*before, sys.executable, "-c", REPORT + code]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def reported(code: str, before: Sequence[str] = ()) -> dict[str, Any]:
    done = ran(code, before)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def without(*names: str) -> list[str]:
    """The beginning of an argv that runs without some capabilities, and without what replaces them."""
    gone = ",".join(f"-{name}" for name in names)
    return ["prlimit", "--rtprio=0", "--nice=0", "--memlock=65536", "setpriv", f"--bounding-set={gone}"]


def test_what_status_shows() -> None:
    assert str(Timing()) == "real-time"
    assert str(Timing(notes=("a note",))) == "real-time"
    assert str(Timing(("one", "two"))) == "best effort: one; two"


@needs_root
@pytest.mark.parametrize("before", [["chrt", "-f", "20"], ["nice", "-n", "-30"], ["nice", "-n", "5"]])
def test_what_is_ordinary_again_cannot_start_anything_real_time(before: list[str]) -> None:
    code = (
        "realtime.give_up()\n"
        "capabilities.give_up_as_keeper()\n"
        "try:\n    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))\n    refused = False\n"
        "except PermissionError:\n    refused = True\n"
        "report(realtime.Timing(), refused=refused, most=resource.getrlimit(resource.RLIMIT_RTPRIO))"
    )
    found = reported(code, before)
    assert found["policy"] == os.SCHED_OTHER
    assert found["nice"] >= 0
    assert found["refused"]
    assert found["most"] == [0, 0]


@needs_root
def test_it_is_real_time_and_in_memory() -> None:
    found = reported("report(realtime.take())")
    assert found["timing"] == "real-time"
    assert (found["policy"], found["priority"]) == (os.SCHED_FIFO, 50)
    assert found["rttime"] == [500_000, 1_000_000]
    assert found["locked"] > 5000  # KiB: the whole interpreter
    assert found["limit"] == 1000  # Python's own is as before


@needs_root
def test_refused_scheduling_is_said_and_replaced() -> None:
    found = reported("report(realtime.take(priority=100))")  # which the kernel has not
    assert found["timing"].startswith("best effort: cannot use SCHED_FIFO: invalid argument")
    assert found["timing"].endswith("; nice -20 instead")
    assert (found["policy"], found["nice"]) == (os.SCHED_OTHER, -20)
    assert found["locked"] > 5000


@needs_root
@needs_setpriv
def test_all_refused_is_all_said() -> None:
    found = reported("report(realtime.take())", without("sys_nice", "ipc_lock", "sys_resource"))
    assert "cannot use SCHED_FIFO: operation not permitted" in found["timing"]
    assert "cannot use nice -20 instead: permission denied" in found["timing"]
    assert "cannot lock the memory: cannot allocate memory" in found["timing"]
    ours = os.nice(0)
    assert (found["policy"], found["nice"], found["locked"]) == (os.SCHED_OTHER, ours, 0)


@needs_root
@needs_setpriv
@pytest.mark.parametrize("before", [[], ["prlimit", "--memlock=1048576", "setpriv", "--bounding-set=-sys_resource"]])
def test_memory_still_grows_after_the_rights_are_gone(before: list[str]) -> None:
    """Locked memory counts against a limit once CAP_IPC_LOCK is gone; the agent's next need must not end it."""
    code = """
timing = realtime.take()
capabilities.give_up_as_agent()
kept = [bytearray(1 << 20) for _ in range(64)]
many = [object() for _ in range(300_000)]
nested = []
for _ in range(900):
    nested = [nested]
repr(nested)
report(timing)
"""
    found = reported(code, before)
    assert found["timing"] == "real-time"
    if before:
        assert found["notes"] == ["memory taken later is not locked: the limit memlock is finite and cannot be raised"]


@needs_root
def test_a_loop_gone_wild_is_ended_by_the_kernel() -> None:
    done = ran("realtime.take(cpu_s=0.05)\nwhile True:\n    pass")
    assert done.returncode in {-24, -9}, "SIGXCPU, or SIGKILL at the hard limit"


@needs_root
def test_a_second_process_takes_it_as_well() -> None:
    """The limits that the guardian set are not in the agent's way."""
    code = """
import subprocess
realtime.take()
capabilities.give_up_as_guardian()
again = "import os\\nfrom syncsrv.failover import realtime\\nprint(realtime.take(), os.sched_getscheduler(0))"
print(subprocess.run([sys.executable, "-c", again], capture_output=True, text=True).stdout)
"""
    done = ran(code)
    assert done.stdout.split() == ["real-time", str(os.SCHED_FIFO)]
