"""Guessing gets slow; who knows the password gets in."""

from __future__ import annotations

import bisect
import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.core.throttle import (
    FIRST_S,
    FORGET_S,
    FREE,
    LINE_S,
    LONGEST_S,
    MAX_BUCKETS,
    MAX_KNOWN,
    MAX_LINES,
    SPACE_S,
    TURN_S,
    WIDE_FREE,
    WIDE_LONGEST_S,
    Bucket,
    Throttle,
    Try,
    Wait,
    counted,
    source_of,
    uncounted,
    wait_s,
    wide_of,
)

HERE, THERE = "192.0.2.7", "198.51.100.9"


def wrong(throttle: Throttle, now: float, name: str = "admin", source: str = THERE, device: str = "") -> bool:
    """A wrong password; whether it was looked at."""
    return isinstance(throttle.begin(name, source, device, now), Try)


def right(throttle: Throttle, now: float, name: str = "admin", source: str = HERE, device: str = "") -> float:
    """The right password; seconds that it has to wait, 0 where it was looked at."""
    tried = throttle.begin(name, source, device, now)
    if isinstance(tried, Wait):
        return tried.seconds
    throttle.right(tried, now)
    return 0.0


def guessed(throttle: Throttle, seconds: int, now: float, name: str = "admin", source: str = THERE) -> int:
    """Somebody tries ten times a second; how many were looked at."""
    return sum(wrong(throttle, now + tick / 10, name, source) for tick in range(seconds * 10))


def test_the_delays_double_from_a_second_to_a_minute() -> None:
    bucket, waits = Bucket(), []
    now = 100.0
    for _ in range(FREE + 9):
        bucket = counted(bucket, now)
        waits.append(wait_s(bucket, now))
        now += waits[-1]
    assert waits == [0.0] * (FREE - 1) + [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_a_quiet_while_forgets_it() -> None:
    throttle = Throttle()
    assert guessed(throttle, 120, 0.0) < 12
    assert wrong(throttle, 120 + FORGET_S + LONGEST_S)
    assert wrong(throttle, 120 + FORGET_S + LONGEST_S)


def test_guessing_from_one_address_is_slow_for_one_name_and_for_many() -> None:
    assert guessed(Throttle(), 3600, 0.0) < 75
    throttle = Throttle()
    looked_at = sum(wrong(throttle, tick / 10, f"name{tick}") for tick in range(6000))
    assert looked_at < 20


def test_many_at_once_are_counted_before_they_are_looked_at() -> None:
    throttle = Throttle()
    assert sum(wrong(throttle, 0.0) for _ in range(100)) == FREE


def test_a_name_under_attack_makes_a_stranger_wait_once_for_those_before_him_in_the_line() -> None:
    throttle = Throttle()
    now = 0.0
    waited = None
    for tick in range(20_000):  # attackers from everywhere never stop
        now = tick / 10
        wrong(throttle, now, source=f"203.0.113.{tick % 250}")
        if tick == 10_000:
            waited = right(throttle, now)
            assert 0 < waited <= LONGEST_S + 250 * SPACE_S
        if waited is not None and now >= 1000.0 + waited:
            assert right(throttle, now) == 0.0
            return
    pytest.fail("never let in")


def test_who_waits_for_a_turn_is_told_less_each_time_and_the_turn_is_good_once() -> None:
    throttle = Throttle()
    guessed(throttle, 300, 0.0)
    first = throttle.begin("admin", HERE, "", 300.0)
    second = throttle.begin("admin", HERE, "", 301.0)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert second.seconds == max(FIRST_S, first.seconds - 1)
    assert isinstance(throttle.begin("admin", HERE, "", 300.0 + first.seconds), Try)
    assert isinstance(throttle.begin("admin", HERE, "", 300.0 + first.seconds), Wait)


def test_a_known_device_is_never_delayed_by_others_not_even_at_the_same_address() -> None:
    throttle = Throttle()
    guessed(throttle, 600, 0.0, source=HERE)
    assert right(throttle, 600.0, device="laptop") == 0.0
    assert right(throttle, 600.0, source="somewhere else", device="laptop") == 0.0


def test_an_address_that_logged_in_lately_is_not_delayed_by_failures_from_elsewhere() -> None:
    throttle = Throttle()
    assert right(throttle, 0.0) == 0.0
    guessed(throttle, 600, 1.0)
    guessed(throttle, 600, 1.0, name="bob", source=HERE)
    assert right(throttle, 601.0) == 0.0


def test_a_known_device_and_a_known_address_are_limited_too() -> None:
    throttle = Throttle()
    assert sum(wrong(throttle, tick / 10, source=HERE, device="laptop") for tick in range(36_000)) < 75
    assert right(throttle, 4000.0) == 0.0, "what a device fills is its own bucket only"
    assert guessed(throttle, 3600, 4000.0, source=HERE) < 75


def test_the_right_password_forgets_what_led_there() -> None:
    throttle = Throttle()
    for _ in range(FREE - 1):
        assert wrong(throttle, 0.0, device="laptop")
    assert right(throttle, 0.0, device="laptop") == 0.0
    assert sum(wrong(throttle, 0.0, device="laptop") for _ in range(FREE + 1)) == FREE


def test_ones_own_account_does_not_buy_guesses_for_another() -> None:
    throttle = Throttle()
    looked_at = 0
    for tick in range(6000):
        now = tick / 10
        right(throttle, now, "mallory", THERE)
        looked_at += wrong(throttle, now)
    assert looked_at < 20


def test_what_was_not_looked_at_counts_for_nothing() -> None:
    throttle = Throttle()
    for _ in range(100):
        tried = throttle.begin("admin", HERE, "", 0.0)
        assert isinstance(tried, Try)
        throttle.not_looked_at(tried)


def test_ten_thousand_sources_cost_bounded_memory_and_do_not_lock_anybody_out() -> None:
    throttle = Throttle()
    for number in range(10_000):
        source = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        wrong(throttle, number / 1000, source=source)
        wrong(throttle, number / 1000, name=f"name{number}", source=source)
    assert len(throttle) < 2 * MAX_BUCKETS + MAX_LINES + 3 * MAX_KNOWN
    waited = right(throttle, 10.0)
    assert waited <= LINE_S
    assert right(throttle, 10.0 + waited) == 0.0
    for number in range(3 * MAX_BUCKETS):
        wrong(throttle, 20.0, name=f"{number}", source=f"{number}")
    assert len(throttle) <= 2 * MAX_BUCKETS + MAX_LINES + 3 * MAX_KNOWN


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "nowhere", True),
        ("ssh", "cli", False),
        ("127.0.0.1", "127.9.9.9", True),
        ("::1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::1", True),
    ],
)
def test_a_source_is_an_address_or_the_network_that_one_person_has(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) == same


