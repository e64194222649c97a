"""Ethernet frames that tell neighbours where an address is, ask who has it, and what the answers say. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

ETH_P_IPV4 = 0x0800
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_REQUEST = 1
_HARDWARE_ETHERNET = 1
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV4_PLAIN = 0x45  # version 4, five words
_DO_NOT_FRAGMENT = 0x4000
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMPV6 = 58
_NEIGHBOUR_SOLICITATION = 135
_NEIGHBOUR_ADVERTISEMENT = 136
_NA = struct.Struct("!BBHI16s")
_ROUTER = 0x80000000
_OVERRIDE = 0x20000000
_TARGET_LINK_ADDRESS = 2
_ALL_NODES = IPv6Address("ff02::1")
_SOLICITED_NODE = IPv6Address("ff02::1:ff00:0")
_UNSPECIFIED = IPv6Address("::")
_HOPS = 255
CARP = 112
"""The protocol's number in IP."""
CLASS = 0xE0
"""Type of service and traffic class: CS7, FreeBSD's default net.inet.carp.dscp=56."""


def mac_text(mac: bytes) -> str:
    """``00:00:5e:00:01:2a``."""
    return mac.hex(":")


def gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    """An ARP request of an address for itself, to everybody: who knows the address learns its machine.

    The request form, which more stacks heed than the reply (RFC 5227 section 3), with the sender as target as BSD and
    ucarp (garp.c) send it.
    """
    return _arp(mac, sender=address, target_mac=mac, target=address)


def arp_probe(mac: bytes, address: IPv4Address) -> bytes:
    """The question who has an address, from nobody, so that no cache changes (RFC 5227 section 2.1.1)."""
    return _arp(mac, sender=IPv4Address(0), target_mac=bytes(6), target=address)


def _arp(mac: bytes, *, sender: IPv4Address, target_mac: bytes, target: IPv4Address) -> bytes:
    head = _ETHERNET.pack(_BROADCAST, mac, ETH_P_ARP)
    return head + _ARP.pack(
        _HARDWARE_ETHERNET, ETH_P_IPV4, 6, 4, _ARP_REQUEST, mac, sender.packed, target_mac, target.packed
    )


def unsolicited_na(mac: bytes, address: IPv6Address, *, router: bool) -> bytes:
    """A neighbour advertisement to all nodes that overrides what they know (RFC 4861 section 7.2.6).

    Args:
        mac: where the address is now.
        address: which one.
        router: whether this host forwards: without the flag neighbours would take their default route back.
    """
    flags = _OVERRIDE | (_ROUTER if router else 0)
    body = _NA.pack(_NEIGHBOUR_ADVERTISEMENT, 0, 0, flags, address.packed)
    body += bytes([_TARGET_LINK_ADDRESS, 1]) + mac
    return _neighbour(mac, address, _ALL_NODES, body)


def neighbour_probe(mac: bytes, address: IPv6Address) -> bytes:
    """A neighbour solicitation from nobody, as in duplicate address detection (RFC 4862 section 5.4.2)."""
    group = IPv6Address(int(_SOLICITED_NODE) | int(address) & 0xFFFFFF)
    body = _NA.pack(_NEIGHBOUR_SOLICITATION, 0, 0, 0, address.packed)
    return _neighbour(mac, _UNSPECIFIED, group, body)


def _neighbour(mac: bytes, source: IPv6Address, group: IPv6Address, body: bytes) -> bytes:
    pseudo = source.packed + group.packed + struct.pack("!II", len(body), _ICMPV6)
    checksum = _sum(pseudo + body) ^ 0xFFFF
    body = body[:2] + struct.pack("!H", checksum) + body[4:]
    packet = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOPS, source.packed, group.packed) + body
    return _ETHERNET.pack(b"\x33\x33" + group.packed[12:], mac, ETH_P_IPV6) + packet


def _sum(data: bytes) -> int:
    """RFC 1071's sum of 16-bit words, not inverted; the data's length is even."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def multicast(mac: bytes, source: IPv4Address | IPv6Address, group: IPv4Address | IPv6Address, data: bytes) -> bytes:
    """A CARP packet to its group, from another hardware address than the device's own.

    Args:
        mac: the sender's.
        source: an address of this host.
        group: of the same family.
        data: the packet after its IP header.
    """
    if isinstance(group, IPv6Address):
        packet = _IPV6.pack(6 << 28 | CLASS << 20, len(data), CARP, _HOPS, source.packed, group.packed)
        return _ETHERNET.pack(b"\x33\x33" + group.packed[12:], mac, ETH_P_IPV6) + packet + data
    length = _IPV4.size + len(data)
    fields = [_IPV4_PLAIN, CLASS, length, 0, _DO_NOT_FRAGMENT, _HOPS, CARP, 0, source.packed, group.packed]
    fields[7] = _sum(_IPV4.pack(*fields)) ^ 0xFFFF
    low = int(group) & 0x7FFFFF  # RFC 1112 section 6.4
    return _ETHERNET.pack(b"\x01\x00\x5e" + low.to_bytes(3, "big"), mac, ETH_P_IPV4) + _IPV4.pack(*fields) + data


def arp_claim(frame: bytes) -> tuple[IPv4Address, bytes] | None:
    """(address, hardware address) that an ARP frame of either kind says its sender has; None where it says nothing."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    hardware, protocol, size, length, _, mac, sender, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    if (hardware, protocol, size, length) != (_HARDWARE_ETHERNET, ETH_P_IPV4, 6, 4) or not any(sender):
        return None
    return IPv4Address(sender), mac


def neighbour_claim(frame: bytes) -> tuple[IPv6Address, bytes] | None:
    """(address, hardware address) of a neighbour advertisement; None for another frame, and for one through a router.

    The hardware address is the one it advertises, else the one it came from.
    """
    start = _ETHERNET.size + _IPV6.size
    if len(frame) < start + _NA.size:
        return None
    _, source, protocol = _ETHERNET.unpack_from(frame)
    _, length, following, hops, _, _ = _IPV6.unpack_from(frame, _ETHERNET.size)
    kind, code, _, _, target = _NA.unpack_from(frame, start)
    if (protocol, following, hops, kind, code) != (ETH_P_IPV6, _ICMPV6, _HOPS, _NEIGHBOUR_ADVERTISEMENT, 0):
        return None
    options = frame[start + _NA.size : start + length]
    while len(options) >= 8 and options[1]:
        if options[0] == _TARGET_LINK_ADDRESS:
            return IPv6Address(target), options[2:8]
        options = options[options[1] * 8 :]
    return IPv6Address(target), source
