"""Frames for neighbours, byte for byte, and what an answer says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.failover import frames

MAC = bytes.fromhex("00005e00012a")
OTHER = bytes.fromhex("020000000002")
VIP4, VIP6 = IPv4Address("10.99.0.100"), IPv6Address("2001:db8::10")

GARP = "ffffffffffff00005e00012a0806000108000604000100005e00012a0a63006400005e00012a0a630064"
ARP_PROBE = "ffffffffffff00005e00012a0806000108000604000100005e00012a000000000000000000000a630064"
NA_HEAD = (
    "33330000000100005e00012a86dd6000000000203aff20010db8000000000000000000000010ff0200000000000000000000000000018800"
)
NA_TAIL = "20010db8000000000000000000000010020100005e00012a"
NS_HEAD = (
    "3333ff00001000005e00012a86dd6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff0000108700"
)


def checksum_holds(frame: bytes) -> bool:
    """RFC 4443's rule, word by word, written independently: with the checksum in it the sum is all ones."""
    source_and_destination, body = frame[22:54], frame[54:]
    words = source_and_destination + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body
    total = 0
    for at in range(0, len(words), 2):
        total += words[at] << 8 | words[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def test_a_gratuitous_arp_is_a_broadcast_request_from_itself_for_itself() -> None:
    assert frames.gratuitous_arp(MAC, VIP4).hex() == GARP


def test_an_arp_probe_comes_from_nobody() -> None:
    assert frames.arp_probe(MAC, VIP4).hex() == ARP_PROBE


@pytest.mark.parametrize(("router", "flags"), [(False, "20000000"), (True, "a0000000")])
def test_an_unsolicited_advertisement_overrides_and_names_a_router(router: bool, flags: str) -> None:
    frame = frames.unsolicited_na(MAC, VIP6, router=router)
    assert frame[:56].hex() == NA_HEAD
    assert frame[58:].hex() == flags + NA_TAIL
    assert checksum_holds(frame)


def test_a_neighbour_probe_asks_the_solicited_nodes_from_nobody() -> None:
    frame = frames.neighbour_probe(MAC, VIP6)
    assert frame[:56].hex() == NS_HEAD
    assert frame[58:].hex() == "0000000020010db8000000000000000000000010"
    assert checksum_holds(frame)


@given(st.binary(min_size=6, max_size=6), st.ip_addresses(v=6), st.booleans())
def test_every_checksum_holds(mac: bytes, address: IPv6Address, router: bool) -> None:
    assert checksum_holds(frames.unsolicited_na(mac, address, router=router))
    assert checksum_holds(frames.neighbour_probe(mac, address))


def test_who_has_an_ipv4_address_says_so_as_the_sender() -> None:
    assert frames.arp_claim(frames.gratuitous_arp(OTHER, VIP4)) == (VIP4, OTHER)
    assert frames.arp_claim(frames.arp_probe(OTHER, VIP4)) is None
    reply = bytes.fromhex("00005e00012a020000000002080600010800060400020200000000020a63006400005e00012a00000000")
    assert frames.arp_claim(reply) == (VIP4, OTHER)
    assert frames.arp_claim(reply[:-1]) is None
    assert frames.arp_claim(reply[:17] + b"\x05" + reply[18:]) is None


def test_who_has_an_ipv6_address_advertises_it() -> None:
    advertisement = frames.unsolicited_na(OTHER, VIP6, router=False)
    assert frames.neighbour_claim(advertisement) == (VIP6, OTHER)
    assert frames.neighbour_claim(frames.neighbour_probe(OTHER, VIP6)) is None
    through_a_router = advertisement[:21] + b"\xfe" + advertisement[22:]
    assert frames.neighbour_claim(through_a_router) is None
    without_option = advertisement[:18] + b"\x00\x18" + advertisement[20:78]
    assert frames.neighbour_claim(without_option) == (VIP6, OTHER)


@given(st.binary(max_size=120))
def test_any_bytes_can_be_read(data: bytes) -> None:
    frames.arp_claim(data)
    frames.neighbour_claim(data)


def test_a_mac_is_written_as_people_know_it() -> None:
    assert frames.mac_text(MAC) == "00:00:5e:00:01:2a"
