"""Cron lines, read as cron reads them and not as APScheduler does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.config.cron import WEEKDAYS, next_run, next_runs, parse_cron


def test_every_field() -> None:
    cron = parse_cron("*/15 8-18/2,23 1,15 jan-mar *")
    assert cron.minutes == (0, 15, 30, 45)
    assert cron.hours == (8, 10, 12, 14, 16, 18, 23)
    assert cron.days == (1, 15)
    assert cron.months == (1, 2, 3)
    assert cron.weekdays == (0, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "field, days",
    [("0", (0,)), ("7", (0,)), ("1-5", (1, 2, 3, 4, 5)), ("5-7", (0, 5, 6)), ("SUN,Wed", (0, 3))],
)
def test_weekdays_are_crons(field: str, days: tuple[int, ...]) -> None:
    assert parse_cron(f"0 3 * * {field}").weekdays == days


@pytest.mark.parametrize("sunday", ["0", "7", "sun"])
def test_a_sunday_is_a_sunday(sunday: str) -> None:
    monday = datetime(2026, 11, 23, 12, tzinfo=UTC)
    at = next_run(parse_cron(f"0 3 * * {sunday}"), monday)
    assert at == datetime(2026, 11, 29, 3, tzinfo=UTC)
    assert f"{at:%A}" == "Sunday"


@pytest.mark.parametrize(
    "line, after, at",
    [
        ("0 3 * * *", "2026-11-23T02:59:59", "2026-11-23T03:00"),
        ("0 3 * * *", "2026-11-23T03:00:00", "2026-11-24T03:00"),
        ("0 3 * * *", "2026-11-23T03:00:01", "2026-11-24T03:00"),
        ("*/15 * * * *", "2026-12-31T23:45:00", "2027-01-01T00:00"),
        ("30 2 29 2 *", "2096-03-01T00:00:00", "2104-02-29T02:30"),
        ("0 0 31 * *", "2026-04-01T00:00:00", "2026-05-31T00:00"),
    ],
)
def test_the_next_run_is_strictly_after(line: str, after: str, at: str) -> None:
    asked = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert next_run(parse_cron(line), asked) == datetime.fromisoformat(at).replace(tzinfo=UTC)


def test_no_hour_is_left_out_or_comes_twice_where_others_change_their_clocks() -> None:
    for month, day in ((3, 29), (10, 25)):  # when the European Union changes between winter and summer time
        start = datetime(2026, month, day, tzinfo=UTC) - timedelta(minutes=1)
        runs = list(islice(next_runs(parse_cron("30 * * * *"), start), 24))
        assert [one.hour for one in runs] == list(range(24))
    berlin = datetime(2026, 3, 29, 3, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert next_run(parse_cron("0 3 * * *"), berlin) == datetime(2026, 3, 29, 3, tzinfo=UTC)


@given(
    st.tuples(
        st.sampled_from(["*", "0", "7,37", "*/20"]),
        st.sampled_from(["*", "3", "0-6/2", "23"]),
        st.sampled_from(["*", "1", "28-30", "*/10"]),
        st.sampled_from(["*", "feb", "1-6", "12"]),
    ),
    st.sampled_from(["*", "0", "7", "1-5", "sat", "2,4"]),
    st.integers(0, 15 * 365 * 86400),
)
def test_it_agrees_with_apscheduler_told_the_numbers(
    fields: tuple[str, str, str, str], weekday: str, later_s: int
) -> None:
    weekday = "*" if not fields[2].startswith("*") else weekday
    cron = parse_cron(f"{' '.join(fields)} {weekday}")
    theirs = CronTrigger(
        minute=",".join(map(str, cron.minutes)),
        hour=",".join(map(str, cron.hours)),
        day=",".join(map(str, cron.days)),
        month=",".join(map(str, cron.months)),
        day_of_week=",".join(WEEKDAYS[day] for day in cron.weekdays),
        timezone=UTC,
    )
    after = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=later_s)
    assert next_run(cron, after) == theirs.get_next_fire_time(None, after + timedelta(microseconds=1))


@pytest.mark.parametrize(
    "written, why",
    [
        ("0 3 * *", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("", "five fields"),
        ("@daily", "write the five fields"),
        ("0 3 1 * 1", "day 1 and weekday 1 are both set"),
        ("60 3 * * *", "field minute: '60' is not between 0 and 59"),
        ("0 24 * * *", "field hour"),
        ("0 3 0 * *", "field day"),
        ("0 3 * 13 *", "field month"),
        ("0 3 * foo *", "field month: 'foo'"),
        ("0 3 * * 8", "field weekday"),
        ("*/0 3 * * *", "step 0"),
        ("5-1 3 * * *", "ends before it begins"),
        ("*-5 3 * * *", "field minute"),
        ("1,,2 3 * * *", "field minute"),
        ("mon 3 * * *", "field minute"),
        ("0 3 31 2,4 *", "no month of it has a day 31"),
        ("-1 3 * * *", "field minute"),
    ],
)
def test_what_cron_lines_are_refused(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_cron(written)
    assert str(caught.value).startswith("cannot ")
