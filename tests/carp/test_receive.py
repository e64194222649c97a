from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from syncsrv.carp.auth import Keyring
from syncsrv.carp.packet import Drop, checksum, encode
from syncsrv.carp.receive import SENT_KEPT, SPEAKERS_KEPT, Accepted, Context, Frame, Group, Memory, Speaker, judge
from tests.carp.adverts import (
    CLOUD,
    FW1,
    FW2,
    FW2_V6,
    LAN,
    OLD,
    PATIENCE_S,
    STRANGER,
    Device,
    advert,
    packet,
    vip_set,
)


@pytest.fixture
def device() -> Device:
    return Device()


def test_an_advert_is_accepted_with_all_that_is_known_of_its_sender(device: Device) -> None:
    assert device.hear(packet(LAN, 7)) == Accepted(advert(LAN, 7), STRANGER, None, 0)
    assert device.hear(packet(LAN, 7), FW2) == Accepted(advert(LAN, 7), FW2, "fw2", 0)
    assert device.hear(packet(OLD, 8), FW2) == Accepted(advert(OLD, 8), FW2, "fw2", 1)


def test_openbsd_sends_without_link_local_addresses() -> None:
    vips = vip_set("192.0.2.10", "fe80::10")
    sender = Keyring(vip_set("192.0.2.10"))
    heard = dataclasses.replace(advert(vips), digest=sender.sign(7))
    context = Context(frozenset(), {1: Group(Keyring(vips), PATIENCE_S)}, {})
    outcome = judge(Frame(encode(heard), STRANGER, 255), context=context, memory=Memory(), now=0.0)
    assert isinstance(outcome, Accepted)


def test_a_vhid_without_ipv4_addresses_is_heard_over_ipv4() -> None:
    vips = vip_set("2001:db8::10")
    context = Context(frozenset(), {1: Group(Keyring(vips), PATIENCE_S)}, {})
    outcome = judge(Frame(packet(vips), STRANGER, 255), context=context, memory=Memory(), now=0.0)
    assert isinstance(outcome, Accepted)


def test_the_neighbour_is_the_same_whatever_interface_its_address_names(device: Device) -> None:
    outcome = device.hear(packet(), ip_address("fe80::2%eth0"))
    assert outcome == Accepted(advert(), FW2_V6, "fw2", 0)
    assert device.hear(packet(), ip_address("fe80::1%eth0")) is Drop.OWN


# Each reason, in the order of the checks: a change that makes it, to a packet that would be accepted.


def refit(data: bytes) -> bytes:
    bare = data[:6] + b"\0\0" + data[8:]
    return bare[:6] + checksum(bare).to_bytes(2, "big") + bare[8:]


FAULTS: dict[Drop, Callable[[Frame], Frame]] = {
    Drop.OWN: lambda frame: dataclasses.replace(frame, source=FW1),
    Drop.VRRP: lambda frame: dataclasses.replace(frame, data=b"\x31" + frame.data[1:]),
    Drop.BADLEN: lambda frame: dataclasses.replace(frame, data=frame.data + b"\0"),
    Drop.BADVER: lambda frame: dataclasses.replace(frame, data=refit(b"\x11" + frame.data[1:])),
    Drop.BADTYPE: lambda frame: dataclasses.replace(frame, data=refit(b"\x22" + frame.data[1:])),
    Drop.BADSUM: lambda frame: dataclasses.replace(frame, data=frame.data[:6] + b"\0\0" + frame.data[8:]),
    Drop.BADVHID: lambda frame: dataclasses.replace(frame, data=refit(frame.data[:1] + b"\x09" + frame.data[2:])),
    Drop.BADTTL: lambda frame: dataclasses.replace(frame, ttl=254),
    Drop.BADAUTH: lambda frame: dataclasses.replace(frame, data=refit(frame.data[:-1] + bytes([frame.data[-1] ^ 1]))),
}
LATER = (Drop.BADSOURCE, Drop.LOOPED, Drop.REPLAY)


@pytest.mark.parametrize("drop", FAULTS)
def test_a_fault_has_its_own_reason(device: Device, drop: Drop) -> None:
    good = Frame(packet(), STRANGER, 255)
    bad = FAULTS[drop](good)
    assert judge(bad, context=device.context, memory=device.memory, now=1.0) is drop
    assert device.memory.counters.drops[drop] == 1
    assert isinstance(judge(good, context=device.context, memory=device.memory, now=1.0), Accepted)
    assert (device.memory.counters.received, device.memory.counters.accepted) == (2, 1)


