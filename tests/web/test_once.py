"""A secret is read once, by who made it, soon after."""

from __future__ import annotations

from syncsrv.web.once import LASTS_S, MOST, Once
from tests.core.webloginkit import HandClock


def test_it_is_given_once_and_to_nobody_else() -> None:
    once = Once(HandClock())
    name = once.put("alice", "vera", "secret")
    assert "secret" not in name
    assert once.take(name, "oscar") is None
    assert once.take("another", "alice") is None
    assert once.take(name, "alice") == ("vera", "secret")
    assert once.take(name, "alice") is None


def test_it_does_not_wait_for_long_and_not_with_many_others() -> None:
    clock = HandClock()
    once = Once(clock)
    late, early = once.put("alice", "", "a"), once.put("alice", "", "b")
    clock.run(LASTS_S - 0.1)
    assert once.take(early, "alice") is not None
    clock.run(0.1)
    assert once.take(late, "alice") is None
    first, *_, last = [once.put("alice", "", "c") for _ in range(MOST + 1)]
    assert once.take(first, "alice") is None
    assert once.take(last, "alice") is not None
