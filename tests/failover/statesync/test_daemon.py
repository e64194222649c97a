"""conntrackd's part played by programs of the test: how it ends, what it said, and that nothing of it is left."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.failover.statesync.conf import CONTROL, FILE, LOCK
from syncsrv.failover.statesync.daemon import Daemon, NoAnswerError, complaint
from tests.support.wait import until


def daemon(folder: Path, script: str) -> Daemon:
    program = folder / "conntrackd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(stat.S_IRWXU)
    return Daemon(folder / FILE, str(program))


def test_one_that_dies_at_once_says_why(tmp_path: Path) -> None:
    made = daemon(tmp_path, "echo '[now] (pid=1) [notice] begins'; echo '[now] (pid=1) [ERROR] no buffer' >&2; exit 1")
    assert (made.ended(), made.pid) == (None, None)
    made.start()
    assert until(made.ended) == "conntrackd ended with 1: no buffer"
    assert (made.pid, made.fileno()) == (None, -1)


def test_what_a_killed_one_left_does_not_keep_the_next_from_starting(tmp_path: Path) -> None:
    made = daemon(tmp_path, f"test ! -e {tmp_path / LOCK} || exit 1; touch {tmp_path / CONTROL}; exec sleep 60")
    (tmp_path / LOCK).touch()
    made.start()
    until((tmp_path / CONTROL).exists)
    assert made.ended() is None
    made.stop()
    assert made.pid is None
    assert not (tmp_path / CONTROL).exists()


def test_one_that_does_not_end_when_told_is_killed(tmp_path: Path) -> None:
    made = daemon(tmp_path, f"trap '' TERM; touch {tmp_path / CONTROL}; while :; do sleep 0.1; done")
    made.start()
    until((tmp_path / CONTROL).exists)
    made.stop()
    assert made.pid is None


def test_one_that_hears_no_signal_ends_with_a_keeper_that_was_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    daemon(tmp_path, f"trap '' TERM; echo $$ >{said}.new; mv {said}.new {said}; while :; do sleep 0.1; done")
    code = (
        "import select, sys; from pathlib import Path; from syncsrv.failover.statesync.daemon import Daemon\n"
        "Daemon(Path(sys.argv[1], 'c'), sys.argv[1] + '/conntrackd').start(); select.poll().poll()"
    )
    keeper = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        until(said.exists)
    finally:
        keeper.kill()
        keeper.wait()
    left = Path("/proc", said.read_text().strip())
    until(lambda: not left.exists() or "\nState:\tZ" in (left / "status").read_text())


def test_an_order_says_why_it_was_not_done(tmp_path: Path) -> None:
    made = daemon(tmp_path, "test \"$3\" = -R || { echo '[now] (pid=1) [ERROR] can not connect'; exit 1; }")
    assert made.order("-R") == ""
    assert made.order("-B") == "can not connect"
    with pytest.raises(NoAnswerError, match="conntrackd does not answer: can not connect"):
        made.stats()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("", ""),
        ("[now] (pid=1) [notice] begins\n", ""),
        (
            "[now] (pid=1) [warning] eth9 is an invalid interface\n[now] (pid=1) [ERROR] no\n",
            "eth9 is an invalid interface; no",
        ),
        ("loader: no such library\n", "loader: no such library"),
        (
            "[now] (pid=1) [warning] scheduler configuration failed: Operation not permitted. Likely a bug in "
            "conntrackd, please report it. Continuing with system default scheduler.\n",
            "",
        ),
    ],
)
def test_of_what_it_says_the_errors_are_kept(said: str, left: str) -> None:
    assert complaint(said) == left