def test_every_reason_has_a_test_here() -> None:
    assert set(FAULTS) | set(LATER) == set(Drop)


PAIRS = [(first, second) for first in FAULTS for second in FAULTS if list(Drop).index(first) < list(Drop).index(second)]
EXCLUSIVE = {
    (Drop.VRRP, Drop.BADVER): "both are in the first byte",
    (Drop.VRRP, Drop.BADTYPE): "both are in the first byte",
    (Drop.BADVER, Drop.BADTYPE): "both are in the first byte",
}


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if pair not in EXCLUSIVE])
def test_of_two_faults_the_first_check_speaks(device: Device, first: Drop, second: Drop) -> None:
    frame = FAULTS[second](Frame(packet(), STRANGER, 255))
    if first not in {Drop.BADSUM, Drop.BADLEN} and second is Drop.BADSUM:
        frame = FAULTS[second](FAULTS[first](Frame(packet(), STRANGER, 255)))
    else:
        frame = FAULTS[first](frame)
    assert judge(frame, context=device.context, memory=device.memory, now=1.0) is first


@pytest.mark.parametrize("ttl", [None, 0, 1, 64, 254, 256])
def test_multicast_comes_from_this_segment_only(device: Device, ttl: int | None) -> None:
    assert device.hear(packet(LAN), FW2, ttl) is Drop.BADTTL
    assert isinstance(device.hear(packet(LAN), FW2, 255), Accepted)


@pytest.mark.parametrize("ttl", [None, 1, 64, 255])
def test_unicast_comes_from_its_nodes_over_routers_too(device: Device, ttl: int | None) -> None:
    assert isinstance(device.hear(packet(CLOUD), FW2, ttl), Accepted)
    assert device.hear(packet(CLOUD, 8), STRANGER, ttl) is Drop.BADSOURCE


def test_a_stranger_at_a_unicast_vhid_is_not_even_authenticated(device: Device) -> None:
    assert device.hear(packet(vip_set(vhid=2)), STRANGER) is Drop.BADSOURCE
    assert device.hear(packet(vip_set(vhid=2)), FW2) is Drop.BADAUTH
    assert set(device.memory.refused.since(0.0)) == {(2, FW2)}


# Our own packets


def test_what_we_sent_is_no_peer_whatever_source_the_network_gives_it(device: Device) -> None:
    device.memory.note_sent(1, 7)
    assert device.hear(packet(LAN, 7)) is Drop.LOOPED
    assert device.hear(packet(LAN, 7), FW2) is Drop.LOOPED
    assert isinstance(device.hear(packet(LAN, 8)), Accepted)


def test_a_counter_of_another_vhid_of_ours_is_none_of_this_one(device: Device) -> None:
    device.memory.note_sent(2, 7)
    assert isinstance(device.hear(packet(LAN, 7)), Accepted)


def test_nobody_without_the_password_makes_a_loop_count(device: Device) -> None:
    device.memory.note_sent(1, 7)
    assert device.hear(packet(vip_set("192.0.2.99"), 7)) is Drop.BADAUTH


def test_so_many_counters_of_ours_are_known_again(device: Device) -> None:
    for counter in range(SENT_KEPT + 1):
        device.memory.note_sent(1, counter)
    assert isinstance(device.hear(packet(LAN, 0)), Accepted)
    assert device.hear(packet(LAN, 1)) is Drop.LOOPED


# Replay


def test_an_own_peers_counter_only_rises(device: Device) -> None:
    assert isinstance(device.hear(packet(LAN, 7), FW2, now=1.0), Accepted)
    assert device.hear(packet(LAN, 7), FW2, now=1.1) is Drop.REPLAY
    assert device.hear(packet(LAN, 6), FW2, now=1.1) is Drop.REPLAY
    assert isinstance(device.hear(packet(LAN, 8), FW2, now=1.2), Accepted)


