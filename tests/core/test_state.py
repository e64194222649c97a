"""What a node remembers of its syncs."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.core.state import Applied, StateFile, SyncState
from syncsrv.errors import DamagedError
from syncsrv.plan.verdict import Last

ONE = Applied("sync/000009", "a" * 40, "b" * 40, "c" * 40)
TEN = Applied("sync/000010", "d" * 40, "e" * 40, "f" * 40)


def test_it_is_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "sync.json"
    assert StateFile(path).now == SyncState()
    state = SyncState({"proxy": ONE, "dns": TEN}, Last("j", "failed", "t", "why", "what"), "to x by alice")
    StateFile(path).save(state)
    assert StateFile(path).now == state
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_newest_is_the_one_with_the_highest_number() -> None:
    assert SyncState({"proxy": ONE, "dns": TEN}).newest == TEN
    assert SyncState().newest is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"applied": {"x": {}}, "last": null, "rolled_back_here": null}']
)
def test_a_damaged_file_is_named_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sync.json"
    path.write_text(text)
    with pytest.raises(DamagedError, match=r"sync\.json") as caught:
        StateFile(path)
    assert caught.value.remedy


def test_what_one_job_saves_is_not_undone_by_another_at_the_same_time(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "sync.json")

    def add(area: str) -> None:
        file.change(lambda now: replace(now, applied={**now.applied, area: ONE}))

    threads = [threading.Thread(target=add, args=(f"area{n}",)) for n in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.now.applied) == 80
    assert StateFile(tmp_path / "sync.json").now == file.now
