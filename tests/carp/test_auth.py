from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.carp.auth import LONGEST_PASSWORD, Keyring, VipSet, digest
from syncsrv.carp.packet import Advert, checksum, decode, encode
from tests.carp.adverts import advert, vip_set

COUNTER = 0x0102030405060708
ONE = vip_set("192.168.1.1")
TWO = vip_set("192.168.1.1", "10.0.0.254")
BSD = vip_set("10.1.1.252", "2001:db8::1", "fe80::200:5eff:fe00:12a", vhid=42, password="secret")
UCARP = vip_set("10.99.0.100", vhid=51, password="secret")


class Vector(NamedTuple):
    """A packet that tcpdump -T carp and tshark read as we do, and that ucarp and the BSDs would make so."""

    vips: VipSet
    counter: int
    advbase: int
    advskew: int
    link_local: bool
    packet: str


VECTORS = {
    "one address": Vector(
        ONE, COUNTER, 1, 0, True, "210100070001eea501020304050607081d17c32464dcd7341e4df788ff184a19f7216dc5"
    ),
    "two addresses, the higher one named first": Vector(
        TWO, COUNTER, 1, 100, True, "210164070001815b0102030405060708c753f3a2e2a0c9f42330af1187de71620582b0f5"
    ),
    "both families, as FreeBSD sends": Vector(
        BSD, 1, 1, 0, True, "212a000700015d7200000000000000014ed6baca428b276e41d5bc0f6a6a94182ffce15b"
    ),
    "both families, as OpenBSD sends": Vector(
        BSD, 1, 1, 0, False, "212a000700017682000000000000000164ebc45dbf8dc071d79075c0403d1cf1337ce105"
    ),
    "farewell": Vector(
        ONE, COUNTER + 1, 255, 255, True, "2101ff0700ffc88d010203040506070970b0d9e5a9f8c1495f3d9d48de9223d4321b1f74"
    ),
    "captured from ucarp": Vector(
        UCARP,
        0xA8F1618E4FAB4C83,
        1,
        0,
        True,
        "2133000700010284a8f1618e4fab4c835adb95b6a44f1903b4882b81ff84ed02bad60045",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_a_packet_is_made_byte_for_byte(vector: Vector) -> None:
    signed = digest(vector.vips, vector.counter, link_local=vector.link_local)
    made = encode(Advert(vector.vips.vhid, vector.advskew, vector.advbase, 0, vector.counter, signed))
    assert made.hex() == vector.packet


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_and_it_is_accepted(vector: Vector) -> None:
    heard = decode(bytes.fromhex(vector.packet))
    assert (heard.advbase, heard.advskew, heard.counter) == (vector.advbase, vector.advskew, vector.counter)
    assert heard.is_farewell == (vector.advbase == 255)
    assert Keyring(vector.vips).verify(heard) == 0


def test_ucarp_adds_the_ip_header_to_the_sum_and_gets_zero_too() -> None:
    header = bytes.fromhex("45100038c07f4000ff70d04f0a630001e0000012")
    assert checksum(header + bytes.fromhex(VECTORS["captured from ucarp"].packet)) == 0


def rfc_2104(key: bytes, message: bytes) -> bytes:
    """HMAC written out, with the key padded by zeros to the 20 bytes that the BSD kernels keep."""
    block = key.ljust(20, b"\0").ljust(64, b"\0")
    inner = hashlib.sha1(bytes(one ^ 0x36 for one in block) + message).digest()
    return hashlib.sha1(bytes(one ^ 0x5C for one in block) + inner).digest()


def hashed(vips: VipSet, counter: int, link_local: bool) -> bytes:
    """What carp_hmac_prepare feeds, with its own loop: the next higher address, until there is none."""
    body = b"\x02\x01" + bytes([vips.vhid])
    for size in (4, 16):
        raw = [one.packed for one in vips.addresses if len(one.packed) == size]
        if size == 16:
            local = {one for one in raw if one[0] == 0xFE and one[1] >> 6 == 2}
            raw = [
                one[:2] + b"\0\0" + one[4:] if one in local else one for one in raw if link_local or one not in local
            ]
        last = bytes(size)
        while True:
            current = b"\xff" * size
            for one in raw:
                if last < one < current:
                    current = one
            if current == b"\xff" * size:
                break
            body += current
            last = current
    return body + counter.to_bytes(8, "big")


odd = st.sampled_from(["0.0.0.0", "255.255.255.255", "::", "ffff:" * 7 + "ffff", "fe80::1", "fe80:5::1", "febf::1"])
addresses = st.builds(IPv4Address, st.integers(0, 2**32 - 1)) | st.builds(IPv6Address, st.integers(0, 2**128 - 1))
sets = st.builds(
    VipSet,
    vhid=st.integers(1, 255),
    addresses=st.lists(addresses | odd.map(ip_address), max_size=8).map(tuple),
    password=st.binary(max_size=LONGEST_PASSWORD),
)


@given(sets, st.integers(0, 2**64 - 1), st.booleans())
def test_the_digest_is_the_kernels(vips: VipSet, counter: int, link_local: bool) -> None:
    expected = rfc_2104(vips.password, hashed(vips, counter, link_local))
    assert digest(vips, counter, link_local=link_local) == expected


@given(sets, st.data())
def test_order_and_repetition_do_not_count(vips: VipSet, data: st.DataObject) -> None:
    twice = data.draw(st.permutations(vips.addresses + vips.addresses[:2]))
    assert digest(VipSet(vips.vhid, tuple(twice), vips.password), 9) == digest(vips, 9)


@pytest.mark.parametrize("never", ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"])
def test_addresses_that_are_never_hashed(never: str) -> None:
    assert digest(vip_set("192.168.1.1", never), 9) == digest(ONE, 9)


@pytest.mark.parametrize(
    "other",
    [
        vip_set("192.168.1.2"),
        vip_set("192.168.1.1", "192.168.1.2"),
        vip_set("192.168.1.1", "fe80::1"),
        vip_set("192.168.1.1", password="mekmitasdigoaT"),
        vip_set("192.168.1.1", password="mekmitasdigoat "),
        vip_set("192.168.1.1", password=""),
        vip_set("192.168.1.1", vhid=2),
    ],
)
def test_what_all_nodes_must_have_in_common(other: VipSet) -> None:
    assert digest(other, 9) != digest(ONE, 9)


def test_skew_base_and_demotion_are_not_part_of_it_as_everywhere() -> None:
    assert Keyring(ONE).verify(advert(ONE, advbase=20, advskew=254, demotion=9)) == 0


def test_the_interface_of_a_link_local_address_is_not_hashed() -> None:
    plain = vip_set("fe80::1:2")
    assert digest(vip_set("fe80::1:2%eth0"), 9) == digest(plain, 9)
    assert digest(vip_set("fe80:7::1:2"), 9) == digest(plain, 9), "as a BSD kernel stores it"
    assert digest(vip_set("2001:7::1:2"), 9) != digest(vip_set("2001::1:2"), 9)


def signed(vips: VipSet, *, link_local: bool = True) -> Advert:
    return Advert(vips.vhid, 0, 1, 0, 5, digest(vips, 5, link_local=link_local))


def test_a_keyring_signs_with_link_local_addresses_and_accepts_without() -> None:
    keyring = Keyring(BSD)
    assert keyring.sign(5) == digest(BSD, 5, link_local=True)
    assert keyring.verify(signed(BSD)) == 0
    assert keyring.verify(signed(BSD, link_local=False)) == 0


def test_a_keyring_says_which_set_it_was() -> None:
    before, after = vip_set("192.168.1.9", "fe80::9"), vip_set("192.168.1.1", password="new")
    keyring = Keyring(ONE, (before, after))
    assert keyring.sign(5) == digest(ONE, 5)
    assert [keyring.verify(signed(one)) for one in (ONE, before, after, TWO)] == [0, 1, 2, None]
    assert keyring.verify(signed(before, link_local=False)) == 1
    assert Keyring(ONE).verify(signed(after)) is None


def test_a_digest_counts_for_its_own_counter_only() -> None:
    heard = signed(ONE)
    assert Keyring(ONE).verify(Advert(1, 0, 1, 0, 6, heard.digest)) is None


def test_the_sets_of_a_keyring_are_of_one_vhid() -> None:
    with pytest.raises(ValueError, match="cannot accept another vhid's addresses for vhid 1"):
        Keyring(ONE, (BSD,))


def test_a_password_that_the_others_would_cut_or_refuse() -> None:
    assert VipSet(1, (), b"x" * 19).password == b"x" * 19
    with pytest.raises(ValueError, match="it has 20 bytes, and CARP takes 19 at most"):
        VipSet(1, (), b"x" * 20)


@pytest.mark.parametrize("vhid", [0, 256])
def test_no_vhid(vhid: int) -> None:
    with pytest.raises(ValueError, match=f"cannot use the vhid {vhid}"):
        VipSet(vhid, (), b"")


def test_a_password_is_not_shown() -> None:
    assert repr(TWO) == "VipSet(vhid=1, addresses=192.168.1.1, 10.0.0.254)"