@given(st.text())
def test_any_text_is_a_source(text: str) -> None:
    assert source_of(text)
    assert wide_of(source_of(text))


def test_the_network_of_a_customer_is_a_48_in_ipv6_and_the_address_in_ipv4() -> None:
    assert wide_of(source_of("2001:db8:1:2::3")) == wide_of(source_of("2001:db8:1:ffff::1")) == "2001:db8:1::/48"
    assert wide_of(source_of("2001:db8:1::1")) != wide_of(source_of("2001:db8:2::1"))
    assert wide_of(HERE) == HERE
    assert wide_of(source_of("::1")) == source_of("::1")


def attacked(sources: list[str], seconds: float, late_s: float = 0.0) -> tuple[Throttle, list[float]]:
    """Each source comes as soon as it may, or ``late_s`` after; when a password for admin was looked at."""
    throttle, looked_at = Throttle(), []
    asking = [(number / 1e4, source) for number, source in enumerate(sources)]
    heapq.heapify(asking)
    while asking[0][0] < seconds:
        now, source = asking[0]
        answer = throttle.begin("admin", source, "", now)
        if isinstance(answer, Wait):
            heapq.heapreplace(asking, (now + answer.seconds + late_s, source))
        else:
            looked_at.append(now)
            heapq.heapreplace(asking, (now + 0.1, source))
    return throttle, looked_at


def most_in_a_minute(times: list[float]) -> int:
    return max(bisect.bisect_left(times, at + 60.0) - place for place, at in enumerate(times))


EVERYWHERE = [f"10.9.{number // 256}.{number % 256}" for number in range(4096)]
ONE_48 = [source_of(f"2001:db8:1:{number:x}::1") for number in range(4096)]
MANY_48 = [source_of(f"2001:db8:{number:x}:7::1") for number in range(4096)]


@pytest.mark.parametrize("sources", [EVERYWHERE[:50], EVERYWHERE[:256], EVERYWHERE, MANY_48], ids=len)
def test_more_addresses_do_not_buy_more_guesses(sources: list[str]) -> None:
    _, looked_at = attacked(sources, 3600.0)
    assert most_in_a_minute(looked_at) <= 60 / SPACE_S + FREE
    assert len(looked_at) <= 3600 / SPACE_S + FREE


