"""What core does by the clock: a real scheduler with short times, waited for and never for a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.cron import parse_cron
from syncsrv.core.schedule import GRACE_S, At, Every, Timed, Timetable
from syncsrv.errors import SyncsrvError
from tests.support.wait import until

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAILY = parse_cron("0 3 * * *")


@pytest.fixture
def table() -> Iterator[Timetable]:
    table = Timetable(SystemClock())
    yield table
    table.stop()


def of(table: Timetable, name: str) -> Timed:
    return next(one for one in table.now() if one.name == name)


@dataclass
class Work:
    """Counts its rounds; says, fails or waits as it is told."""

    says: str = ""
    fails: Exception | None = None
    waits: threading.Event | None = None
    begun: int = 0
    ended: int = 0

    def __call__(self) -> str:
        self.begun += 1
        if self.waits is not None:
            self.waits.wait(30)
        self.ended += 1
        if self.fails is not None:
            raise self.fails
        return self.says


def test_it_fires_again_and_again_and_says_how_it_went(table: Timetable) -> None:
    work = Work("three files")
    table.every("scan", 0.05, work)
    assert of(table, "scan") == Timed("scan", "every 0.05 s"), "nothing fires before the start"
    table.start()
    until(lambda: work.ended >= 3)
    timed = of(table, "scan")
    assert (timed.result, timed.missed, timed.bad) == ("three files", 0, 0)
    assert timed.last_utc is not None
    assert timed.next_utc is not None
    assert table.troubles() == ()


def test_a_failure_is_said_once_and_tried_again_and_a_notice_when_it_goes_on(
    table: Timetable, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(fails=SyncsrvError("cannot read the disk: it is gone", "plug it in"))
    table.every("scan", 0.02, work)
    table.start()
    until(table.troubles)
    (notice,) = table.troubles()
    assert notice.startswith("scan (every 0.02 s) failed: cannot read the disk: it is gone (")
    assert [one.getMessage() for one in caplog.records] == ["scan: cannot read the disk: it is gone; plug it in"]
    work.fails = None
    until(lambda: not table.troubles())
    assert of(table, "scan").result == ""


def test_a_bug_is_logged_with_its_traceback_and_ends_nothing(
    table: Timetable, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(fails=ZeroDivisionError("a bug"))
    table.every("scan", 0.02, work)
    table.start()
    until(lambda: of(table, "scan").bad >= 3)
    assert of(table, "scan").result == "failed: a bug in syncsrv; see core's log"
    record = caplog.records[0]
    assert record.name == "syncsrv.core.schedule"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert not any(one.name.startswith("apscheduler") for one in caplog.records), "its own logger is quiet"
    work.fails = None
    until(lambda: of(table, "scan").bad == 0)


def test_what_takes_too_long_never_runs_twice_and_what_is_left_out_is_counted(
    table: Timetable, caplog: pytest.LogCaptureFixture
) -> None:
    work, other = Work(waits=threading.Event()), Work()
    table.every("slow", 0.02, work)
    table.every("other", 0.02, other)
    table.start()
    until(lambda: of(table, "slow").missed >= 3)
    assert work.begun == 1
    assert other.ended > 1, "nothing else waits for it"
    assert of(table, "slow").result == "left out: the one before had not ended"
    assert "slow (every 0.02 s) left out: the one before had not ended" in table.troubles()[0]
    said = [one.getMessage() for one in caplog.records if one.name == "syncsrv.core.schedule"]
    assert said == ["slow was left out: the one before had not ended"], "said once, not each time"
    assert work.waits is not None
    work.waits.set()
    until(lambda: not table.troubles())


def test_a_cron_line_fires_when_it_says_and_one_that_is_too_late_is_told(
    table: Timetable, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work("sync/000001")
    table.set_crons({"sync 1": ("key", DAILY, "0 3 * * *", work)})
    table.start()
    assert of(table, "sync 1").when == "0 3 * * * (UTC)"
    due(table, "sync 1", -1.0)
    until(lambda: work.ended == 1)
    until(lambda: of(table, "sync 1").result == "sync/000001")
    due(table, "sync 1", -GRACE_S - 10)
    until(lambda: of(table, "sync 1").missed == 1)
    assert work.begun == 1
    timed = of(table, "sync 1")
    assert timed.result.startswith("left out: it was due at 20")
    assert timed.next_utc is not None
    assert timed.next_utc > datetime.now(UTC), "it goes on with the next"
    (notice,) = table.troubles()
    assert notice.startswith("sync 1 (0 3 * * * (UTC)) left out: it was due at 20")
    assert "sync 1 was left out: it was due at" in caplog.text


def due(table: Timetable, name: str, in_s: float) -> None:
    """Let something have been due then, as after a sleep of the machine."""
    table._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=in_s))


def test_lines_come_go_and_change_and_one_that_stays_is_left_alone(table: Timetable) -> None:
    first, second = Work(), Work()
    table.every("scan", 3600, Work())
    table.set_crons({"sync 1": ("a", DAILY, "0 3 * * *", first), "sync 2": ("b", DAILY, "0 3 * * *", first)})
    table.start()
    due(table, "sync 1", -1)
    until(lambda: first.ended == 1)
    until(lambda: of(table, "sync 1").last_utc)
    table.set_crons({"sync 1": ("a", DAILY, "0 3 * * *", second), "sync 3": ("c", DAILY, "0 3 * * *", second)})
    assert [one.name for one in table.now()] == ["scan", "sync 1", "sync 3"]
    assert of(table, "sync 1").last_utc is not None, "what it did is still known"
    table.set_crons({"sync 1": ("other", parse_cron("0 4 * * *"), "0 4 * * *", second)})
    timed = of(table, "sync 1")
    assert timed.last_utc is None
    assert timed.next_utc is not None
    assert timed.next_utc.hour == 4
    table.set_crons({})
    assert [one.name for one in table.now()] == ["scan"]


def test_one_that_is_taken_out_while_it_runs_ends_in_peace(table: Timetable) -> None:
    work = Work(waits=threading.Event())
    table.set_crons({"sync 1": ("a", DAILY, "0 3 * * *", work)})
    table.start()
    due(table, "sync 1", -1)
    until(lambda: work.begun == 1)
    table.set_crons({})
    assert table.now() == ()
    assert work.waits is not None
    work.waits.set()
    until(lambda: work.ended == 1)


def test_stopping_waits_for_what_is_under_way_and_lets_nothing_follow() -> None:
    table = Timetable(SystemClock())
    stopping = threading.Event()
    work = Work(waits=stopping)
    again = Work()

    def changes_the_table() -> str:
        work()
        table.set_crons({"sync 1": ("a", DAILY, "0 3 * * *", again)})
        return ""

    table.every("scan", 0.02, changes_the_table)
    table.start()
    until(lambda: work.begun == 1)
    threading.Timer(0.1, stopping.set).start()
    table.stop()
    assert work.ended == 1
    begun = work.begun
    table.stop()
    assert (work.begun, again.begun) == (begun, 0)


def test_a_table_that_was_never_started_stops_too() -> None:
    table = Timetable(SystemClock())
    table.every("scan", 1, Work())
    table.stop()
    assert [one.next_utc for one in table.now()] == [None]


def test_every_counts_what_is_late_once_however_late() -> None:
    every = Every(60)
    assert every.get_next_fire_time(None, NOON) == NOON + timedelta(seconds=60)
    assert every.get_next_fire_time(NOON, NOON + timedelta(seconds=1)) == NOON + timedelta(seconds=60)
    years_later = NOON.replace(year=2056)
    assert every.get_next_fire_time(NOON, years_later) == years_later + timedelta(seconds=60)
    assert [str(Every(one)) for one in (5.0, 60.0, 3600.0, 7200.0)] == [
        "every 5 s",
        "every 60 s",
        "every 1 hour",
        "every 2 hours",
    ]


def test_a_cron_line_counts_what_is_late_once_too() -> None:
    at = At(parse_cron("* * * * *"), "* * * * *")
    years_later = NOON.replace(year=2056)
    assert at.get_next_fire_time(NOON, years_later) == years_later + timedelta(minutes=1)
    assert at.get_next_fire_time(None, NOON) == NOON + timedelta(minutes=1)


@dataclass
class Set:
    """The machine's clock, whose wall half somebody sets."""

    by: timedelta = timedelta()

    def monotonic(self) -> float:
        return SystemClock().monotonic()

    def utc(self) -> datetime:
        return SystemClock().utc() + self.by


def test_a_clock_that_is_set_back_lets_nothing_rest_until_it_has_caught_up(caplog: pytest.LogCaptureFixture) -> None:
    clock = Set()
    table = Timetable(clock, pulse_s=0.02)
    work = Work()
    table.every("scan", 0.05, work)
    table.start()
    try:
        until(lambda: work.ended)
        table._scheduler.modify_job("scan", next_run_time=datetime.now(UTC) + timedelta(hours=1))
        before = work.ended
        clock.by = timedelta(hours=-1)
        until(lambda: work.ended > before + 1)
        assert "the clock was set by -3600 s" in caplog.text
    finally:
        table.stop()


def test_a_clock_that_is_set_forward_wakes_it_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = Set()
    table = Timetable(clock, pulse_s=0.02)
    table.every("scan", 3600, Work())
    table.start()
    try:
        clock.by = timedelta(days=20000)
        until(lambda: "the clock was set by +1728000000 s" in caplog.text)
        assert of(table, "scan").missed == 0
    finally:
        table.stop()
