"""Since when a commit is on main: across restarts of core, and never longer than it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.core.soak import SoakFile


@dataclass
class Hands:
    """A clock that is moved by hand."""

    at: float = 1000.0
    now_utc: datetime = datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return self.now_utc


def test_it_counts_from_the_first_sight_and_over_a_restart_of_core(tmp_path: Path) -> None:
    clock = Hands()
    ledger = SoakFile(tmp_path / "soak.json", clock, "boot")
    ledger.saw("c1")
    clock.at += 50
    ledger.saw("c2")
    ledger.saw("c1")
    clock.at += 50
    again = SoakFile(tmp_path / "soak.json", clock, "boot")
    for one in (ledger, again):
        assert one.newest(("c2", "c1"), 50) == "c2"
        assert one.newest(("c2", "c1"), 100) == "c1"
        assert one.newest(("c2", "c1"), 101) is None


@pytest.mark.parametrize("year", [1970, 2099])
def test_no_setting_of_the_wall_clock_makes_anything_older(tmp_path: Path, year: int) -> None:
    clock = Hands()
    ledger = SoakFile(tmp_path / "soak.json", clock, "boot")
    ledger.saw("c1")
    clock.now_utc = datetime(year, 1, 1, tzinfo=UTC)
    clock.at += 10
    assert ledger.newest(("c1",), 11) is None
    assert SoakFile(tmp_path / "soak.json", clock, "boot").newest(("c1",), 11) is None
    assert ledger.newest(("c1",), 10) == "c1"


def test_after_a_boot_all_counts_begin_anew(tmp_path: Path) -> None:
    clock = Hands()
    SoakFile(tmp_path / "soak.json", clock, "boot").saw("c1")
    clock.at = 5000.0
    other = SoakFile(tmp_path / "soak.json", clock, "another boot")
    assert other.newest(("c1",), 1) is None
    other.saw("c1")
    clock.at += 1
    assert other.newest(("c1",), 1) == "c1"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"boot": "boot"}',
        '{"boot": "boot", "seen": []}',
        '{"boot": "boot", "seen": {"c1": "long ago"}}',
        '{"boot": "boot", "seen": {"c1": NaN}}',
        '{"boot": "boot", "seen": {"c1": -Infinity}}',
        '{"boot": "boot", "seen": {"c1": 5000}}',
    ],
)
def test_what_is_damaged_counts_as_new(tmp_path: Path, text: str) -> None:
    (tmp_path / "soak.json").write_text(text)
    ledger = SoakFile(tmp_path / "soak.json", Hands(), "boot")
    assert ledger.newest(("c1",), 1) is None
    ledger.saw("c1")
    assert json.loads((tmp_path / "soak.json").read_text()) == {"boot": "boot", "seen": {"c1": 1000.0}}


def test_what_cannot_be_written_is_known_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    ledger = SoakFile(tmp_path / "gone" / "soak.json", clock, "boot")
    ledger.saw("c1")
    clock.at += 5
    assert ledger.newest(("c1",), 5) == "c1"
    assert "after a restart c1 counts as new" in caplog.text