def test_nor_do_turns_that_are_saved_up() -> None:
    _, looked_at = attacked(EVERYWHERE, 3600.0, late_s=TURN_S - 1)
    assert len(looked_at) <= 3600 / SPACE_S + FREE
    throttle, _ = attacked(EVERYWHERE[:300], 1000.0)
    taken = sum(isinstance(throttle.begin("admin", source, "", 1100.0), Try) for source in EVERYWHERE[:300])
    assert taken <= TURN_S / SPACE_S + 1


def test_a_whole_ipv6_48_has_one_place_in_the_line_and_one_bucket() -> None:
    throttle, looked_at = attacked(ONE_48, 900.0)
    assert len(looked_at) < 30
    assert right(throttle, 900.0, source="192.0.2.99") <= LONGEST_S + 2 * SPACE_S, "its line is short for others"
    throttle, now, tried = Throttle(), 0.0, 0
    for number in range(6000):
        now = number / 10
        tried += wrong(throttle, now, f"name{number}", ONE_48[number % 4096])
    assert tried <= WIDE_FREE + 5 + 600 / WIDE_LONGEST_S


def test_the_admin_is_let_in_at_once_from_what_is_known_and_soon_through_a_tunnel() -> None:
    throttle = Throttle()
    assert right(throttle, 0.0, source=HERE) == 0.0
    for number, source in enumerate([*EVERYWHERE, *MANY_48] * 5):
        wrong(throttle, 1.0 + number / 100, source=source)
    now = 1.0 + 8192 * 5 / 100
    assert right(throttle, now, source=HERE) == 0.0
    assert right(throttle, now, source="192.0.2.200", device="laptop") == 0.0
    waited = right(throttle, now, source=source_of("127.0.0.1"))
    assert waited <= LONGEST_S
    for number, source in enumerate(EVERYWHERE):
        wrong(throttle, now + waited * number / 4096, source=source)
    assert right(throttle, now + waited, source=source_of("127.0.0.1")) == 0.0


def test_a_turn_at_which_there_was_no_room_to_look_is_kept() -> None:
    throttle, _ = attacked(EVERYWHERE[:256], 1000.0)
    waited = throttle.begin("admin", HERE, "", 1000.0)
    assert isinstance(waited, Wait)
    for _ in range(3):
        tried = throttle.begin("admin", HERE, "", 1000.0 + waited.seconds)
        assert isinstance(tried, Try)
        throttle.not_looked_at(tried)


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.sampled_from([0.0, 0.1, 1.0, 3.0, 20.0, 61.0, 119.0])),
        min_size=200,
        max_size=1500,
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_strangers_do_together_a_name_has_so_many_tries_and_a_wait_is_bounded(
    asks: list[tuple[int, float]],
) -> None:
    throttle, now, looked_at = Throttle(), 0.0, 0
    free = FREE  # forgotten after a quiet quarter of an hour
    last = 0.0
    for number, gap in asks:
        now += gap
        answer = throttle.begin("admin", EVERYWHERE[number], "", now)
        if isinstance(answer, Try):
            free += FREE if now - last >= FORGET_S else 0
            looked_at, last = looked_at + 1, now
            assert looked_at <= now / SPACE_S + 1 + free
        else:
            assert answer.seconds <= LINE_S


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_no_wait_is_ever_longer_than_a_minute_and_taking_back_never_adds_one(gaps: list[int]) -> None:
    bucket, now = Bucket(), 0.0
    for gap in gaps:
        now += gap
        bucket = counted(bucket, now)
        assert wait_s(bucket, now) <= LONGEST_S
        assert wait_s(uncounted(bucket), now) == 0.0


ATTACKS = st.lists(
    st.tuples(
        st.sampled_from(["admin", "bob", "nobody"]),
        st.sampled_from([HERE, THERE, "2001:db8::/64", "10.0.0.1", "10.0.0.2"]),
        st.sampled_from(["", "", "theirs"]),
        st.sampled_from([0.0, 0.1, 1.0, 30.0, 90.0, FORGET_S]),
    ),
    max_size=200,
)


@given(ATTACKS, ATTACKS)
def test_whatever_others_do_who_knows_the_password_gets_in(
    before: list[tuple[str, str, str, float]], meanwhile: list[tuple[str, str, str, float]]
) -> None:
    throttle, now = Throttle(), 0.0
    for name, source, device, gap in before:
        now += gap
        wrong(throttle, now, name, source, device)
    assert right(throttle, now, device="mine") == 0.0, "a known device at once"
    own = "198.51.100.77"
    waits = right(throttle, now, source=own)
    assert waits <= LONGEST_S + 5 * SPACE_S
    due_at = now + waits
    for name, source, device, gap in meanwhile:
        now += gap
        if now <= due_at:
            wrong(throttle, now, name, source, device)
    assert right(throttle, due_at, source=own) == 0.0, "a stranger after the time that was said"
