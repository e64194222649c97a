"""conntrackd as a child: started, listened to, told things, ended. It never outlives this process.

It would run with the real-time priority 99 if it could, above the adverts: a table of 50 000 entries is 0.4 s of its
work. The keeper has no right to that, and so has none to pass on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from syncsrv import process
from syncsrv.failover.statesync import stats
from syncsrv.failover.statesync.conf import CONTROL, LOCK
from syncsrv.failover.statesync.stats import Stats
from syncsrv.process import NotStartedError

PROGRAM = "conntrackd"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where it is looked for after PATH, in which these are not for everybody."""

ENVIRONMENT = {"PATH": f"{SBIN}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
ORDER_S = 10.0
"""For one order: a resync of 250 000 entries takes 1.2 s."""

ASK_S = 3.0
END_S = 2.0
KEPT = 8192
"""Bytes of what it said last."""
HARMLESS = "scheduler configuration failed"
"""It says so at each start without CAP_SYS_NICE, goes on with the usual scheduler, and never ends for it."""

_PREFIX = re.compile(r"^\[[^\]]*\] \(pid=\d+\) \[(\w+)\] ")
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class NoAnswerError(Exception):
    """It does not answer; the text says why."""


class Daemon:
    """One conntrackd, running or not.

    Args:
        configuration: the file that it is started with.
        program: of ``find``.
    """

    def __init__(self, configuration: Path, program: str) -> None:
        self._configuration = configuration
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._said = b""

    @property
    def pid(self) -> int | None:
        """Of the child, while it is one."""
        return self._child.pid if self._child is not None else None

    def fileno(self) -> int:
        """Readable when it said something or ended; -1 where it does not run."""
        return self._child.stdout.fileno() if self._child is not None and self._child.stdout is not None else -1

    def start(self) -> None:
        """Start it; what a former one left behind is removed first.

        Raises:
            OSError: it cannot be executed.
        """
        self._sweep()
        self._said = b""
        self._child = subprocess.Popen(
            [self._program, "-C", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",
            preexec_fn=_end_with_us,
        )
        os.set_blocking(self.fileno(), False)

    def ended(self) -> str | None:
        """Take in what it said; how it ended, in its own words where it had some; None while it runs."""
        if self._child is None:
            return None
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fileno(), 65536):
                self._said = (self._said + data)[-KEPT:]
        status = self._child.poll()
        if status is None:
            return None
        self._forget()
        how = f"ended with {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        told = complaint(self._said.decode("utf-8", "backslashreplace"))
        return f"conntrackd {how}: {told}" if told else f"conntrackd {how}"

    def stop(self) -> None:
        """End it, for at most END_S seconds in its own way."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._forget()

    def order(self, *arguments: str) -> str:
        """Tell it one thing; why it was not done, empty where it was."""
        return self._call(ORDER_S, *arguments)[1]

    def stats(self) -> Stats:
        """What it counts.

        Raises:
            NoAnswerError: there are none.
            BadStatsError: they are none that are known here.
        """
        answers = []
        for arguments in stats.ASKED:
            text, why = self._call(ASK_S, *arguments)
            if why:
                raise NoAnswerError(f"conntrackd does not answer: {why}")
            answers.append(text)
        general, links, queues, runtime = answers
        return stats.parse(general, links, queues, runtime)

    def _call(self, deadline_s: float, *arguments: str) -> tuple[str, str]:
        """(what it answered, why it did not)."""
        argv = [self._program, "-C", str(self._configuration), *arguments]
        try:
            done = process.run(argv, env=ENVIRONMENT, deadline_s=deadline_s)
        except NotStartedError as error:
            return "", error.message
        if done.status is None:
            return "", f"no answer within {deadline_s:g} s"
        if done.status != 0:
            return "", complaint(done.text) or f"it ended with {done.status}"
        return done.text, ""

    def _forget(self) -> None:
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()
        self._child = None
        self._sweep()

    def _sweep(self) -> None:
        """The lock file of one that was killed would keep the next from starting."""
        for name in (LOCK, CONTROL):
            self._configuration.with_name(name).unlink(missing_ok=True)


def find() -> str | None:
    """Where conntrackd is installed; None: it is not."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=SBIN)


def complaint(said: str) -> str:
    """The errors among its lines, or else its last line, without time and number."""
    found = [(match[1] if (match := _PREFIX.match(line)) else "", _PREFIX.sub("", line)) for line in said.splitlines()]
    found = [(level, text) for level, text in found if text.strip() and not text.startswith(HARMLESS)]
    lines = [text for level, text in found if level in ("ERROR", "warning")]
    others = [text for level, text in found if level != "notice"]
    return "; ".join(lines[:3]) or "".join(others[-1:])


def _end_with_us() -> None:
    """In the child, before it is conntrackd: end when the keeper does, however that ends. One that hangs would not hear
    SIGTERM, stay, and keep its port from the next one for ever.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
