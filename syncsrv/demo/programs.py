"""The demo's processes: each in a session of its own, each with a deadline, and none left when it is closed.

A session is what holds a program together with all that it starts: supervisord moves its programs into process groups
of their own, and a session cannot be left but by making another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from syncsrv.clock import Clock
from syncsrv.errors import SyncsrvError

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
"""The whole environment of every process that the demo starts. Not ours: PYTHONWARNINGS=error breaks supervisord."""

STOP_S = 15.0
"""What a daemon may take to end when it is asked to; a job of its own may be under way."""

KILL_S = 5.0
POLL_S = 0.03

_LEASH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the program. PR_SET_PDEATHSIG: should the demo be killed outright, the kernel asks its daemons to end."""


class LeftBehindError(SyncsrvError):
    """A process could not be ended; ``pids`` are the ones that are left."""

    code = "left-behind"

    def __init__(self, name: str, pids: Sequence[int]) -> None:
        listed = ", ".join(map(str, pids))
        super().__init__(f"cannot end {name}: process {listed} is left", "see what it waits for with `ps`")
        self.pids = tuple(pids)


class Daemon:
    """A program that runs until it is stopped.

    Args:
        name: for people.
        argv: the program, with its whole path, and its arguments.
        log: the file that its output is appended to.
        clock: tells the time.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        with log.open("ab") as sink:
            self._child = subprocess.Popen(
                [sys.executable, "-IS", "-c", _LEASH, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process, and its session."""
        return self._child.pid

    @property
    def ended(self) -> str:
        """How it ended by itself; empty while it runs."""
        status = self._child.poll()
        if status is None:
            return ""
        return (
            f"{self.name} ended with status {status}" if status >= 0 else f"{self.name} was ended by signal {-status}"
        )

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def close(self, stop_s: float = STOP_S) -> None:
        """End it and everything in its session; what does not end when asked is killed.

        Args:
            stop_s: seconds that it has to end by itself.

        Raises:
            LeftBehindError: not even that helped.
        """
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(stop_s)
        self._child.poll()
        kill(self.name, lambda: alive_in_session(self.pid), self._clock)
        self._child.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs; one that is dead and that nobody has waited for does not count."""

    pid: int
    parent: int
    session: int


def running() -> Iterator[Running]:
    """Every process of the machine."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            text = Path("/proc", name, "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent, _, session = text.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            yield Running(int(name), int(parent), int(session))


def alive_in_session(leader: int) -> list[int]:
    """The processes of a session."""
    return sorted(one.pid for one in running() if one.session == leader)


def alive_below_us(but: Collection[int] = ()) -> list[int]:
    """Our children, with the sessions that they lead.

    Args:
        but: children that do not count.
    """
    found = list(running())
    us = os.getpid()
    children = {one.pid for one in found if one.parent == us and one.pid not in but}
    return sorted(one.pid for one in found if one.pid in children or one.session in children)


def kill(name: str, left: Callable[[], Sequence[int]], clock: Clock) -> None:
    """Kill processes until none is left.

    Args:
        name: for people.
        left: which there are now.
        clock: tells the time.

    Raises:
        LeftBehindError: some do not die.
    """
    ends_at = clock.monotonic() + KILL_S
    while pids := left():
        if clock.monotonic() > ends_at:
            raise LeftBehindError(name, pids)
        for pid in pids:
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)
        _pause(POLL_S)


def wait_for(condition: Callable[[], bool], deadline_s: float, clock: Clock) -> bool:
    """Ask again and again until it holds.

    Args:
        condition: what is waited for; an exception from it ends the wait.
        deadline_s: seconds.
        clock: tells the time.

    Returns:
        Whether it held before the deadline.
    """
    ends_at = clock.monotonic() + deadline_s
    while not condition():
        if clock.monotonic() > ends_at:
            return False
        _pause(POLL_S)
    return True


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)  # nobody sets it
