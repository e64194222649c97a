from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsrv.carp.packet import LENGTH, Advert, BadPacketError, Drop, checksum, decode, encode, vrrp_id

adverts = st.builds(
    Advert,
    vhid=st.integers(1, 255),
    advskew=st.integers(0, 255),
    advbase=st.integers(0, 255),
    demotion=st.integers(0, 255),
    counter=st.integers(0, 2**64 - 1),
    digest=st.binary(min_size=20, max_size=20),
)
ONE = Advert(vhid=42, advskew=100, advbase=3, demotion=5, counter=0x0102030405060708, digest=bytes(range(20)))


def fixed(data: bytes) -> bytes:
    """With a checksum that is right for what it says."""
    bare = data[:6] + b"\0\0" + data[8:]
    return bare[:6] + checksum(bare).to_bytes(2, "big") + bare[8:]


def drop_of(data: bytes) -> Drop | None:
    try:
        decode(data)
    except BadPacketError as error:
        return error.drop
    return None


def test_each_field_stands_where_ip_carp_h_has_it() -> None:
    data = encode(ONE)
    assert len(data) == LENGTH == 36
    assert data[:6] == bytes([0x21, 42, 100, 7, 5, 3])
    assert data[8:16] == bytes([1, 2, 3, 4, 5, 6, 7, 8])
    assert data[16:] == bytes(range(20))


@given(adverts)
def test_what_was_encoded_is_decoded(advert: Advert) -> None:
    assert decode(encode(advert)) == advert


@given(st.binary(max_size=80) | st.binary(max_size=35).map(lambda rest: b"\x21" + rest))
def test_any_bytes_are_an_advert_or_a_bad_packet(data: bytes) -> None:
    assert drop_of(data) in {None, Drop.VRRP, Drop.BADLEN, Drop.BADVER, Drop.BADTYPE, Drop.BADSUM}


def plain_checksum(data: bytes) -> int:
    """RFC 1071, word by word with the carry brought round at once."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@given(st.binary(max_size=120) | st.binary(min_size=36, max_size=36))
@example(b"\xff" * 36)
@example(b"\xff" * 32 + b"\0\x0f\0\0")  # the carry has a carry
def test_the_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    assert checksum(data) == plain_checksum(data)


@given(adverts, st.integers(0, LENGTH * 8 - 1))
def test_a_flipped_bit_is_seen(advert: Advert, bit: int) -> None:
    data = bytearray(encode(advert))
    data[bit // 8] ^= 1 << bit % 8
    assert drop_of(bytes(data)) is not None


@pytest.mark.parametrize("digest_bytes", [0, 19, 21])
def test_a_digest_of_another_length_is_not_padded_or_cut(digest_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"its digest has {digest_bytes} bytes, not 20"):
        encode(dataclasses.replace(ONE, digest=bytes(digest_bytes)))


@pytest.mark.parametrize(
    "changes", [{"vhid": 0}, {"vhid": 256}, {"advskew": 256}, {"advbase": -1}, {"demotion": 256}, {"counter": 1 << 64}]
)
def test_what_does_not_fit_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot encode an advert"):
        encode(dataclasses.replace(ONE, **changes))  # type: ignore[arg-type]  # all of these fields are numbers


def test_only_255_and_255_is_a_farewell() -> None:
    assert dataclasses.replace(ONE, advbase=255, advskew=255).is_farewell
    assert not dataclasses.replace(ONE, advbase=255, advskew=254).is_farewell
    assert not dataclasses.replace(ONE, advbase=1, advskew=255).is_farewell


@pytest.mark.parametrize("length", [0, 1, 7, 8, 35, 37, 72])
def test_another_length_is_no_advert(length: int) -> None:
    assert drop_of((encode(ONE) * 2)[:length]) is Drop.BADLEN


@pytest.mark.parametrize(
    ("first", "drop"),
    [(0x11, Drop.BADVER), (0x01, Drop.BADVER), (0xF1, Drop.BADVER), (0x22, Drop.BADTYPE), (0x20, Drop.BADTYPE)],
)
def test_another_version_or_type_is_no_advert(first: int, drop: Drop) -> None:
    assert drop_of(fixed(bytes([first]) + encode(ONE)[1:])) is drop


def test_a_wrong_checksum_is_no_advert() -> None:
    data = encode(ONE)
    assert drop_of(data[:6] + b"\0\0" + data[8:]) is Drop.BADSUM
    assert drop_of(fixed(data)) is None


@pytest.mark.parametrize("authlen", [0, 4, 6, 8, 255])
def test_authlen_is_not_looked_at_as_no_receiver_does(authlen: int) -> None:
    data = encode(ONE)
    assert decode(fixed(data[:3] + bytes([authlen]) + data[4:])) == ONE


def vrrp2(vrid: int, addresses: int, *, authentication: bool = True) -> bytes:
    header = bytes([0x21, vrid, 100, addresses, 0, 1, 0, 0])
    return fixed(header + bytes(4 * addresses) + bytes(8 if authentication else 0))


@pytest.mark.parametrize("addresses", [1, 2, 4, 5, 6, 7, 20])
def test_vrrp_version_2_is_told_from_carp_by_its_length(addresses: int) -> None:
    assert vrrp_id(vrrp2(51, addresses)) == 51
    assert drop_of(vrrp2(51, addresses)) is Drop.VRRP


def test_vrrp_version_2_without_its_authentication_too() -> None:
    assert vrrp_id(vrrp2(51, 1, authentication=False)) == 51
    assert vrrp_id(vrrp2(51, 7, authentication=False)) is None, "7 are 36 bytes: as good as CARP"


def test_vrrp_version_3_whatever_its_length_and_checksum() -> None:
    assert vrrp_id(bytes.fromhex("31096401 00640000 c0000209")) == 9
    assert drop_of(b"\x31" + encode(ONE)[1:]) is Drop.VRRP
    assert drop_of(b"\x31\x09") is Drop.BADLEN
    assert drop_of(b"\x32" + encode(ONE)[1:]) is Drop.BADVER


@given(adverts)
def test_no_advert_is_taken_for_vrrp(advert: Advert) -> None:
    assert vrrp_id(encode(advert)) is None
