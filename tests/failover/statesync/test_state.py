"""The file that says how the state sync is: strict, by name, both ways."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.statesync import state
from syncsrv.failover.statesync.state import BadStateError, LastOrder, State

STATE = State(
    engine="conntrackd",
    word="ready",
    reason="connections go to and from the peer",
    remedy="",
    pid=4711,
    at_boot_s=1234.5,
    entries=504,
    carried=500,
    received=1006,
    peer="heard",
    lag=2,
    last_order=LastOrder("commit, flush, resync, bulk update", "done", "", 0.02, 1200.25),
    table="received",
    errors={"lost messages": 3},
)


def test_what_is_written_is_read_back_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    assert state.load(tmp_path) is None
    state.store(tmp_path, STATE)
    assert state.load(tmp_path) == STATE
    assert stat.S_IMODE((tmp_path / state.FILE).stat().st_mode) == 0o600
    silent = replace(STATE, pid=None, last_order=None, errors={})
    state.store(tmp_path, silent)
    assert state.load(tmp_path) == silent


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 2, "format: is 2"),
        ("word", "green", "word: is none of"),
        ("pid", "1", "pid: is no whole number"),
        ("surprise", 1, "surprise: is not known"),
        ("last_order", {"what": "x"}, "last_order.result: is missing"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: object, said: str) -> None:
    plain = json.loads(state.encode(STATE))
    plain[key] = value
    with pytest.raises(BadStateError) as caught:
        state.decode(json.dumps(plain).encode())
    assert said in caught.value.message


def test_a_file_that_cannot_be_read_is_no_silence(tmp_path: Path) -> None:
    (tmp_path / state.FILE).mkdir()
    with pytest.raises(BadStateError, match="is a directory"):
        state.load(tmp_path)
