"""What conntrackd 1.4.7 said on a MASTER, on its BACKUP and with the cable out, as it said it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncsrv.failover.statesync import stats
from syncsrv.failover.statesync.stats import BadStatsError

RECORDED = Path(__file__).parent / "recorded"
PARTS = ("general", "link", "queue", "runtime")


def recorded(name: str, **others: str) -> list[str]:
    """The four answers of a node, of which some are others."""
    return [others.get(part) or (RECORDED / f"{name}-{part}.txt").read_text() for part in PARTS]


def test_a_master_sends_and_takes_nothing() -> None:
    found = stats.parse(*recorded("master"))
    assert (found.taken, found.link, found.errors) == (0, "sync0", {})
    assert found.heard > 0


def test_a_backup_takes_what_comes() -> None:
    found = stats.parse(*recorded("backup"))
    assert found.taken == 25
    assert found.heard == 26
    assert found.lag == 0
    assert found.errors == {}


def test_a_link_without_a_carrier_is_none_and_what_could_not_be_sent_is_an_error() -> None:
    found = stats.parse(*recorded("backup", link=(RECORDED / "cut-link.txt").read_text()))
    assert found.link == ""
    assert found.errors == {"not sent": 1}


def test_each_error_has_a_name() -> None:
    general, links, queues, runtime = recorded("backup")
    general = re.sub(r"(created:\s+2\s+failed:\s+)0", r"\g<1>4", general)
    general = general.replace("0 Malformed", "5 Malformed").replace("0 Lost", "6 Lost")
    queues = re.sub(r"(queue rsqueue:\ncurrent elements:\s+)\d+", r"\g<1>9", queues)
    queues = queues.replace("not enough space errors:\t           0", "not enough space errors:\t           1")
    runtime = re.sub(r"(netlink overrun:\s+)0", r"\g<1>7", runtime)
    found = stats.parse(general, links, queues, runtime)
    assert found.lag == 8
    assert dict(found.errors) == {
        "inject": 4,
        "malformed messages": 5,
        "lost messages": 6,
        "no room in a queue": 3,
        "events lost": 7,
    }


@pytest.mark.parametrize("part", PARTS)
def test_what_is_missing_is_an_error_and_no_zero(part: str) -> None:
    with pytest.raises(BadStatsError, match="conntrackd's statistics hold no "):
        stats.parse(*recorded("backup", **{part: "\n"}))