@pytest.mark.parametrize("counters", [[2**64 - 1, 0, 5], [9, 9, 9, 9], [3, 2, 1]], ids=["random", "cookie", "falling"])
def test_others_counters_jump_or_stand_still(device: Device, counters: list[int]) -> None:
    for counter in counters:
        assert isinstance(device.hear(packet(LAN, counter), STRANGER), Accepted)


def test_an_own_peer_that_was_silent_may_begin_lower(device: Device) -> None:
    device.hear(packet(LAN, 7), FW2, now=1.0)
    assert device.hear(packet(LAN, 1), FW2, now=1.0 + PATIENCE_S) is Drop.REPLAY
    assert isinstance(device.hear(packet(LAN, 1), FW2, now=1.01 + PATIENCE_S), Accepted)
    assert device.hear(packet(LAN, 1), FW2, now=1.02 + PATIENCE_S) is Drop.REPLAY


def test_replays_do_not_make_the_silence_of_a_peer_shorter(device: Device) -> None:
    device.hear(packet(LAN, 7), FW2, now=1.0)
    device.hear(packet(LAN, 7), FW2, now=4.0)
    assert isinstance(device.hear(packet(LAN, 1), FW2, now=4.3), Accepted)


def test_each_source_and_vhid_has_its_own_counter(device: Device) -> None:
    device.hear(packet(LAN, 7), FW2)
    assert isinstance(device.hear(packet(LAN, 7), FW2_V6), Accepted)
    assert isinstance(device.hear(packet(CLOUD, 7), FW2), Accepted)
    assert device.hear(packet(CLOUD, 7), FW2) is Drop.REPLAY


def test_what_is_not_genuine_moves_no_counter(device: Device) -> None:
    device.hear(packet(vip_set("192.0.2.99"), 1000), FW2)
    device.hear(packet(LAN, 1000), FW2, ttl=64)
    assert isinstance(device.hear(packet(LAN, 7), FW2), Accepted)


# What is remembered for people


def test_who_has_another_password_or_other_addresses_is_known_until_it_has_ours(device: Device) -> None:
    for now in (1.0, 2.0):
        device.hear(packet(vip_set("192.0.2.99")), FW2, now=now)
    assert device.memory.refused.since(0.0) == {(1, FW2): Speaker(1.0, 2.0, 2)}
    assert device.memory.refused.since(2.1) == {}
    device.hear(packet(LAN), FW2, now=3.0)
    assert device.memory.refused.since(0.0) == {}


def test_vrrp_and_other_groups_are_known_by_their_ids(device: Device) -> None:
    device.hear(bytes.fromhex("210164010001ba52c00002090000000000000000"), STRANGER, now=1.0)
    device.hear(bytes.fromhex("31090000"), STRANGER)
    device.hear(bytes.fromhex("3109640100640000c0000209"), FW2, now=2.0)
    device.hear(packet(vip_set(vhid=77)), STRANGER, now=3.0)
    assert set(device.memory.vrrp.since(0.0)) == {(1, STRANGER), (9, FW2)}
    assert device.memory.foreign.since(0.0) == {(77, STRANGER): Speaker(3.0, 3.0, 1)}


def test_forged_sources_take_no_more_memory_than_this(device: Device) -> None:
    wrong = packet(vip_set("192.0.2.99"))
    device.hear(wrong, FW2, now=1.0)
    device.hear(wrong, STRANGER, now=2.0)
    device.hear(wrong, FW2, now=3.0)
    for number in range(SPEAKERS_KEPT - 1):
        device.hear(wrong, ip_address(0x0A000000 + number), now=4.0)
    known = device.memory.refused.since(0.0)
    assert len(known) == SPEAKERS_KEPT
    assert (1, FW2) in known, "it spoke later than the stranger, who had to go"
    assert (1, STRANGER) not in known


def test_a_vhid_that_is_gone_leaves_nothing(device: Device) -> None:
    device.memory.note_sent(1, 7)
    device.hear(packet(LAN, 9), FW2)
    device.hear(packet(vip_set("192.0.2.99")), STRANGER)
    device.hear(packet(vip_set(vhid=2)), FW2)
    device.memory.forget(1)
    assert set(device.memory.refused.since(0.0)) == {(2, FW2)}
    assert device.memory.of(1).received == 0
    assert isinstance(device.hear(packet(LAN, 7), FW2), Accepted)
    assert device.memory.counters.received == 4, "the device still counts"
