"""The word for each state, why, and what can be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.failover.statesync import decide, says
from syncsrv.failover.statesync.decide import HEARD_S, Machine
from syncsrv.failover.statesync.state import State, Trouble
from syncsrv.failover.statesync.stats import Stats

NOW = 1000.0
STATS = Stats(carried=5, taken=7, heard=3, lag=2, link="eth2", errors={"lost messages": 1})
AWAITING = replace(decide.start(NOW, 60.0), runs_at=NOW - 1, serving=False)
SILENT = replace(AWAITING, runs_at=NOW - HEARD_S - 1)
HEARD = replace(AWAITING, heard_at=NOW - 1)
BACKUP = replace(HEARD, table="received")
MASTER = replace(BACKUP, serving=True)
LATE = replace(HEARD, table="timed out")
ALONE = replace(SILENT, table="timed out")
STARTED = replace(AWAITING, table="timed out")


def said(machine: Machine, trouble: Trouble | None = None, missing: bool = False, runs: bool = True) -> State:
    return says.state(
        machine,
        STATS if runs else None,
        trouble=trouble,
        missing=missing,
        pid=4711 if runs else None,
        entries=9,
        last=None,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("machine", "word", "reason"),
    [
        (AWAITING, "waiting", "the peer's connections are on their way"),
        (HEARD, "waiting", "the peer's connections are on their way"),
        (SILENT, "waiting", "no peer is heard yet; its connections are waited for"),
        (ALONE, "alone", "no peer is heard: connections would not survive a failover"),
        (STARTED, "waiting", "conntrackd has just started: whether a peer is there is not known yet"),
        (MASTER, "ready", "this node's connections are sent to the peer"),
        (LATE, "ready", "the peer is heard, and its connections did not come in time"),
        (BACKUP, "ready", "the peer's connections are known here"),
    ],
)
def test_the_word(machine: Machine, word: str, reason: str) -> None:
    found = said(machine)
    assert (found.word, found.reason) == (word, reason)
    assert bool(found.remedy) == (machine in (SILENT, ALONE))
    assert (found.entries, found.carried, found.received, found.lag, found.errors) == (9, 5, 7, 2, {"lost messages": 1})


def test_what_is_wrong_comes_first_and_says_whether_anything_is_lost() -> None:
    trouble = Trouble("UDP port 3780 is in use by another program", "stop it")
    found = said(BACKUP, trouble, runs=False)
    assert (found.word, found.reason, found.remedy, found.pid) == ("dead", trouble.reason, "stop it", None)
    assert said(MASTER, trouble).reason.endswith("; this node serves on, and a failover breaks open connections")
    assert said(BACKUP, says.NOT_INSTALLED, missing=True).word == "missing"
    started = said(BACKUP, runs=False)
    assert (started.word, started.reason) == ("waiting", "conntrackd is being started")


def test_two_that_differ_in_numbers_only_need_not_be_told_apart() -> None:
    found = said(BACKUP)
    assert says.standing(found) == says.standing(
        replace(found, entries=1, carried=1, received=1, lag=0, errors={}, at_boot_s=1.0)
    )
    assert says.standing(found) != says.standing(said(MASTER))
