"""The table: complete, and each cell that does something, with its effects in their order."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import replace
from ipaddress import ip_address
from typing import get_args, get_type_hints

import pytest

from syncsrv.carp import fsm, timing
from syncsrv.carp.demotion import Demotion
from syncsrv.carp.effects import Advertise, Announce, Changed, Effect, Farewell, Hold, Key, Note, Probe, Release, State
from syncsrv.carp.packet import FAREWELL, Advert
from syncsrv.carp.settings import Preempt, VhidSettings
from syncsrv.carp.vhid import (
    Able,
    Around,
    Due,
    Hear,
    Input,
    Leave,
    Outranked,
    Phase,
    Retimed,
    Reweighed,
    Slept,
    Unable,
    Vhid,
)

KEY = Key("eth0", 1)
AROUND = Around(
    now=100.0,
    node="fw2",
    demotion=Demotion(),
    preempt=Preempt.ALWAYS,
    preempt_delay_s=0.0,
    preempt_held="",
    hold_until_at=0.0,
    jitter_s=0.002,
)
Step = tuple[Vhid, tuple[Effect, ...]]


def hear(advskew: int, *, advbase: int = 1, demotion: int = 0, peer: str | None = "fw1", source: int = 1) -> Hear:
    return Hear(Advert(1, advskew, advbase, demotion, 0, b""), ip_address(f"192.0.2.{source}"), peer)


def bye(peer: str | None = "fw1", source: int = 1) -> Hear:
    return hear(FAREWELL, advbase=FAREWELL, peer=peer, source=source)


def at(now: float, **changes: object) -> Around:
    return replace(AROUND, now=now, **changes)  # type: ignore[arg-type]  # names and types of its fields


def demoted(by: int, now: float = 100.0) -> Around:
    return at(now, demotion=Demotion({"operator": by}))


def backup(advskew: int = 100, *, advbase: int = 1, around: Around = AROUND) -> Vhid:
    start = Vhid(VhidSettings(KEY, advbase, advskew), since_at=0.0, reason="just started")
    return fsm.advance(start, Able(), around)[0]


def master(advskew: int = 100, *, advbase: int = 1, now: float = 100.0) -> Vhid:
    waiting = backup(advskew, advbase=advbase, around=at(now - 50))
    found = fsm.advance(waiting, Due(), at(now))[0]
    assert found.state is State.MASTER
    return replace(found, announce_at=None)


def leaving(*, stays: bool = True) -> Vhid:
    return fsm.advance(master(), Leave("maintenance", stays=stays), AROUND)[0]


def test_the_table_has_every_cell_and_each_takes_its_column() -> None:
    assert set(fsm.TABLE) == set(itertools.product(Phase, get_args(Input)))
    for (_, column), function in fsm.TABLE.items():
        hint = get_type_hints(function)["what"]
        assert column is hint or column in get_args(hint), function
        assert list(inspect.signature(function).parameters) == ["vhid", "what", "around"]


def test_init_listens_first_and_says_why() -> None:
    found, effects = fsm.advance(Vhid(VhidSettings(KEY), since_at=0.0, reason=""), Able(), AROUND)
    assert found.down_at == 103.0
    assert effects == (Changed(KEY, State.INIT, State.BACKUP, "eth0 is ready; listening for a MASTER"),)
    assert found.transitions == 1
    assert backup(5, advbase=0).down_at == 100 + timing.LISTEN_S


def test_taking_over_goes_in_order() -> None:
    found, effects = fsm.advance(backup(), Due(), at(104.0))
    why = "no advert was heard for 4.0 s"
    assert effects == (
        Hold(KEY),
        Advertise(KEY, 1, 100),
        Announce(KEY),
        Probe(KEY),
        Changed(KEY, State.BACKUP, State.MASTER, why),
    )
    assert (found.reason, found.since_at, found.transitions) == (why, 104.0, 2)
    assert found.next_at() == 104 + 1 + 100 / 256


def test_a_master_advertises_without_drift_and_announces_twice() -> None:
    found = fsm.advance(backup(0), Due(), at(103.0))[0]
    told = []
    for now in (104.01, 105.0, 106.0):
        found, effects = fsm.advance(found, Due(), at(now))
        told.append(effects)
    advert = Advertise(KEY, 1, 0)
    assert told == [(advert,), (advert, Announce(KEY)), (advert,)]
    assert found.next_at() == 107.0


@pytest.mark.parametrize(
    ("ours", "heard", "changes", "takes"),
    [
        (100, hear(0), {}, False),
        (100, hear(100), {}, False),
        (100, hear(101), {}, True),
        (100, hear(101), {"preempt": Preempt.NEVER}, False),
        (100, hear(240), {"preempt": Preempt.NEVER}, True),
        (100, hear(239), {"preempt": Preempt.NEVER}, False),
        (100, hear(0, demotion=1), {"preempt": Preempt.NEVER}, True),  # OpenBSD
        (100, hear(0, demotion=1), {"demotion": Demotion({"operator": 240})}, False),
        (100, hear(240), {"demotion": Demotion({"operator": 240})}, False),
        (100, hear(200), {"preempt_held": "fw1 is diverged"}, False),
        (100, hear(240), {"preempt_held": "fw1 is diverged"}, True),
        (100, hear(200), {"hold_until_at": 110.0}, False),
        (100, hear(240), {"hold_until_at": 110.0}, False),
        (100, hear(240, advbase=0), {}, False),  # demoted, and better all the same
        (0, hear(0, advbase=3), {"preempt": Preempt.NEVER}, False),
        (0, hear(0, advbase=4), {"preempt": Preempt.NEVER}, True),  # will time out
    ],
)
def test_whom_a_backup_takes_over_from(ours: int, heard: Hear, changes: dict[str, object], takes: bool) -> None:
    found, effects = fsm.advance(backup(ours), heard, at(101.0, **changes))
    assert (found.state is State.MASTER) is takes
    assert bool(effects) is takes
    if not takes:
        assert (found.down_at or 0) >= 104


def test_delayed_preemption_counts_from_the_first_worse_advert_in_a_row() -> None:
    found, patient = backup(0), {"preempt": Preempt.DELAYED, "preempt_delay_s": 2.0}
    for now, advskew in ((101.0, 50), (102.0, 0), (103.0, 50), (104.9, 50)):
        found, _ = fsm.advance(found, hear(advskew), at(now, **patient))
        assert found.state is State.BACKUP
    found, effects = fsm.advance(found, hear(50), at(105.0, **patient))
    assert found.state is State.MASTER
    assert isinstance(effects[-1], Changed)
    assert effects[-1].reason == "advskew 0 is better than 50 of fw1 (192.0.2.1), for 2.0 s"


def test_a_farewell_is_followed_in_ones_turn_whatever_preempt_says() -> None:
    around = at(101.0, preempt=Preempt.NEVER)
    found, effects = fsm.advance(backup(100), bye(), around)
    assert effects == ()
    assert found.down_at == 101 + timing.stagger_s(100)
    again, _ = fsm.advance(found, bye(), at(101.01, preempt=Preempt.NEVER))
    assert again.down_at == found.down_at
    _, effects = fsm.advance(found, Due(), at(101.02, preempt=Preempt.NEVER))
    assert effects[-1] == Changed(KEY, State.BACKUP, State.MASTER, "fw1 (192.0.2.1) said farewell")
    assert fsm.advance(backup(0), bye(), around)[0].state is State.MASTER


def test_a_farewell_is_no_longer_followed_when_another_master_is_heard() -> None:
    found = fsm.advance(backup(200), bye(), at(101.0))[0]
    found = fsm.advance(found, hear(100, peer="fw3", source=3), at(101.02))[0]
    assert (found.down_at, found.pending) == (101.02 + found.master_down_s, "")
    assert fsm.advance(found, bye(), at(101.03))[0] == found
    late = fsm.advance(found, bye(), at(101.02 + found.master_down_s + 0.01))[0]
    assert late.pending == "fw1 (192.0.2.1) said farewell"


def test_a_farewell_from_the_other_family_of_the_same_peer_counts() -> None:
    found = fsm.advance(backup(200), hear(0), at(101.0))[0]
    advert = Advert(1, FAREWELL, FAREWELL, 0, 0, b"")
    found = fsm.advance(found, Hear(advert, ip_address("fe80::1"), "fw1"), at(101.5))[0]
    assert found.pending


def test_a_farewell_waits_for_the_end_of_the_hold_down() -> None:
    held = at(101.0, hold_until_at=120.0)
    found = fsm.advance(backup(100, around=held), bye(), held)[0]
    assert found.down_at == 120 + timing.stagger_s(100)


def test_a_farewell_that_is_refuted_makes_the_next_ones_count_for_nothing() -> None:
    found = fsm.advance(backup(0), hear(100), at(100.5, preempt=Preempt.NEVER))[0]
    found = fsm.advance(found, bye(), at(101.0, preempt=Preempt.NEVER))[0]
    better = replace(found, settings=VhidSettings(KEY, 1, 200))
    found, effects = fsm.advance(better, hear(100), at(101.001))
    assert [type(effect) for effect in effects] == [Advertise, Release, Changed, Note]
    assert fsm.advance(found, bye(), at(110.9))[0].pending == ""
    assert fsm.advance(found, bye(), at(111.1))[0].pending != ""


@pytest.mark.parametrize(
    ("ours", "heard", "node", "stays"),
    [
        (100, hear(101), "fw2", True),
        (100, hear(99), "fw2", False),
        (100, hear(100), "fw2", False),  # fw1 comes first
        (100, hear(100), "fw0", True),
        (100, hear(100), "fw1", False),  # both think they are fw1
        (100, hear(100, peer=None), "fw0", False),
        (100, hear(0, demotion=1), "fw2", True),  # OpenBSD steps down before us
        (100, bye(), "fw2", True),
    ],
)
def test_two_masters(ours: int, heard: Hear, node: str, stays: bool) -> None:
    found, effects = fsm.advance(master(ours), heard, at(100.5, node=node))
    if stays:
        assert effects == (Advertise(KEY, 1, ours), Announce(KEY))
        assert found.advert_at == 100.5 + found.interval_s
    else:
        parting = [] if heard.own_peer is None else [Advertise]
        assert [type(effect) for effect in effects] == [*parting, Release, Changed]
        assert found.down_at == 100.5 + found.master_down_s + (0.004 if heard.own_peer is None else 0)


def test_the_better_of_two_masters_announces_again_also_where_the_other_one_heard_it_first() -> None:
    """A segment was cut, and is whole again: neighbours learned the other one's MAC meanwhile."""
    parting = fsm.advance(master(100), hear(0), at(100.5))[1][0]
    assert parting == Advertise(KEY, 1, 100)
    effects = fsm.advance(master(0), hear(100, peer="fw2"), at(100.5, node="fw1"))[1]
    assert effects == (Advertise(KEY, 1, 0), Announce(KEY))


