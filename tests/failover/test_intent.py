"""What was ordered, on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncsrv.failover import intent
from syncsrv.failover.intent import BadIntentError, Intent

ORDERED = Intent(maintenance=True, hold_preempt="fw1 is diverged", demotions={"operator:disk": 100})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert intent.load(tmp_path) == Intent()
    (tmp_path / "carp").mkdir()
    (tmp_path / intent.FILE).write_bytes(intent.encode(ORDERED))
    assert intent.load(tmp_path) == ORDERED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 0}, "format: is 0"),
        ({"ready": True}, "ready: is not known"),
        ({"maintenance": "on"}, "maintenance: is neither true nor false"),
        ({"demotions": {"disk": 255}}, "'disk' with 255, not 0..254"),
        ({"demotions": {"": 1}}, "demotions holds ''"),
        ({"demotions": []}, "demotions: is no object"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadIntentError) as caught:
        intent.from_json({**intent.to_json(ORDERED), **change})
    assert said in caught.value.message


def test_a_missing_key_is_named_too() -> None:
    plain = intent.to_json(ORDERED)
    del plain["switchover"]
    with pytest.raises(BadIntentError, match="switchover: is missing"):
        intent.from_json(plain)


def test_a_torn_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "carp").mkdir()
    (tmp_path / intent.FILE).write_bytes(intent.encode(ORDERED)[:20])
    with pytest.raises(BadIntentError, match="is no JSON"):
        intent.load(tmp_path)
