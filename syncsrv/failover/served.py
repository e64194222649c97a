"""Settings and intent in the words of the state machine, and what else the agent must know of each vhid. Pure."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncsrv.carp import timing
from syncsrv.carp.auth import Keyring, VipSet
from syncsrv.carp.effects import Key
from syncsrv.carp.events import IntentChanged
from syncsrv.carp.receive import Address, Context, Group
from syncsrv.carp.settings import NodeSettings, Preempt, VhidSettings
from syncsrv.failover.intent import Intent
from syncsrv.failover.ports import Interface
from syncsrv.failover.settings import SetSettings, Settings, VipSettings

LIFETIME_MORE_S = 2.0
LIFETIME_LEAST_S = 5.0
_NAME_MOST = 15


@dataclass(frozen=True, slots=True)
class Served:
    """One vhid of the settings, ready for use.

    Attributes:
        interfaces: what is put on ``target``.
        target: the device that the addresses are on: the vhid's own, or its macvlan.
        lifetime_s: after so many seconds without a refresh the kernel removes them: a peer took over by then.
        patience_s: the smallest master-down time that a peer can have.
    """

    key: Key
    settings: VipSettings
    interfaces: tuple[Interface, ...]
    target: str
    keyring: Keyring
    unicast: tuple[Address, ...]
    lifetime_s: float
    patience_s: float

    @property
    def mac(self) -> bytes:
        """The group's own MAC; empty where the device's is used."""
        return mac_of(self.key.vhid) if self.settings.virtual_mac else b""


def carrier_of(device: str, vhid: int) -> str:
    """What the macvlan of a vhid is called: ``vh1-eth0``; at most 15 bytes, and the same at each start."""
    name = f"vh{vhid}-{device}"
    return name if len(name.encode()) <= _NAME_MOST else f"vh{vhid}-{zlib.crc32(device.encode()):08x}"


def mac_of(vhid: int) -> bytes:
    """The MAC of a group, for IPv4 and IPv6 alike (ip_carp.c; VRRP has another one for IPv6)."""
    return bytes((0, 0, 0x5E, 0, 1, vhid))


def served(settings: Settings) -> dict[Key, Served]:
    """Each vhid of the settings."""
    return {one.key: one for one in (_served(vip, settings.advskew) for vip in settings.vips)}


def _served(vip: VipSettings, advskew: int) -> Served:
    down_s = timing.master_down_s(vip.advbase, advskew)
    keyring = Keyring(vip_set(vip.vhid, vip.wire_set), tuple(vip_set(vip.vhid, one) for one in _accepted(vip)))
    return Served(
        key=Key(vip.device, vip.vhid),
        settings=vip,
        interfaces=tuple(ipaddress.ip_interface(written) for written in vip.addresses),
        target=carrier_of(vip.device, vip.vhid) if vip.virtual_mac else vip.device,
        keyring=keyring,
        unicast=tuple(ipaddress.ip_address(written) for written in vip.unicast),
        lifetime_s=max(LIFETIME_LEAST_S, down_s + LIFETIME_MORE_S),
        patience_s=timing.patience_s(vip.advbase, advskew),
    )


def _accepted(vip: VipSettings) -> tuple[SetSettings, ...]:
    """The own set is accepted also while another one is still on the wire: a peer may be further."""
    own = () if vip.own_set == vip.wire_set else (vip.own_set,)
    return (*own, *(one for one in vip.accept if one not in (vip.own_set, vip.wire_set)))


def vip_set(vhid: int, written: SetSettings) -> VipSet:
    """For the digest; a password is its bytes in UTF-8."""
    addresses = tuple(ipaddress.ip_address(one) for one in written.addresses)
    return VipSet(vhid, addresses, written.password.encode("utf-8", "surrogateescape"))


def refusal(vip: VipSettings, settings: Settings, strangers: Collection[str]) -> str:
    """Why a vhid must not run; empty where it may.

    Args:
        vip: it.
        settings: of the node.
        strangers: sources of valid adverts for it that are none of our nodes.
    """
    if vip.advbase > 0:
        return ""
    if not settings.own_peers:
        return (
            "advbase 0 needs peers that are all ours, and no peer's address is known yet: "
            "pair the nodes, or set advbase to 1 or more"
        )
    if strangers:
        who = ", ".join(sorted(strangers))
        return f"advbase 0 needs peers that are all ours, and {who} is not: set advbase to 1 or more on every node"
    return ""


def node_settings(settings: Settings, refused: Mapping[Key, str]) -> NodeSettings:
    """What the state machine needs of the settings.

    Args:
        settings: of the node.
        refused: why a vhid must not run, where it must not.
    """
    vhids = tuple(
        VhidSettings(
            Key(vip.device, vip.vhid), vip.advbase, settings.advskew, refused.get(Key(vip.device, vip.vhid), "")
        )
        for vip in settings.vips
    )
    return NodeSettings(
        node=settings.node,
        vhids=vhids,
        tracked=settings.tracked,
        preempt=Preempt(settings.preempt),
        preempt_delay_s=settings.preempt_delay_s,
        ready_timeout_s=settings.ready_timeout_s,
        table_timeout_s=settings.state_sync.timeout_s if settings.state_sync is not None else 0.0,
    )


def intent_event(intent: Intent) -> IntentChanged:
    """What was ordered, for the state machine."""
    return IntentChanged(
        disabled=intent.disabled,
        maintenance=intent.maintenance,
        switchover=intent.switchover,
        hold_preempt=intent.hold_preempt,
        demotions=dict(intent.demotions),
    )


def devices_of(settings: Settings) -> tuple[str, ...]:
    """Devices that carry a vhid or are tracked, each once."""
    return tuple(dict.fromkeys([*(vip.device for vip in settings.vips), *settings.tracked]))


def context(
    device: str, sources: Collection[Address], all_served: Mapping[Key, Served], peers: Mapping[str, Collection[str]]
) -> Context:
    """What the packets of one device are judged by.

    Args:
        device: its name.
        sources: its own addresses.
        all_served: of the node.
        peers: our other nodes' source addresses, by name.
    """
    return Context(
        own_sources=frozenset(sources),
        groups={
            key.vhid: Group(one.keyring, one.patience_s, frozenset(one.unicast))
            for key, one in all_served.items()
            if key.device == device
        },
        peers={ipaddress.ip_address(source): name for name, all_of in peers.items() for source in all_of},
    )