def test_the_answer_to_worse_adverts_is_limited() -> None:
    found, first = fsm.advance(master(0), hear(100), at(100.1))
    found, second = fsm.advance(found, hear(100), at(101.0))
    found, third = fsm.advance(found, hear(100), at(101.2))
    assert [bool(effects) for effects in (first, second, third)] == [True, False, True]
    assert found.contested_by is not None
    assert (found.contested_by.peer, found.contested_since_at) == ("fw1", 100.1)
    found = fsm.advance(found, hear(100), at(120.0))[0]
    assert found.contested_since_at == 120.0


def test_ties_with_strangers_wait_longer_each_time() -> None:
    found, waits = master(100), []
    for _ in range(12):
        found = fsm.advance(found, hear(100, peer=None), at(found.since_at + 0.001))[0]
        waits.append(round((found.down_at or 0) - found.since_at - found.master_down_s, 6))
        found = fsm.advance(found, Due(), at(found.down_at or 0))[0]
    assert waits[:3] == [0.004, 0.008, 0.016]
    assert waits[-1] == 0.002 * 2**timing.TIES_MOST
    found = fsm.advance(found, hear(100, peer=None), at(found.since_at + 60))[0]
    assert found.ties == 1


def test_leaving_keeps_the_addresses_and_says_farewell_three_times() -> None:
    found, effects = fsm.advance(master(), Leave("maintenance", stays=True), AROUND)
    assert effects == (Farewell(KEY),)
    assert (found.state, found.handover) == (State.MASTER, "under way")
    said = []
    while found.phase is Phase.LEAVING:
        now = found.next_at() or 0
        found, effects = fsm.advance(found, Due(), at(now))
        said.append((round(now - 100, 3), effects[0]))
    assert said[:2] == [(0.02, Farewell(KEY)), (0.04, Farewell(KEY))]
    assert said[2:] == [(0.3, Advertise(KEY, 1, 100))]
    assert found.handover == "no peer took over"


