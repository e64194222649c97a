"""The 36 bytes of a CARP advert, and how to tell them from VRRP, which shares protocol 112 and the multicast groups.

Layout, as in ``struct carp_header`` of ip_carp.h; every number is big endian:

    offset  length  field
         0       1  version (2) in the high four bits, type (1: advert) in the low ones
         1       1  vhid, 1 to 255
         2       1  advskew
         3       1  length of counter and digest in words of 32 bits: 7
         4       1  OpenBSD: the demotion counter; zero from FreeBSD and ucarp
         5       1  advbase, seconds
         6       2  checksum of these 36 bytes
         8       8  counter
        16      20  digest (syncsrv/carp/auth.py)

The digest covers neither advskew, advbase nor the demotion: who is on the segment can send an advert that was captured
again, with other values there. What can be done about that without a protocol of our own is in receive.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

VERSION: Final = 2
TYPE_ADVERT: Final = 1
LENGTH: Final = 36
DIGEST_LENGTH: Final = 20
AUTHLEN: Final = 7
FAREWELL: Final = 255
"""advbase and advskew of the last advert of a MASTER that leaves: "no advert will follow for 256 seconds"."""

PROTOCOL: Final = 112
"""Of IP; RFC 5798 gave it to VRRP, and CARP uses it too."""
GROUP_V4: Final = "224.0.0.18"
GROUP_V6: Final = "ff02::12"
TTL: Final = 255
"""What a packet of this network segment has, and no routed one can have."""

_HEADER: Final = struct.Struct("!BBBBBBHQ20s")
_WORDS: Final = struct.Struct("!18H")
_VERSION_AND_TYPE: Final = VERSION << 4 | TYPE_ADVERT
_VRRP_HEADER: Final = 8
_VRRP_AUTHENTICATION: Final = 8


class Drop(StrEnum):
    """Why a packet was dropped. Where ``struct carpstats`` of ip_carp.h counts the same, this is its name there.

    They stand in the order in which receive.judge looks for them.
    """

    OWN = "own"
    """It comes from an address of this very device."""
    VRRP = "vrrp"
    """A VRRP router speaks: its ids are of one space with ours, and so is the MAC made of them."""
    BADLEN = "badlen"
    """It has not 36 bytes."""
    BADVER = "badver"
    """CARP, but not version 2."""
    BADTYPE = "badtype"
    """Version 2, but no advert; nothing that speaks CARP is known to send such."""
    BADSUM = "badsum"
    """The checksum is wrong."""
    BADVHID = "badvhid"
    """No such vhid on this device."""
    BADTTL = "badttl"
    """It was not sent on this segment."""
    BADSOURCE = "badsource"
    """A unicast vhid, and the sender is not one of its nodes."""
    BADAUTH = "badauth"
    """The sender has another password or another set of addresses for this vhid."""
    LOOPED = "looped"
    """We sent it: the network gave it back with another source."""
    REPLAY = "replay"
    """One of our own nodes sent it, but earlier: it sent higher counters since."""


class BadPacketError(ValueError):
    """These bytes are no CARP advert.

    Args:
        drop: VRRP, BADLEN, BADVER, BADTYPE or BADSUM.
    """

    def __init__(self, drop: Drop) -> None:
        super().__init__(f"cannot read the packet as a CARP advert: {drop}")
        self.drop = drop


@dataclass(frozen=True, slots=True)
class Advert:
    """What one advert says.

    Attributes:
        vhid: 1 to 255.
        advskew: 0 to 254 in 1/256 s, what a demoted node adds included; 255 in a farewell.
        advbase: seconds, 0 to 254; 255 in a farewell.
        demotion: OpenBSD's own counter, 0 to 255; the others leave it 0.
        counter: 64 bits.
        digest: 20 bytes.
    """

    vhid: int
    advskew: int
    advbase: int
    demotion: int
    counter: int
    digest: bytes

    @property
    def is_farewell(self) -> bool:
        """A MASTER leaves: OpenBSD's ``sc_bow_out``; FreeBSD and ucarp send none and understand it all the same."""
        return self.advbase == FAREWELL and self.advskew == FAREWELL


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071), 0 over data that holds its own correct one.

    Over the CARP header alone, for IPv6 too: no pseudo header (``carp_input_c``, ``carp6_input`` of ip_carp.c), so
    the kernel's IPV6_CHECKSUM must stay off.
    """
    words = _WORDS if len(data) == LENGTH else struct.Struct(f"!{(len(data) + 1) // 2}H")
    total: int = sum(words.unpack(data if len(data) % 2 == 0 else data + b"\0"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(advert: Advert) -> bytes:
    """The packet without its IP header; the checksum is made last, for it covers the digest.

    Raises:
        ValueError: a field does not fit; the configuration was checked before it came here.
    """
    if len(advert.digest) != DIGEST_LENGTH:
        raise ValueError(f"cannot encode an advert: its digest has {len(advert.digest)} bytes, not {DIGEST_LENGTH}")
    if not 1 <= advert.vhid <= 255:
        raise ValueError(f"cannot encode an advert: its vhid is {advert.vhid}, not 1 to 255")
    fields = (advert.vhid, advert.advskew, AUTHLEN, advert.demotion, advert.advbase)
    try:
        bare = _HEADER.pack(_VERSION_AND_TYPE, *fields, 0, advert.counter, advert.digest)
    except struct.error as error:
        raise ValueError(f"cannot encode an advert: {error}") from error
    return bare[:6] + checksum(bare).to_bytes(2, "big") + bare[8:]


def vrrp_id(data: bytes) -> int | None:
    """The VRID where this is VRRP, version 2 (RFC 3768) or 3 (RFC 5798), else None.

    CARP's first byte is that of VRRP version 2, so the length tells: 8 bytes, 4 per address (byte 3 counts them), 8 of
    authentication, which some leave out. CARP's own 7 in byte 3 would be 44 bytes there. Five addresses make 36 as
    well, and no CARP sender has a 5 in that byte.
    """
    if len(data) < _VRRP_HEADER or data[0] & 0xF != TYPE_ADVERT:
        return None
    bare = _VRRP_HEADER + 4 * data[3]
    version = data[0] >> 4
    if version == 3 or (version == 2 and len(data) == bare + _VRRP_AUTHENTICATION):
        return data[1]
    return data[1] if version == 2 and len(data) == bare != LENGTH else None


def decode(data: bytes) -> Advert:
    """The advert in a packet that stands without its IP header.

    Byte 3 is not looked at beyond telling VRRP: no CARP receiver does. Nothing here says that the advert is genuine.

    Raises:
        BadPacketError: it is none.
    """
    if vrrp_id(data) is not None:
        raise BadPacketError(Drop.VRRP)
    if len(data) != LENGTH:
        raise BadPacketError(Drop.BADLEN)
    first, vhid, advskew, _, demotion, advbase, _, counter, digest = _HEADER.unpack(data)
    if first != _VERSION_AND_TYPE:
        raise BadPacketError(Drop.BADVER if first >> 4 != VERSION else Drop.BADTYPE)
    if checksum(data):
        raise BadPacketError(Drop.BADSUM)
    return Advert(vhid, advskew, advbase, demotion, counter, digest)
