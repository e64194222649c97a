"""The times of CARP, in numbers that other implementations have."""

from __future__ import annotations

import itertools

import pytest

from syncsrv.carp import timing


@pytest.mark.parametrize(
    ("advbase", "advskew", "interval_s"),
    [(1, 0, 1.0), (1, 100, 1 + 100 / 256), (3, 1, 3 + 1 / 256), (0, 50, 50 / 256), (0, 0, 1 / 256)],
)
def test_interval(advbase: int, advskew: int, interval_s: float) -> None:
    assert timing.interval_s(advbase, advskew) == interval_s


@pytest.mark.parametrize(
    ("advbase", "advskew", "heard_s", "down_s"),
    [
        (1, 0, 0.0, 3.0),
        (1, 100, 0.0, 3 + 100 / 256),  # lab.md: ucarp's dead time is 3.39 s
        (1, 100, 1.0, 3 + 100 / 256),
        (2, 0, 2.0, 6.0),
        (1, 0, timing.interval_s(1, 240), 2.25 * (1 + 240 / 256)),  # one advert of a demoted MASTER may be lost
        (0, 0, 0.0, 3 / 256),
        (0, 10, 5 / 256, 30 / 256),
        (0, 5, 10 / 256, 30 / 256),  # the MASTER is the slower one
    ],
)
def test_master_down(advbase: int, advskew: int, heard_s: float, down_s: float) -> None:
    assert timing.master_down_s(advbase, advskew, heard_s) == down_s


@pytest.mark.parametrize("advbase", [0, 1, 5])
def test_one_lost_advert_is_always_borne(advbase: int) -> None:
    for advskew, heard in itertools.product(range(240), range(240)):
        heard_s = timing.interval_s(advbase, heard)
        assert timing.master_down_s(advbase, advskew, heard_s) > 2 * heard_s


@pytest.mark.parametrize(
    ("advbase", "heard_advbase", "heard_advskew", "so"),
    [
        (1, 255, 255, True),  # a farewell is only the extreme of it
        (1, 4, 0, True),
        (1, 3, 0, False),
        (1, 1, 240, False),
        (0, 1, 0, True),
        (0, 0, 240, False),
    ],
)
def test_a_master_too_slow_to_wait_for(advbase: int, heard_advbase: int, heard_advskew: int, so: bool) -> None:
    assert timing.will_time_out(advbase, 0, heard_advbase, heard_advskew) is so


def test_the_last_of_the_row_follows_before_the_handover_is_given_up() -> None:
    assert timing.stagger_s(0) == 0
    last_s = timing.stagger_s(240) + (timing.FAREWELLS - 1) * timing.FAREWELL_GAP_S
    assert last_s < timing.HANDOVER_S / 2


@pytest.mark.parametrize(("advbase", "advskew"), [(1, 0), (1, 200), (0, 5), (0, 0)])
def test_nobody_follows_before_patience_ends(advbase: int, advskew: int) -> None:
    heard_s = timing.interval_s(advbase, advskew)
    for peer in range(0, 241, 10):
        assert timing.patience_s(advbase, advskew) <= timing.master_down_s(advbase, peer, heard_s)