@pytest.mark.parametrize("heard", [hear(0), hear(100), hear(240, peer=None)])
@pytest.mark.parametrize("stays", [True, False])
def test_any_advert_ends_the_wait_of_one_that_leaves(heard: Hear, stays: bool) -> None:
    found, effects = fsm.advance(leaving(stays=stays), heard, at(100.01))
    assert found.state is (State.BACKUP if stays else State.INIT)
    assert [type(effect) for effect in effects] == [Release, Changed]
    assert found.handover.startswith("taken by ")
    assert (found.down_at is not None) is stays
    assert fsm.advance(leaving(stays=stays), bye(), at(100.01))[1] == ()


def test_without_a_peer_one_that_does_not_stay_goes_to_init() -> None:
    found, effects = fsm.advance(leaving(stays=False), Due(), at(100.3))
    assert found.state is State.INIT
    assert effects == (Release(KEY), Changed(KEY, State.MASTER, State.INIT, "maintenance; no peer took over"))


def test_leaving_can_be_called_off_and_made_stronger() -> None:
    found, effects = fsm.advance(leaving(), Able(), at(100.1))
    assert (found.phase, found.handover, effects[0]) == (Phase.MASTER, "", Advertise(KEY, 1, 100))
    stronger = fsm.advance(leaving(), Leave("shutdown", stays=False), at(100.1))[0]
    assert (stronger.stays, stronger.reason, stronger.handover_until_at) == (False, "shutdown", 100.3)
    assert not fsm.advance(stronger, Leave("maintenance", stays=True), at(100.1))[0].stays


