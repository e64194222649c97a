"""The digest of an advert: who has the same password and the same addresses, and no one else, can make it.

It is the standard HMAC-SHA1 (RFC 2104) with the password itself as its key, over

    02 01 | vhid | every IPv4 address | every IPv6 address | counter (8 bytes)

Each family is in ascending numerical order, an address that occurs twice counts once, prefix lengths do not count, and
0.0.0.0, ::, and the highest address of either family are never part of it: the selection of the next higher address in
``carp_hmac_prepare`` (ip_carp.c) cannot reach them. So two nodes that differ in one address understand each other
no more than two that differ in the password, and both become MASTER: the most frequent split brain there is.

Link-local IPv6 addresses: FreeBSD counts those that were given to the vhid. OpenBSD sends without any, as its carp
interface owns one that nobody configured, and accepts both (``HMAC_ORIG``, ``HMAC_NOV6LL``). We send as FreeBSD does
and accept both. ucarp knows one IPv4 address only: a group with it must have just that one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from syncsrv.carp.packet import TYPE_ADVERT, VERSION, Advert

LONGEST_PASSWORD: Final = 19
"""Bytes: ``CARP_KEY_LEN`` is 20 with the final zero. The BSDs cut what is longer, ucarp refuses it."""

_NEVER: Final = frozenset({bytes(4), b"\xff" * 4, bytes(16), b"\xff" * 16})


@dataclass(frozen=True, slots=True)
class VipSet:
    """What the nodes of a vhid must have in common.

    Attributes:
        vhid: 1 to 255.
        addresses: without prefix length, in any order.
        password: as typed, at most 19 bytes; empty is a password too.

    Raises:
        ValueError: the password is longer than the others can have it, or the vhid is none.
    """

    vhid: int
    addresses: tuple[IPv4Address | IPv6Address, ...]
    password: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.vhid <= 255:
            raise ValueError(f"cannot use the vhid {self.vhid}: it is not 1 to 255")
        if len(self.password) > LONGEST_PASSWORD:
            long = f"it has {len(self.password)} bytes, and CARP takes {LONGEST_PASSWORD} at most"
            raise ValueError(f"cannot use the password of vhid {self.vhid}: {long}")

    def __repr__(self) -> str:
        """Without the password: a traceback or a log line is no place for it."""
        return f"VipSet(vhid={self.vhid}, addresses={', '.join(map(str, self.addresses))})"


def _hashed(address: IPv4Address | IPv6Address) -> bytes:
    """Its bytes as they are hashed: the BSD kernels keep an interface number in bytes 2 and 3 of link-local ones."""
    packed = address.packed
    return packed[:2] + bytes(2) + packed[4:] if address.version == 6 and address.is_link_local else packed


def _prepared(vips: VipSet, link_local: bool) -> hmac.HMAC:
    """The digest's state before the counter, which alone changes from advert to advert."""
    wanted = [one for one in vips.addresses if link_local or one.version == 4 or not one.is_link_local]
    hashed = {_hashed(one) for one in wanted} - _NEVER
    v4 = sorted(one for one in hashed if len(one) == 4)
    v6 = sorted(one for one in hashed if len(one) == 16)
    body = b"".join([*v4, *v6])
    return hmac.new(vips.password, bytes((VERSION, TYPE_ADVERT, vips.vhid)) + body, "sha1")


def _finished(prepared: hmac.HMAC, counter: int) -> bytes:
    state = prepared.copy()
    state.update(counter.to_bytes(8, "big"))
    return state.digest()


def digest(vips: VipSet, counter: int, *, link_local: bool = True) -> bytes:
    """The 20 bytes for one counter.

    Args:
        vips: addresses and password.
        counter: 64 bits.
        link_local: False leaves link-local IPv6 addresses out, as OpenBSD does when it sends.
    """
    return _finished(_prepared(vips, link_local), counter)


class Keyring:
    """All that one vhid signs with and accepts; made once, as half of the work is the same for every advert.

    Args:
        send: signs what is sent.
        accept: other sets whose adverts are taken as well: the one before a change and the one after it.

    Raises:
        ValueError: the sets are not of one vhid.
    """

    def __init__(self, send: VipSet, accept: tuple[VipSet, ...] = ()) -> None:
        if any(one.vhid != send.vhid for one in accept):
            raise ValueError(f"cannot accept another vhid's addresses for vhid {send.vhid}")
        self.send = send
        self.accept = accept
        self._signing = _prepared(send, link_local=True)
        self._states = [(which, state) for which, one in enumerate((send, *accept)) for state in _ways(one)]

    def sign(self, counter: int) -> bytes:
        """The digest of an advert with this counter."""
        return _finished(self._signing, counter)

    def verify(self, advert: Advert) -> int | None:
        """Which set made the advert's digest: 0 is ``send``, 1 the first of ``accept``; None where none did."""
        for which, state in self._states:
            if hmac.compare_digest(_finished(state, advert.counter), advert.digest):
                return which
        return None


def _ways(vips: VipSet) -> list[hmac.HMAC]:
    """With link-local addresses, and without where that is another digest."""
    has_local = any(one.version == 6 and one.is_link_local for one in vips.addresses)
    return [_prepared(vips, True), _prepared(vips, False)] if has_local else [_prepared(vips, True)]
