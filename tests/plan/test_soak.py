"""What a schedule may tag, and whether it may run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncsrv.config.model import Power, Role, Schedule
from syncsrv.plan.soak import SEEN_MOST, Standing, hindrance, newest_soaked, taken_back, with_seen

LINE = ("c3", "c2", "c1", "c0")
SEEN = {"c1": 100.0, "c2": 200.0, "c3": 300.0}
HERE = Standing(role=Role.MASTER, owner_role=Power.OPERATOR)
DAY_S = 24 * 3600.0
SERVES = replace(HERE, vips=("1@lan", "2@wan"), held=frozenset({"1@lan", "2@wan"}), took_over_s=DAY_S)
SCHEDULE = Schedule.model_validate({"do": "sync", "cron": "0 3 * * *", "soak": "6h", "owner": "alice"})


@pytest.mark.parametrize(
    "now, soak_s, commit",
    [
        (300.0, 0.0, "c3"),
        (350.0, 50.0, "c3"),
        (350.0, 51.0, "c2"),
        (350.0, 150.5, "c1"),
        (350.0, 250.0, "c1"),
        (350.0, 251.0, None),
    ],
)
def test_the_newest_that_was_there_long_enough(now: float, soak_s: float, commit: str | None) -> None:
    assert newest_soaked(LINE, SEEN, now, soak_s) == commit


def test_what_is_not_known_is_as_old_as_what_came_after_it() -> None:
    assert newest_soaked(LINE, {"c2": 200.0}, 260.0, 60.0) == "c2"
    assert newest_soaked(("c3", "c2"), {"c3": 300.0, "c2": 320.0}, 400.0, 100.0) == "c3"
    assert newest_soaked(("c3", "c2", "c1"), {"c3": 10.0, "else": 1.0}, 20.0, 15.0) is None
    assert newest_soaked(LINE, {}, 1e9, 1.0) is None
    assert newest_soaked(LINE, {}, 0.0, 0.0) == "c3"
    assert newest_soaked((), {}, 0.0, 0.0) is None


def test_no_more_of_main_is_read_than_tells_something() -> None:
    read = []

    def line() -> object:
        for number in range(1000, 0, -1):
            read.append(number)
            yield f"c{number}"

    assert newest_soaked(line(), {"c998": 5.0}, 10.0, 60.0) is None  # type: ignore[arg-type]  # a generator is one
    assert read == [1000, 999, 998]


def test_a_commit_that_is_known_keeps_its_time() -> None:
    seen = with_seen(with_seen({}, "c1", 1.0), "c2", 2.0)
    assert with_seen(seen, "c1", 99.0) == {"c1": 1.0, "c2": 2.0}


def test_what_is_forgotten_only_makes_younger() -> None:
    everything = {f"c{number}": float(number) for number in range(SEEN_MOST)}
    seen = everything
    for number in range(SEEN_MOST, SEEN_MOST + 3):
        everything = {**everything, f"c{number}": float(number)}
        seen = with_seen(seen, f"c{number}", float(number))
        assert len(seen) <= SEEN_MOST
    line = list(reversed(everything))
    now = float(len(line))
    for soak_s in range(0, len(line), 97):
        kept, known = newest_soaked(line, seen, now, soak_s), newest_soaked(line, everything, now, soak_s)
        assert known is not None
        assert kept is None or line.index(kept) >= line.index(known)


def test_what_was_undone_since_is_taken_back() -> None:
    assert not taken_back([], {"t0"})
    assert not taken_back([("t2", "watch"), ("t3", "cli")], {"t0"})
    assert taken_back([("t2", "watch"), ("t3", "rollback")], {"t0"})
    assert taken_back([("t0", "watch")], {"t0"})


def test_a_schedule_runs_on_a_master_whose_user_may() -> None:
    assert hindrance(SCHEDULE, HERE) is None
    assert hindrance(SCHEDULE, replace(HERE, owner_role=Power.ADMIN)) is None
    assert hindrance(SCHEDULE, SERVES) is None


@pytest.mark.parametrize(
    "here, why",
    [
        (replace(HERE, role=Role.BACKUP), "this node is a backup"),
        (
            replace(SERVES, carp_problem="the process carp does not answer"),
            "whether this node holds the VIPs is not known: the process carp does not answer",
        ),
        (replace(SERVES, held=frozenset({"1@lan"})), "this node is not MASTER of 2@wan"),
        (replace(SERVES, held=frozenset(), took_over_s=None), "this node is not MASTER of 1@lan, 2@wan|and 2@wan"),
        (
            replace(SERVES, took_over_s=DAY_S - 1),
            "this node became MASTER 23h ago, and a schedule waits 1d after that",
        ),
        (replace(SERVES, took_over_s=119.0), "this node became MASTER 1min ago"),
        (replace(HERE, owner_role=None), "its owner alice is no user of this node"),
        (replace(HERE, owner_role=Power.VIEWER), "its owner alice is only viewer"),
        (replace(HERE, problem="cluster.yaml is not in force"), "cluster.yaml is not in force"),
        (replace(HERE, busy=("job j1 (sync)",)), r"job j1 \(sync\) is under way"),
    ],
)
def test_everything_else_hinders_and_says_why(here: Standing, why: str) -> None:
    found = hindrance(SCHEDULE, here)
    assert found is not None
    assert found.remedy
    with pytest.raises(ValueError, match=why):
        raise ValueError(found.reason)
