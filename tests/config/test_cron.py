"""Cron lines, read as cron reads them and not as APScheduler does."""

from __future__ import annotations

import pytest

from syncsrv.config.cron import parse_cron


def test_every_field() -> None:
    cron = parse_cron("*/15 8-18/2,23 1,15 jan-mar *")
    assert cron.minutes == (0, 15, 30, 45)
    assert cron.hours == (8, 10, 12, 14, 16, 18, 23)
    assert cron.days == (1, 15)
    assert cron.months == (1, 2, 3)
    assert cron.weekdays == (0, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "field, names",
    [("0", "sun"), ("7", "sun"), ("1-5", "mon,tue,wed,thu,fri"), ("5-7", "sun,fri,sat"), ("SUN,Wed", "sun,wed")],
)
def test_weekdays_are_crons(field: str, names: str) -> None:
    assert parse_cron(f"0 3 * * {field}").weekday_names == names


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
        ("-1 3 * * *", "field minute"),
    ],
)
def test_what_cron_lines_are_refused(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_cron(written)
    assert str(caught.value).startswith("cannot ")
