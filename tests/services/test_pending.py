from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from syncsrv.services.base import ServiceState, ServiceStatus
from syncsrv.services.pending import GRAIN_S, ReloadFile, Verdicts, pending_why, restart_pending


def running(started_at: float | None = None, reloaded_at: float | None = None) -> ServiceStatus:
    return ServiceStatus("d", ServiceState.RUNNING, started_at=started_at, reloaded_at=reloaded_at)


@pytest.mark.parametrize(
    "status, loaded_at, newest, pending",
    [
        (running(100.0), None, 101.0, True),
        (running(100.0), None, 99.0, False),
        (running(100.0), None, 100.0 + GRAIN_S / 2, False),
        (running(100.0), 102.0, 101.0, False),
        (running(100.0), 102.0, 103.0, True),
        (running(100.0, reloaded_at=102.0), None, 101.0, False),
        (running(103.0), 102.0, 102.5, False),
        (running(100.0), None, None, False),
        (running(), None, 101.0, False),
        (running(), 100.0, 101.0, True),
        (ServiceStatus("d", ServiceState.STOPPED), 100.0, 101.0, False),
        (ServiceStatus("d", ServiceState.UNKNOWN, started_at=100.0), None, 101.0, False),
    ],
)
def test_pending_from_the_change_to_the_next_load(
    status: ServiceStatus, loaded_at: float | None, newest: float | None, pending: bool
) -> None:
    assert restart_pending(status, loaded_at, newest) is pending


HOUR_S = 3600.0


def seen(verdicts: Verdicts, loaded_as: str, started_at: float, newest: float | None, now: float) -> bool:
    status = ServiceStatus("d", ServiceState.RUNNING, started_at=started_at, loaded_as=loaded_as)
    return verdicts.of(status, None, newest, now)


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_a_clock_that_is_set_changes_no_verdict(step_s: float) -> None:
    verdicts = Verdicts()
    assert seen(verdicts, "a", 1e6, 1e6 + 60, 1e6 + 70)
    assert not seen(verdicts, "b", 1e6 + 80, 1e6 + 60, 1e6 + 90), "restarted since"
    assert not seen(verdicts, "b", 1e6 + 80 + step_s, 1e6 + 60, 1e6 + 90 + step_s), "its start moved, its file did not"
    changed = 1e6 + 100 + step_s
    assert seen(verdicts, "b", 1e6 + 80 + step_s, changed, changed + 10), "a change after the step is seen"
    assert seen(verdicts, "b", 1e6 + 80, changed, 1e6 + 110), "and stays so when the clock is set back again"


def test_a_clock_that_was_wrong_at_boot_is_forgotten_when_it_is_right() -> None:
    verdicts = Verdicts()
    assert seen(verdicts, "a", 1e3, 1e6, 1e3 + 1), "the file seems to come from the future"
    assert not seen(verdicts, "a", 2e6, 1e6, 2e6 + 1)


def test_without_a_process_to_remember_by_each_reading_counts() -> None:
    verdicts = Verdicts()
    assert seen(verdicts, "", 100.0, 101.0, 200.0)
    assert not seen(verdicts, "", 102.0, 101.0, 200.0)
    assert not seen(verdicts, "", 102.0, None, 200.0)


def test_the_memory_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "services" / "reloads.json"
    memory = ReloadFile(path)
    assert memory.get("nginx") is None
    memory.put("nginx", 12.5)
    memory.put("unbound", 13.5)
    memory.put("nginx", 14.5)
    again = ReloadFile(path)
    assert (again.get("nginx"), again.get("unbound")) == (14.5, 13.5)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["reloads.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"nginx": "yes", "a": Infinity}'])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reloads.json"
    path.write_bytes(content)
    memory = ReloadFile(path)
    assert memory.get("nginx") is None
    assert memory.get("a") is None
    memory.put("nginx", 1.0)
    assert json.loads(path.read_text()) == {"nginx": 1.0}


def test_a_memory_that_cannot_be_written_says_so_and_holds_for_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    memory = ReloadFile(tmp_path / "file" / "reloads.json")
    with caplog.at_level(logging.WARNING):
        memory.put("nginx", 1.0)
    assert memory.get("nginx") == 1.0
    assert "cannot write" in caplog.text


def test_why_a_restart_is_pending_names_the_file_and_both_times() -> None:
    said = pending_why("/etc/app/app.conf", 1_700_000_060.0, 1_700_000_000.5)
    assert said == ("/etc/app/app.conf changed at 2023-11-14T22:14:20Z; it last read its files at 2023-11-14T22:13:20Z")
    assert pending_why("", 60.0, 0.0).startswith("a file of its areas changed at")
