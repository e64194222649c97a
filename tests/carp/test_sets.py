"""A change of addresses or password: no order of events makes a node send what a peer that it can reach would drop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from syncsrv.carp import sets as pure
from syncsrv.carp.auth import VipSet
from syncsrv.carp.sets import GRACE_S, KEYS_MOST, RETIRED_MOST, Declared, Moment, Own, Retired, Sets

LAN = "1@lan"
BEGAN = datetime(2026, 11, 23, tzinfo=UTC)


def vips(*addresses: str, password: str = "secret", vhid: int = 1) -> VipSet:
    return pure.vip_set(vhid, addresses, password.encode())


S0, S1, S2 = vips("192.0.2.10"), vips("192.0.2.10", "192.0.2.11"), vips("192.0.2.10", password="other")
UNIVERSE = (S0, S1, S2, vips("192.0.2.12"))


def at(booted_s: float = 1000.0, boot: str = "one") -> Moment:
    return Moment(boot, booted_s, BEGAN + timedelta(seconds=booted_s))


def fresh(wanted: VipSet = S0, salt: bytes = b"salt") -> Sets:
    return pure.configured(Sets(salt), {LAN: wanted}, at())


def said(sets: Sets) -> tuple[str, Declared]:
    return pure.digest(sets), pure.declaration(sets)


# -- one change, step by step


def test_a_new_set_waits_while_a_peer_has_not_accepted_it() -> None:
    one = pure.configured(fresh(), {LAN: S1}, at(1001))
    assert one.own[LAN].wire == S0
    assert one.own[LAN].since == at(1001).utc
    assert pure.accepted(one, LAN) == (S1,)
    assert pure.pending(one) == (LAN,)
    assert pure.unaware(one, ["fw3", "fw2"], {"fw2": pure.digest(one), "fw3": "older"}) == ("fw3",)


def test_once_it_is_on_the_wire_the_old_one_is_accepted_ten_minutes_more_and_nobody_is_asked_again() -> None:
    waiting = pure.configured(fresh(), {LAN: S1}, at())
    done = pure.committed(waiting, at(2000))
    assert done.own[LAN].wire == S1
    assert done.own[LAN].since is None
    assert pure.digest(done) == pure.digest(waiting)
    assert pure.accepted(done, LAN) == (S0,)
    assert pure.aged(done, (), at(2000 + GRACE_S - 1)) is done
    assert pure.accepted(pure.aged(done, (), at(2000 + GRACE_S)), LAN) == ()
    assert pure.committed(done, at(2001)) is done


def test_after_another_boot_the_ten_minutes_count_anew_whatever_the_date() -> None:
    done = pure.committed(pure.configured(fresh(), {LAN: S1}, at()), at(2000))
    late = replace(at(GRACE_S - 1, "two"), utc=BEGAN + timedelta(days=3650))
    assert pure.aged(done, (), late) is done
    assert not pure.aged(done, (), at(GRACE_S, "two")).own[LAN].retired


def test_what_a_peer_on_the_segment_drops_is_taken_off_the_wire_and_waits_again() -> None:
    done = pure.committed(pure.configured(fresh(), {LAN: S1}, at()), at())
    again = pure.retreated(done, {LAN: "fw2"}, at(1500))
    assert (again.own[LAN].wire, again.own[LAN].configured, again.own[LAN].since) == (S0, S1, at(1500).utc)
    assert pure.digest(again) == pure.digest(done)
    assert pure.accepted(again, LAN) == (S1,)
    assert pure.retreated(again, {LAN: "fw2"}, at()) is again
    assert pure.retreated(fresh(), {LAN: "fw2", "9@dmz": "fw2"}, at()) == fresh()
    twice = pure.committed(pure.configured(done, {LAN: S2}, at()), at())
    assert pure.retreated(twice, {LAN: "fw2"}, at()).own[LAN].wire == S1
    known = pure.received(twice, "fw2", *said(fresh(salt=b"other")), at())
    assert pure.retreated(known, {LAN: "fw2"}, at()).own[LAN].wire == S0, "which fw2 uses itself"
    late = pure.aged(known, ["fw2"], at(5000))
    assert not late.own[LAN].retired
    assert pure.retreated(late, {LAN: "fw2"}, at()).own[LAN].wire == S0, "an hour later too"


def test_a_change_that_is_taken_back_changes_nothing_on_the_wire() -> None:
    back = pure.configured(pure.configured(fresh(), {LAN: S1}, at()), {LAN: S0}, at())
    assert not back.own[LAN].pending
    assert back.own[LAN].since is None
    assert pure.committed(back, at()) is back
    assert pure.accepted(back, LAN) == (S1,)  # a peer was told that it may come
    spoken = pure.received(back, "fw2", *said(fresh(salt=b"fw2")), at())
    assert pure.retreated(spoken, {LAN: "fw2"}, at()) is spoken, "fw2 uses what is on the wire, and knows no other"


def test_the_order_of_addresses_and_how_they_are_written_make_no_other_set() -> None:
    assert pure.vip_set(1, ["2001:db8::0:1", "192.0.2.10", "192.0.2.10"], b"") == vips(
        "192.0.2.10", "2001:DB8::1", password=""
    )


def test_a_password_that_is_too_long_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="19 at most") as caught:
        vips("192.0.2.10", password="correct horse battery")
    assert "horse" not in str(caught.value)


# -- peers


def test_what_a_peer_declares_is_accepted_for_as_long_as_it_says_so() -> None:
    one = pure.received(fresh(), "fw2", *said(fresh(S2, b"other")), at())
    for days in (1, 30):
        one = pure.aged(one, ["fw2"], at(days * 86400))
        assert pure.accepted(one, LAN) == (S2,)
    assert pure.received(one, "fw2", *said(fresh(S2, b"other")), at()) is one
    assert pure.accepted(pure.aged(one, ["fw3"], at()), LAN) == ()


def test_what_a_peer_declares_no_more_is_accepted_ten_minutes() -> None:
    one = pure.received(fresh(), "fw2", "a", {LAN: (S1, S2)}, at())
    one = pure.received(one, "fw2", "b", {LAN: (S1,)}, at(2000))
    assert pure.accepted(one, LAN) == (S1, S2)
    assert pure.accepted(pure.aged(one, ["fw2"], at(2000 + GRACE_S)), LAN) == (S1,)
    gone = pure.received(one, "fw2", "c", {}, at(2001))
    assert set(pure.accepted(gone, LAN)) == {S1, S2}


def test_a_peer_that_declares_others_each_time_is_not_remembered_without_end() -> None:
    one = pure.received(fresh(), "fw2", "a", {LAN: (S1, S2)}, at())
    for turn in range(5):
        odd = {f"{number % 255 + 1}@net{turn}": (vips(f"192.0.2.{number}"),) for number in range(KEYS_MOST)}
        one = pure.received(one, "fw2", str(turn), odd, at())
        assert set(pure.accepted(one, LAN)) == {S1, S2}
    assert len(one.peers["fw2"].retired) <= KEYS_MOST


def test_a_declaration_of_another_vhid_or_interface_is_of_no_use_here() -> None:
    odd = {LAN: (vips("192.0.2.9", vhid=2),), "1@wan": (S2,)}
    assert pure.accepted(pure.received(fresh(), "fw2", "a", odd, at()), LAN) == ()


def test_a_vip_that_is_new_here_begins_with_what_the_peers_have_on_the_wire() -> None:
    empty = pure.received(Sets(b"salt"), "fw2", "a", {LAN: (S1, S2)}, at())
    assert pure.configured(empty, {LAN: S2}, at()).own[LAN] == Own(S2, S2)
    joined = pure.configured(empty, {LAN: S0}, at()).own[LAN]
    assert (joined.wire, joined.configured, joined.since) == (S1, S0, at().utc)


def test_many_changes_within_minutes_leave_few_sets_and_the_newest() -> None:
    one = fresh(vips("192.0.2.100"))
    for number in range(101, 120):
        one = pure.committed(pure.configured(one, {LAN: vips(f"192.0.2.{number}")}, at()), at())
    assert len(one.own[LAN].retired) == RETIRED_MOST
    assert one.own[LAN].retired[0].vips == vips("192.0.2.118")


def test_digests_differ_between_nodes_so_that_they_tell_nothing_of_passwords() -> None:
    assert pure.digest(fresh(salt=b"one")) != pure.digest(fresh(salt=b"two"))
    assert pure.digest(fresh(S0)) != pure.digest(fresh(S2))


def test_nothing_shows_a_password() -> None:
    done = pure.committed(pure.configured(fresh(), {LAN: S2}, at()), at())
    for shown in (repr(done), repr(Retired(S0, at())), repr(pure.received(done, "fw2", *said(done), at()))):
        assert "secret" not in shown
        assert "other" not in shown
        assert "salt" not in shown


# -- every order of events

NAMES = ("a", "b", "c")
HELD_S = 10.0
"""A call that took longer is given up, and a peer that can be reached is asked more often."""


class Change(RuleBasedStateMachine):
    """Three nodes whose configuration changes in any order; declarations and answers come late, twice, or never.

    ``excused``: (sender, receiver) where the sender did not wait, as the receiver was away or somebody ordered it, or
    as it is new and was told nothing yet, or one of them has lost its file; until the receiver has the sender's
    declaration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.boots = dict.fromkeys(NAMES, 0)
        self.salts = 0
        self.sets: dict[str, Sets] = {name: fresh(salt=name.encode()) for name in NAMES}
        self.acks: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        self.declared: list[tuple[str, str, str, Declared]] = []
        self.answers: list[tuple[str, str, str]] = []
        self.excused = {(one, other) for one in NAMES for other in NAMES if one != other}

    def at(self, name: str) -> Moment:
        boot = self.boots[name]
        return Moment(f"{name}{boot}", self.now - boot, BEGAN + timedelta(seconds=self.now))

    @rule(name=st.sampled_from(NAMES), wanted=st.sampled_from([None, *UNIVERSE]))
    def configure(self, name: str, wanted: VipSet | None) -> None:
        asked: Mapping[str, VipSet] = {} if wanted is None else {LAN: wanted}
        before = self.sets[name]
        self.sets[name] = pure.configured(before, asked, self.at(name))
        if LAN in asked and LAN not in before.own:  # it can join those only whose set it was told
            told = {other for other, word in before.peers.items() if word.declared.get(LAN)}
            self.excused |= {(name, other) for other in NAMES if other not in (name, *told)}

    @rule(name=st.sampled_from(NAMES), to=st.sampled_from(NAMES))
    def declare(self, name: str, to: str) -> None:
        if name != to:
            self.declared.append((name, to, *said(self.sets[name])))

    @rule(data=st.data(), again=st.booleans())
    def arrive(self, data: st.DataObject, again: bool) -> None:
        if self.declared:
            number = data.draw(st.integers(0, len(self.declared) - 1))
            name, to, digest, declared = self.declared[number] if again else self.declared.pop(number)
            self.take(name, to, digest, declared)
            self.answers.append((to, name, digest))

    def take(self, name: str, to: str, digest: str, declared: Declared) -> None:
        self.sets[to] = pure.received(self.sets[to], name, digest, declared, self.at(to))
        if digest == pure.digest(self.sets[name]):
            self.excused.discard((name, to))

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if self.answers:
            name, to, digest = self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1)))
            self.acks[to][name] = digest

    @rule(name=st.sampled_from(NAMES), of=st.sampled_from(NAMES))
    def facts(self, name: str, of: str) -> None:
        word = self.sets[of].peers.get(name)
        if name != of:
            self.acks[name][of] = word.digest if word else ""

    @rule(name=st.sampled_from(NAMES))
    def commit(self, name: str) -> None:
        peers = [other for other in NAMES if other != name]
        if not pure.unaware(self.sets[name], peers, self.acks[name]):
            self.sets[name] = pure.committed(self.sets[name], self.at(name))

    @rule(name=st.sampled_from(NAMES))
    def commit_without_waiting(self, name: str) -> None:
        peers = [other for other in NAMES if other != name]
        if pure.pending(self.sets[name]):
            self.excused |= {(name, other) for other in pure.unaware(self.sets[name], peers, self.acks[name])}
            self.sets[name] = pure.committed(self.sets[name], self.at(name))

    @rule(name=st.sampled_from(NAMES), beside=st.sampled_from(NAMES))
    def retreat(self, name: str, beside: str) -> None:
        if beside != name and beside in pure.unaware(self.sets[name], NAMES, self.acks[name]):
            before = pure.declaration(self.sets[name]).get(LAN, ())
            self.sets[name] = pure.retreated(self.sets[name], {LAN: beside}, self.at(name))
            own = self.sets[name].own.get(LAN)
            if own is not None and own.wire not in before:  # two understand each other again; a third one is told next
                self.excused |= {(name, other) for other in NAMES if other not in (name, beside)}

    @rule(name=st.sampled_from(NAMES))
    def restart(self, name: str) -> None:
        self.acks[name] = {}

    @rule(name=st.sampled_from(NAMES))
    def boot(self, name: str) -> None:
        self.acks[name] = {}
        self.boots[name] = int(self.now)

    @rule(name=st.sampled_from(NAMES))
    def lose_the_file(self, name: str) -> None:
        wanted = {key: own.configured for key, own in self.sets[name].own.items()}
        self.salts += 1
        self.sets[name] = pure.configured(Sets(b"%d" % self.salts), wanted, self.at(name))
        self.acks[name] = {}
        self.excused |= {pair for pair in ((x, y) for x in NAMES for y in NAMES if x != y) if name in pair}

    @rule(seconds=st.floats(0.1, HELD_S))
    def wait(self, seconds: float) -> None:
        self.pass_by(seconds)

    @rule(seconds=st.sampled_from([60.0, GRACE_S / 2, GRACE_S + 1, 86400.0]))
    def wait_long(self, seconds: float) -> None:
        """Every poll of that time finds who has not the present declaration, before and after."""
        self.declared, self.answers = [], []
        for began in (0.0, seconds):
            self.pass_by(began)
            for name in NAMES:
                for other in NAMES:
                    if other != name:
                        self.take(name, other, *said(self.sets[name]))
                        self.acks[name][other] = pure.digest(self.sets[name])

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for name in NAMES:
            self.sets[name] = pure.aged(self.sets[name], NAMES, self.at(name))

    @invariant()
    def who_can_be_reached_accepts_what_is_sent(self) -> None:
        for name in NAMES:
            for other in NAMES:
                if name == other or (name, other) in self.excused:
                    continue
                sender, receiver = self.sets[name].own.get(LAN), self.sets[other].own.get(LAN)
                if sender is not None and receiver is not None:
                    taken = (receiver.wire, *pure.accepted(self.sets[other], LAN))
                    assert sender.wire in taken, f"{other} drops what {name} sends"


TestEveryOrder = Change.TestCase
TestEveryOrder.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