@pytest.mark.parametrize("before", [backup(), master(), leaving()], ids=lambda vhid: vhid.phase)
def test_without_a_link_it_is_init_at_once(before: Vhid) -> None:
    found, effects = fsm.advance(before, Unable("eth0 has no link"), at(100.1))
    assert (found.state, found.next_at(), found.speakers) == (State.INIT, None, ())
    released = (Release(KEY),) if before.state is State.MASTER else ()
    assert effects == (*released, Changed(KEY, before.state, State.INIT, "eth0 has no link"))


@pytest.mark.parametrize(
    ("found", "late_s", "stays"),
    [
        (master(0), 1.9, True),
        (master(0), 2.1, False),  # silent for more than 3 s
        (master(5, advbase=0), 0.03, True),
        (master(5, advbase=0), 0.05, False),
        (leaving(), 0.2, True),
        (leaving(), 0.4, False),
    ],
)
def test_a_master_that_slept_sends_nothing_and_listens(found: Vhid, late_s: float, stays: bool) -> None:
    after, effects = fsm.advance(found, Slept(late_s), at(100 + late_s))
    assert (after == found) is stays
    if not stays:
        assert after.state is State.BACKUP
        assert [type(effect) for effect in effects] == [Release, Changed]
        assert (after.down_at or 0) >= 100 + late_s + timing.LISTEN_S


def test_a_backup_that_slept_listens_again_but_not_for_ever() -> None:
    found = backup(0)
    assert fsm.advance(found, Slept(0.9), at(103.9))[0] == found
    for turn in range(1, timing.LATE_MOST + 1):
        found, effects = fsm.advance(found, Slept(5.0), at(100 + 10 * turn))
        assert found.down_at == 103 + 10 * turn
        assert isinstance(effects[0], Note)
    assert fsm.advance(found, Slept(5.0), at(200))[0] == found
    heard = fsm.advance(found, hear(0), at(201))[0]
    assert fsm.advance(heard, Slept(5.0), at(210))[0].down_at == 213


def test_a_change_of_demotion_is_advertised_at_once() -> None:
    found, effects = fsm.advance(master(0), Reweighed(), demoted(300, now=100.5))
    assert effects == (Advertise(KEY, 1, 240),)
    assert found.advert_at == 101.5  # demoted, and yet as often as before


def test_new_times_count_from_the_last_advert() -> None:
    found = fsm.advance(backup(0), hear(0, peer="fw1"), at(101.0, preempt=Preempt.NEVER))[0]
    slower, effects = fsm.advance(found, Retimed(VhidSettings(KEY, 2, 0)), at(102.0))
    assert (slower.down_at, effects) == (107.0, ())
    faster = fsm.advance(slower, Retimed(VhidSettings(KEY, 1, 0)), at(106.0))[0]
    assert faster.down_at == 106.0
    _, effects = fsm.advance(master(0), Retimed(VhidSettings(KEY, 1, 50)), at(100.5))
    assert effects == (Advertise(KEY, 1, 50),)


@pytest.mark.parametrize(
    ("ours", "told", "stays"),
    [
        (100, Outranked("fw1", 1, 0, 9.0), False),
        (0, Outranked("fw1", 1, 50, 9.0), True),
        (50, Outranked("fw1", 1, 50, 9.0), False),
        (50, Outranked("fw3", 1, 50, 9.0), True),
    ],
)
def test_the_word_of_a_peer_that_is_not_heard(ours: int, told: Outranked, stays: bool) -> None:
    found, effects = fsm.advance(master(ours), told, at(100.5))
    assert (found.state is State.MASTER) is stays
    assert stays or found.down_at == 109.5
    assert [type(effect) for effect in effects] == ([] if stays else [Release, Changed])


def test_a_backup_waits_as_long_as_it_is_told() -> None:
    assert fsm.advance(backup(0), Outranked("fw1", 1, 0, 9.0), AROUND)[0].down_at == 109.0
    following = fsm.advance(backup(100), bye(), AROUND)[0]
    assert fsm.advance(following, Outranked("fw1", 1, 0, 9.0), AROUND)[0] == following
