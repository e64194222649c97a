"""Times as they leave a process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncsrv.clock import SystemClock, boot_id, booted_s, rfc3339


@pytest.mark.parametrize(
    "moment, text",
    [
        (datetime(2026, 11, 23, 2, 13, 4, 999999, UTC), "2026-11-23T02:13:04Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2025-12-31T23:30:00Z"),
    ],
)
def test_every_time_is_utc_with_a_z(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_the_machines_clocks() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.utc().tzinfo is UTC
    assert clock.monotonic() >= first
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36
    assert booted_s() >= first - 1
