"""Sessions: issued, rotated, idle, ended; kept over a restart of core, and never longer than they should be."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.core.sessions import (
    ABSOLUTE_S,
    AGAIN_S,
    GRACE_S,
    IDLE_S,
    MAX_ALL,
    MAX_IDS,
    MAX_OF_PERSON,
    ROTATE_S,
    SAVE_S,
    Issued,
    Now,
    Record,
    Sessions,
    alive,
    begun,
    due,
    rotated,
    standing,
    within_bounds,
)
from tests.core.webloginkit import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


@pytest.fixture
def sessions(path: Path, clock: HandClock) -> Sessions:
    return Sessions(path, clock, "boot-1")


def test_an_id_is_long_and_only_its_digest_is_kept(sessions: Sessions, path: Path) -> None:
    secret, record = sessions.issue("alice", "stamp")
    assert len(secret) >= 43, "256 bits"
    text = path.read_text()
    assert secret not in text
    assert hashlib.sha256(secret.encode()).hexdigest() in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert sessions.use(secret) == record
    for forged in ("", "x", secret[:-1], secret + "x", hashlib.sha256(secret.encode()).hexdigest(), "\udcff"):
        assert sessions.use(forged) is None


def test_it_ends_when_nobody_uses_it_and_a_page_that_asks_by_itself_is_nobody(
    sessions: Sessions, clock: HandClock
) -> None:
    used, _ = sessions.issue("alice", "s")
    polled, _ = sessions.issue("alice", "s")
    for _ in range(3):
        clock.run(IDLE_S / 2)
        assert sessions.use(used) is not None
        sessions.use(polled, touch=False)
    assert sessions.use(polled) is None
    clock.run(IDLE_S - 1)
    assert sessions.use(used) is not None
    clock.run(IDLE_S)
    assert sessions.use(used) is None
    assert len(sessions) == 0


def test_it_ends_after_its_time_however_much_it_is_used(sessions: Sessions, clock: HandClock) -> None:
    secret, record = sessions.issue("alice", "s")
    for _ in range(int(ABSOLUTE_S / 600) - 1):
        clock.run(600)
        assert sessions.use(secret) is not None
    assert record.ends_utc.timestamp() == clock.utc().timestamp() + 600
    clock.run(600)
    assert sessions.use(secret) is None


def test_an_id_is_replaced_and_the_old_one_is_good_a_little_longer(sessions: Sessions, clock: HandClock) -> None:
    old, _ = sessions.issue("alice", "s")
    clock.run(ROTATE_S - 1)
    assert sessions.rotate(old) == old
    clock.run(1)
    new = sessions.rotate(old)
    assert new != old
    assert sessions.rotate(old) == old, "of many requests at once one gets the new id"
    assert sessions.use(old) is not None
    assert sessions.use(new) is not None
    clock.run(GRACE_S - 1)
    assert sessions.use(old) is not None
    clock.run(1)
    assert sessions.use(old) is None
    assert sessions.use(new) is not None


def test_whose_answer_was_lost_gets_another_id_while_the_old_one_is_good(sessions: Sessions, clock: HandClock) -> None:
    old, _ = sessions.issue("alice", "s")
    clock.run(ROTATE_S)
    lost = sessions.rotate(old)
    clock.run(AGAIN_S)
    second = sessions.rotate(old)
    assert second not in {old, lost}
    clock.run(GRACE_S)
    assert sessions.use(second) is not None
    assert sessions.use(old) is None


def test_an_id_that_was_replaced_twice_is_dead_and_so_is_a_stolen_copy(sessions: Sessions, clock: HandClock) -> None:
    first, _ = sessions.issue("alice", "s")
    clock.run(ROTATE_S)
    second = sessions.rotate(first)
    sessions.use(second)
    clock.run(ROTATE_S)
    third = sessions.rotate(second)
    clock.run(GRACE_S)
    assert [sessions.use(one) is not None for one in (first, second, third)] == [False, False, True]
    assert sessions.rotate(first) == first, "what is dead is not replaced"


def test_logging_out_ends_every_id_of_the_session_and_everywhere_every_session(
    sessions: Sessions, clock: HandClock
) -> None:
    here, _ = sessions.issue("alice", "s")
    there, _ = sessions.issue("alice", "s")
    bob, _ = sessions.issue("bob", "s")
    clock.run(ROTATE_S)
    newer = sessions.rotate(here)
    sessions.end(newer)
    assert sessions.use(here) is None
    assert sessions.use(there) is not None
    sessions.end_all("alice")
    assert sessions.use(there) is None
    assert sessions.use(bob) is not None
    sessions.end("unknown")
    sessions.end_all("nobody")


def test_a_restart_of_core_keeps_sessions_and_a_restart_of_the_machine_does_not(
    sessions: Sessions, clock: HandClock, path: Path
) -> None:
    alice, _ = sessions.issue("alice", "s")
    bob, _ = sessions.issue("bob", "s")
    sessions.end(bob)
    clock.run(IDLE_S - 1)
    again = Sessions(path, clock, "boot-1")
    assert again.use(alice) is not None
    assert again.use(bob) is None, "who logged out stays out"
    assert Sessions(path, clock, "boot-2").use(alice) is None
    clock.run(IDLE_S)
    assert len(Sessions(path, clock, "boot-1")) == 0


def test_use_is_written_now_and_then_so_that_a_restart_takes_little_time_away(
    sessions: Sessions, clock: HandClock, path: Path
) -> None:
    secret, _ = sessions.issue("alice", "s")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    clock.run(SAVE_S - 1)
    sessions.use(secret)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    clock.run(IDLE_S - SAVE_S)
    sessions.use(secret)
    clock.run(IDLE_S - 1)
    assert Sessions(path, clock, "boot-1").use(secret) is not None


@pytest.mark.parametrize("seconds", [-3600 * 24 * 365, -3600, 3600, ABSOLUTE_S])
def test_no_step_of_the_clock_makes_a_session_longer(sessions: Sessions, clock: HandClock, seconds: float) -> None:
    secret, _ = sessions.issue("alice", "s")
    clock.step(seconds)
    assert (sessions.use(secret) is not None) == (seconds < ABSOLUTE_S)
    for _ in range(int(ABSOLUTE_S / 600)):
        clock.run(600)
        sessions.use(secret)
    assert sessions.use(secret) is None


GOOD = {
    "person": "alice",
    "stamp": "s",
    "began_at": 5000.0,
    "ends_utc_s": 1e12,
    "used_at": 5000.0,
    "ids": [{"digest": hashlib.sha256(b"id").hexdigest(), "at": 5000.0, "until_at": None}],
}


def kept(**changes: object) -> str:
    return json.dumps({"boot": "boot-1", "sessions": [{**GOOD, **changes}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\x00" * 100,
        '{"boot": "boot-1"}',
        '{"boot": "boot-1", "sessions": [{"person": "alice"}]}',
        kept(ids="x"),
        kept(ids=[{"digest": 1, "at": 0}]),
        kept(used_at="5000"),
        kept(used_at=None),
        kept(used_at=float("inf")),
        kept(used_at=float("nan")),
        kept(used_at=5001.0),
        kept(began_at=9e9),
        kept(began_at=-9e9),
        kept(ends_utc_s=0.0),
        kept(ends_utc_s=float("nan")),
    ],
)
def test_a_damaged_file_lets_nobody_in_and_does_not_keep_core_from_starting(
    path: Path, clock: HandClock, text: str
) -> None:
    path.write_text(text)
    found = Sessions(path, clock, "boot-1")
    assert found.use("id") is None
    secret, _ = found.issue("alice", "s")
    assert Sessions(path, clock, "boot-1").use(secret) is not None


def test_the_file_that_those_are_made_from_is_a_good_one(path: Path, clock: HandClock) -> None:
    path.write_text(kept())
    assert Sessions(path, clock, "boot-1").use("id") is not None


def test_what_is_no_file_is_said_and_sessions_work_without_it(
    path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    with caplog.at_level(logging.ERROR):
        found = Sessions(path, clock, "boot-1")
        secret, _ = found.issue("alice", "s")
    assert f"cannot read {path}" in caplog.text
    assert f"cannot keep sessions in {path}" in caplog.text
    assert found.use(secret) is not None


def test_a_disk_that_takes_nothing_lets_nobody_back_in_who_logged_out(
    sessions: Sessions, path: Path, clock: HandClock
) -> None:
    secret, _ = sessions.issue("alice", "s")
    (path.parent / ".sessions.json.new").mkdir()  # the next write fails
    sessions.end(secret)
    assert Sessions(path, clock, "boot-1").use(secret) is None


def test_the_number_is_bounded_for_each_person_and_for_all(sessions: Sessions, clock: HandClock) -> None:
    mine = []
    for _ in range(MAX_OF_PERSON + 1):
        clock.run(1)
        mine.append(sessions.issue("alice", "s")[0])
    assert sessions.use(mine[0]) is None, "the one that was used longest ago"
    assert all(sessions.use(one) is not None for one in mine[1:])
    now = Now(100.0, 0.0)
    many = [begun(f"user{number}", "s", str(number), now) for number in range(MAX_ALL)]
    fresh = begun("fresh", "s", "fresh", now)
    assert within_bounds(many, fresh, now) == [*many[1:], fresh]


def test_the_same_password_kept_in_another_form_goes_on(sessions: Sessions) -> None:
    secret, _ = sessions.issue("alice", "old")
    other, _ = sessions.issue("bob", "old")
    sessions.restamp("alice", "old", "new")
    assert [found.stamp if (found := sessions.use(one)) else "" for one in (secret, other)] == ["new", "old"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "step", "use", "poll", "rotate", "old", "restart", "end"]),
        st.floats(-2 * ABSOLUTE_S, 2 * ABSOLUTE_S),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_no_id_outlives_its_limits(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]
) -> None:
    clock = HandClock()
    path = tmp_path_factory.mktemp("s") / "sessions.json"
    sessions = Sessions(path, clock, "boot")
    secret, _ = sessions.issue("alice", "s")
    began = touched = clock.at
    replaced: dict[str, float] = {}
    ended = False
    for what, amount in steps:
        if what == "wait":
            clock.run(abs(amount) / 20)
        elif what == "step":
            clock.step(amount)
        elif what in {"use", "poll"}:
            found = sessions.use(secret, touch=what == "use")
            if found is not None:
                assert not ended
                assert clock.at - touched < IDLE_S
                assert clock.at - began < ABSOLUTE_S
                touched = clock.at if what == "use" else touched
            else:
                ended = True
        elif what == "rotate":
            fresh = sessions.rotate(secret)
            if fresh != secret:
                assert not ended
                replaced[secret] = clock.at
                secret = fresh
        elif what == "old":
            for old, at in replaced.items():
                if sessions.use(old, touch=False) is not None:
                    assert clock.at - at < GRACE_S
                    assert not ended
        elif what == "restart":
            sessions = Sessions(path, clock, "boot")
        else:
            sessions.end(secret)
            ended = True


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.none() | st.floats(0, 2000)), min_size=1, max_size=MAX_IDS),
    st.floats(0, 2000),
)
def test_a_rotation_leaves_one_lasting_id_and_few_others(ids: list[tuple[float, float | None]], at: float) -> None:
    record = Record("alice", "s", 0.0, 1e9, at, tuple(Issued(str(number), *one) for number, one in enumerate(ids)))
    after = rotated(record, "new", Now(at, 0.0))
    assert [one.digest for one in after.ids if one.until_at is None] == ["new"]
    assert len(after.ids) <= MAX_IDS
    assert all(one.until_at is None or one.until_at <= at + GRACE_S for one in after.ids)
    if alive(record, Now(at, 0.0)):
        assert standing(after, "new", Now(at, 0.0)) is not None
        assert not due(after, after.ids[-1], Now(at, 0.0))
