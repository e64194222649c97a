"""Passwords: what is taken for one, what is not, and that checking them cannot take the machine down."""

from __future__ import annotations

import queue
import threading

import pytest

from syncsrv.control.errors import SlowDownError
from syncsrv.core.passwords import AT_ONCE, LONGEST_BYTES, QUEUE, Cost, Passwords
from syncsrv.errors import UsageError
from tests.core.webloginkit import CHEAP
from tests.support.wait import until


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(CHEAP)


@pytest.mark.parametrize("password", ["12345678", "ä" * 8, "x" * LONGEST_BYTES, "with\0nul and space ", "\udcff" * 8])
def test_a_password_is_kept_as_a_hash_that_only_it_matches(passwords: Passwords, password: str) -> None:
    kept = passwords.hash(password)
    assert kept.startswith("$argon2id$")
    assert passwords.hash(password) != kept, "salted"
    assert passwords.matches(kept, password, known=True)
    assert not passwords.matches(kept, password + "x", known=True)
    assert not passwords.matches(kept, password[:-1], known=False)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "it is empty; give one of at least 8 characters"),
        ("1234567", "it has 7 characters; give one of at least 8 characters"),
        ("x" * (LONGEST_BYTES + 1), f"it has {LONGEST_BYTES + 1} bytes; give one of at most {LONGEST_BYTES}"),
    ],
)
def test_too_short_and_too_long_is_refused_in_a_sentence(passwords: Passwords, password: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        passwords.hash(password)
    assert str(caught.value) == f"cannot set the password: {said}"


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "garbage",
        "$argon2id$v=19$m=64,t=1,p=1$YWFhYWFhYWE$",
        "$argon2id$v=19$m=999999999,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYQ",
        "$argon2id$v=19$m=64,t=4000000,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYQ",
        "$argon2id$v=19$m=x,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYQ",
        "é",
    ],
)
def test_what_is_no_hash_matches_nothing_and_takes_no_memory(passwords: Passwords, kept: str) -> None:
    assert not passwords.matches(kept, "", known=True)
    assert not passwords.matches(kept, "x" * 100_000, known=True)


def test_a_hash_of_another_cost_is_outdated(passwords: Passwords) -> None:
    kept = passwords.hash("12345678")
    assert not passwords.outdated(kept)
    assert Passwords().outdated(kept)
    assert Passwords(Cost(2, 64, 1)).matches(kept, "12345678", known=True)


def test_strangers_never_take_every_place_and_nobody_waits_for_ever() -> None:
    passwords = Passwords(CHEAP, wait_s=0.05)
    inside, leave = threading.Semaphore(0), threading.Event()

    def hold(*, known: bool) -> threading.Thread:
        def run() -> None:
            with passwords._turn(known=known):
                inside.release()
                leave.wait(30)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    kept = passwords.hash("12345678")
    threads = [hold(known=False)]
    try:
        assert inside.acquire(timeout=10)
        with pytest.raises(SlowDownError, match="too many others") as caught:
            passwords.matches(kept, "12345678", known=False)
        assert caught.value.retry_s > 0
        assert passwords.matches(kept, "12345678", known=True)
        threads += [hold(known=True) for _ in range(AT_ONCE - 1)]
        assert inside.acquire(timeout=10)
        with pytest.raises(SlowDownError):
            passwords.matches(kept, "12345678", known=True)
    finally:
        leave.set()
        for thread in threads:
            thread.join(10)
    assert until(lambda: passwords.matches(kept, "12345678", known=False))


def test_a_crowd_of_strangers_is_turned_away_at_once() -> None:
    passwords = Passwords(CHEAP, wait_s=30)
    kept = passwords.hash("12345678")
    answers: queue.Queue[bool | None] = queue.Queue()

    def come() -> None:
        try:
            answers.put(passwords.matches(kept, "12345678", known=False))
        except SlowDownError:
            answers.put(None)

    crowd = [threading.Thread(target=come) for _ in range(30)]
    with passwords._turn(known=False):
        for thread in crowd:
            thread.start()
        turned_away = [answers.get(timeout=10) for _ in range(30 - QUEUE)]
        assert turned_away == [None] * (30 - QUEUE)
        assert passwords.matches(kept, "12345678", known=True)
    for thread in crowd:
        thread.join(10)
    assert [answers.get(timeout=10) for _ in range(QUEUE)] == [True] * QUEUE
