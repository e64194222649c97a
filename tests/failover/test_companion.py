"""The guardian's second child: started when it is wanted, started again when it dies, ended when it is not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.failover.companion import AGAIN_S, STEADY_S, Companion
from syncsrv.failover.settings import FILE
from tests.support.wait import until


def children() -> set[int]:
    """Those of this process that are called statesync, until they can be waited for."""
    found = set()
    for pid in Path("/proc/thread-self/children").read_text().split():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]  # none are left of one that is ending
            ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not ended and words[-1:] in ([], ["statesync"]):
                found.add(int(pid))
    return found


@pytest.fixture
def companion(tmp_path: Path) -> Iterator[Companion]:
    """Its keepers wait for ever for what stands in their settings."""
    (tmp_path / FILE).parent.mkdir()
    os.mkfifo(tmp_path / FILE)
    made = Companion(tmp_path)
    yield made
    made.end()
    assert children() == set()


def test_there_is_one_while_it_is_wanted_and_only_one(companion: Companion) -> None:
    companion.tend(False, 0.0)
    assert children() == set()
    companion.tend(True, 0.0)
    first = until(children, what="a keeper")
    companion.tend(True, 1.0)
    assert children() == first

    def ended() -> bool:
        companion.tend(False, 2.0)
        return not children()

    until(ended, what="the keeper to end")


def test_one_that_dies_is_replaced_later_and_later(companion: Companion) -> None:
    now = 0.0
    for pause_s in (AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S):
        companion.tend(True, now)
        (pid,) = until(children, what="a keeper")
        os.kill(pid, 9)
        until(lambda: not children(), what="its end")
        companion.tend(True, now)
        companion.tend(True, now + pause_s * 0.9)
        assert children() == set()
        now += pause_s
    now += STEADY_S
    companion.tend(True, now)
    (pid,) = until(children, what="a keeper")
    now += STEADY_S + 1
    os.kill(pid, 9)
    until(lambda: not children(), what="its end")
    companion.tend(True, now)
    companion.tend(True, now + AGAIN_S)
    assert until(children, what="one that is new, after a long life")
