"""What passes a device of a lab, CARP above all: kept as it came, written as a pcap file, and sent again or forged."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType

from syncsrv.carp.auth import Keyring, VipSet
from syncsrv.carp.packet import Advert, BadPacketError, decode, encode
from tests.support.lab import DEVICE, Node

ETH_ALL, ETH_IP, ETH_ARP, ETH_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
CARP = 112
GROUP4, GROUP4_MAC = "224.0.0.18", bytes.fromhex("01005e000012")
STRANGER_MAC = bytes.fromhex("020000000099")


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame.

    Attributes:
        at: when it was read here, CLOCK_MONOTONIC seconds.
        frame: all of it, from the Ethernet header on.
    """

    at: float
    frame: bytes

    @property
    def ethertype(self) -> int:
        return int.from_bytes(self.frame[12:14], "big")

    @property
    def source_mac(self) -> str:
        return self.frame[6:12].hex(":")

    @property
    def protocol(self) -> int:
        """Of IP; -1 where it is not IP."""
        return {ETH_IP: self.frame[23], ETH_IPV6: self.frame[20]}.get(self.ethertype, -1)

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return self.frame[22] if self.ethertype == ETH_IP else self.frame[21]

    @property
    def source(self) -> IPv4Address | IPv6Address:
        return ip_address(self.frame[26:30] if self.ethertype == ETH_IP else self.frame[22:38])

    @property
    def payload(self) -> bytes:
        """What follows the IP header."""
        if self.ethertype == ETH_IP:
            head = 14 + (self.frame[14] & 0xF) * 4
            return self.frame[head : 14 + int.from_bytes(self.frame[16:18], "big")]
        return self.frame[54 : 54 + int.from_bytes(self.frame[18:20], "big")]

    @property
    def advert(self) -> Advert | None:
        """What it says, where it is one."""
        if self.protocol != CARP:
            return None
        try:
            return decode(self.payload)
        except BadPacketError:
            return None


class Tap:
    """Everything that a device sends and receives, from now on; can send too.

    Args:
        node: whose device it is.
        device: its name.
    """

    def __init__(self, node: Node, device: str = DEVICE) -> None:
        with node.spaces.entered(node.name):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        self._socket.bind((device, 0))
        self._socket.setblocking(False)
        self._seen: list[Packet] = []

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def packets(self) -> list[Packet]:
        """All that was seen until now."""
        while True:
            try:
                frame = self._socket.recv(1 << 16)
            except BlockingIOError:
                return list(self._seen)
            self._seen.append(Packet(time.monotonic(), frame))

    def carp(self) -> list[Packet]:
        """Those of protocol 112, VRRP among them."""
        return [one for one in self.packets() if one.protocol == CARP]

    def adverts(self, source: str = "") -> list[Advert]:
        """What the adverts said until now, all or those of one source."""
        return [
            one.advert for one in self.carp() if one.advert is not None and (not source or str(one.source) == source)
        ]

    def announcements(self, address: str) -> list[Packet]:
        """ARP requests by which a node says that it has this IPv4 address: sender and target are the same."""
        wanted = ip_address(address).packed
        return [
            one
            for one in self.packets()
            if one.ethertype == ETH_ARP and one.frame[28:32] == wanted and one.frame[38:42] == wanted
        ]

    def forget(self) -> None:
        """What was seen until now is not told again."""
        self.packets()
        self._seen.clear()

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire as it is."""
        self._socket.send(frame)


def write_pcap(path: Path, packets: list[Packet]) -> None:
    """A file that tcpdump reads (pcap, link type Ethernet)."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for one in packets:
        whole, part = divmod(one.at, 1)
        parts += [struct.pack("<IIII", int(whole), int(part * 1e6), len(one.frame), len(one.frame)), one.frame]
    path.write_bytes(b"".join(parts))


def signed(advert: Advert, addresses: list[str], password: str) -> Advert:
    """The same advert with the digest of who knows addresses and password."""
    vips = VipSet(advert.vhid, tuple(ip_address(one) for one in addresses), password.encode())
    return replace(advert, digest=Keyring(vips, ()).sign(advert.counter))


def carp_frame(advert: Advert, source: str, *, ttl: int = 255, mac: bytes = STRANGER_MAC) -> bytes:
    """A frame that carries an advert over IPv4, from whatever source one likes."""
    return ip_frame(encode(advert), source, ttl=ttl, mac=mac)


def ip_frame(payload: bytes, source: str, *, ttl: int = 255, mac: bytes = STRANGER_MAC) -> bytes:
    """A frame that carries anything as protocol 112 over IPv4."""
    packed = ip_address(source).packed + ip_address(GROUP4).packed
    start = struct.pack("!BBHHHBB", 0x45, 0xE0, 20 + len(payload), 0, 0x4000, ttl, CARP)
    header = start + struct.pack("!H", _sum(start + b"\0\0" + packed)) + packed
    return GROUP4_MAC + mac + struct.pack("!H", ETH_IP) + header + payload


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
