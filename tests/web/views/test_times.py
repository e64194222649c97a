"""Ages as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncsrv.web.views.times import ago, duration, exact, moment

NOW = datetime(2026, 11, 23, 4, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.31, "0.31 s"),
        (9.96, "10 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (11520, "3 h 12 min"),
        (86400, "1 d"),
        (302400, "3 d 12 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("2026-11-23T04:21:10Z", "2 s ago"),
        ("2026-11-22T04:21:13Z", "23 h 59 min ago"),
        ("2026-11-19T16:20:00Z", "19 Nov, 16:20"),
        ("2025-11-19T16:20:00Z", "19 Nov 2025, 16:20"),
        ("2026-11-23T04:21:14Z", "now"),
        ("2026-11-23T05:00:00Z", "2026-11-23 05:00:00 UTC"),
        ("2026-11-23T05:21:10+01:00", "2 s ago"),
    ],
)
def test_relative_up_to_a_day_then_the_date(then: str, text: str) -> None:
    found = moment(then)
    assert found is not None
    assert ago(found, NOW) == text


def test_what_is_no_time() -> None:
    assert moment("yesterday") is None
    assert exact(NOW) == "2026-11-23 04:21:12 UTC"
