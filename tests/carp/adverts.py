"""Adverts and devices for the tests of syncsrv/carp; addresses are of the blocks for documentation."""

from __future__ import annotations

from ipaddress import ip_address

from syncsrv.carp.auth import Keyring, VipSet
from syncsrv.carp.packet import Advert, Drop, encode
from syncsrv.carp.receive import Accepted, Address, Context, Frame, Group, Memory, judge

FW1, FW2, STRANGER = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("192.0.2.77")
FW2_V6 = ip_address("fe80::2")
PATIENCE_S = 3.25


def vip_set(*addresses: str, vhid: int = 1, password: str = "mekmitasdigoat") -> VipSet:
    return VipSet(vhid, tuple(ip_address(one) for one in addresses), password.encode())


LAN = vip_set("192.0.2.10", "2001:db8::10")
OLD = vip_set("192.0.2.10")
CLOUD = vip_set("198.51.100.10", vhid=2, password="secret")


def advert(by: VipSet = LAN, counter: int = 7, *, advbase: int = 1, advskew: int = 0, demotion: int = 0) -> Advert:
    return Advert(by.vhid, advskew, advbase, demotion, counter, Keyring(by).sign(counter))


def packet(by: VipSet = LAN, counter: int = 7) -> bytes:
    return encode(advert(by, counter))


class Device:
    """One of fw1: vhid 1 by multicast, vhid 2 by unicast with fw2; fw2 is an own peer."""

    def __init__(self) -> None:
        self.memory = Memory()
        groups = {
            LAN.vhid: Group(Keyring(LAN, (OLD,)), PATIENCE_S),
            CLOUD.vhid: Group(Keyring(CLOUD), PATIENCE_S, frozenset({FW1, FW2})),
        }
        self.context = Context(frozenset({FW1, ip_address("fe80::1")}), groups, {FW2: "fw2", FW2_V6: "fw2"})

    def hear(
        self, data: bytes, source: Address = STRANGER, ttl: int | None = 255, now: float = 100.0
    ) -> Accepted | Drop:
        return judge(Frame(data, source, ttl), context=self.context, memory=self.memory, now=now)
