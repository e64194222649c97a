"""Nothing that the demo started may be left, however badly it behaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.demo.programs import ENVIRONMENT, Daemon, alive_in_session, wait_for
from tests.support.wait import until

UP = "import signal; print('up', flush=True); signal.pause()"

POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("bye", flush=True)))
print("up", flush=True)
signal.pause()
"""

DEAF = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pause = "import signal; print('up', flush=True); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", pause], process_group=0)
print("child", child.pid, flush=True)
signal.pause()
"""
"""It ignores SIGTERM, which its child inherits; the child is in a process group of its own, as supervisord's are."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def start(code: str, log: Path) -> Daemon:
    return Daemon("it", [sys.executable, "-c", code], log, SystemClock())


def heard(log: Path, word: str) -> str:
    """The first line of the log with this word, as soon as there is one."""

    def found() -> str:
        lines = log.read_text().splitlines() if log.exists() else []
        return next((line for line in lines if word in line), "")

    return until(found, what=f"{word} in the log")


def test_one_that_obeys_is_not_killed(log: Path) -> None:
    daemon = start(POLITE, log)
    heard(log, "up")
    assert daemon.ended == ""
    daemon.close()
    assert log.read_text() == "up\nbye\n"
    assert daemon.ended == "it ended with status 0"


def test_a_deaf_one_is_killed_with_its_child_in_another_process_group(log: Path) -> None:
    daemon = start(DEAF, log)
    child = int(heard(log, "child").split()[1])
    heard(log, "up")
    session = os.getsid(child)
    assert os.getpgid(child) == child != session
    assert alive_in_session(session) == sorted([child, session])
    daemon.close(stop_s=0.2)
    assert daemon.ended == "it was ended by signal 9"
    assert alive_in_session(session) == []


def test_a_child_that_outlives_its_parent_is_ended_too(log: Path) -> None:
    daemon = start(DEAF.rstrip().removesuffix("signal.pause()") + "sys.exit(3)", log)
    child = int(heard(log, "child").split()[1])
    heard(log, "up")
    session = os.getsid(child)
    until(lambda: daemon.ended, what="the end of the parent")
    assert daemon.ended == "it ended with status 3"
    assert alive_in_session(session) == [child]
    daemon.close()
    assert alive_in_session(session) == []


def test_a_daemon_ends_when_the_demo_is_killed_outright(log: Path) -> None:
    code = f"""
import signal, sys
from pathlib import Path
from syncsrv.clock import SystemClock
from syncsrv.demo.programs import Daemon
Daemon("it", [sys.executable, "-c", {UP!r}], Path({str(log)!r}), SystemClock())
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code]) as demo:
        heard(log, "up")
        (session,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
        assert alive_in_session(int(session)) == [int(session)]
        demo.kill()
    until(lambda: not alive_in_session(int(session)), what="the end of the daemon")


def test_our_own_environment_does_not_reach_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    daemon = start("import json, os; print(json.dumps(dict(os.environ)), flush=True)", log)
    until(lambda: daemon.ended, what="its end")
    daemon.close()
    found = json.loads(log.read_text())
    found.pop("LC_CTYPE", None)  # Python's own, where the locale is C
    assert found == ENVIRONMENT


def test_waiting_ends_with_the_condition_or_with_the_deadline() -> None:
    answers = iter([False, False, True])
    assert wait_for(lambda: next(answers), 10, SystemClock())
    assert not wait_for(lambda: False, 0.05, SystemClock())
