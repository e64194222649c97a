"""The page of the virtual addresses: VIP by VIP over all nodes, what the network says, and the demotions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from syncsrv.control.shapes_failover import UNKNOWN, DeviceInfo, VipInfo
from syncsrv.plan.words import listed
from syncsrv.web.views.members import MASTER, Group, Member

DROPS: Mapping[str, str] = {
    "own": "sent by this node itself",
    "vrrp": "of VRRP routers",
    "badlen": "of a wrong length",
    "badver": "of another version",
    "badtype": "that are no advertisements",
    "badsum": "with a wrong checksum",
    "badvhid": "for a vhid that is not ours",
    "badttl": "from beyond this network",
    "badsource": "from a sender that is not listed",
    "badauth": "with another password or other addresses",
    "looped": "of our own, given back by the network",
    "replay": "repeated from earlier",
}
"""Why a packet was not believed, by the carp process's word; a word of a newer version is shown as it is."""

SENT, ACCEPTED, RECEIVED, ERRORS = "sent", "accepted", "received", "send_errors"
_TOTALS = frozenset({SENT, ACCEPTED, RECEIVED, ERRORS})


@dataclass(frozen=True, slots=True)
class Reading:
    """A VIP on one node.

    Attributes:
        look: of the plate: solid, bad, or empty.
        lost: what stands here is only last known.
        skew: the configured skew, and what is advertised where that is another.
        reason: why it is in that state.
        notes: what else is to be known, in sentences.
        bad: what is wrong, in sentences.
    """

    state: str
    look: str
    lost: bool
    since: str | None = None
    skew: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """Packets as one node counted them; ``dropped`` is None where that was not told."""

    node: str
    lost: bool
    heard: int
    sent: int
    dropped: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One VIP; ``readings``: node to how it stands there, None where the node does not have it."""

    group: Group
    families: str
    devices: str
    addresses: tuple[str, ...]
    readings: Mapping[str, Reading | None]
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """One network device of a node, with what it counted."""

    node: str
    lost: bool
    info: DeviceInfo
    dropped: int
    reasons: tuple[str, ...]
    strangers: tuple[str, ...]


def lines(nodes: Sequence[Member], found: Sequence[Group]) -> tuple[Line, ...]:
    """Every VIP."""
    return tuple(_line(group, nodes) for group in found)


def _line(group: Group, nodes: Sequence[Member]) -> Line:
    having = {node.name: node.vips[group.key] for node in nodes if group.key in node.vips}
    devices = dict.fromkeys(vip.device for vip in having.values())
    addresses = max((vip.addresses for vip in having.values()), key=len)
    families = dict.fromkeys(f"IPv{ip_interface(address).version}" for address in addresses)
    return Line(
        group,
        " + ".join(families),
        " or ".join(devices),
        addresses,
        {node.name: _reading(node, having[node.name], group) if node.name in having else None for node in nodes},
        tuple(_count(node, having[node.name]) for node in nodes if node.name in having),
    )


def _reading(node: Member, vip: VipInfo, group: Group) -> Reading:
    told = node.told or node.lost
    state = vip.state if told else UNKNOWN
    twice = group.twice and node.name in group.holders
    look = "bad" if twice and state == MASTER else "solid" if state == MASTER else ""
    bad = list(vip.conflicts)
    if state == MASTER and not node.lost and (gone := [one for one in vip.addresses if one not in vip.held]):
        bad.append(f"not on {vip.device}: {listed(gone)}")
    return Reading(
        state,
        look,
        node.lost,
        vip.since if told else None,
        _skew(vip),
        vip.reason,
        _notes(vip, state),
        tuple(bad),
    )


def _skew(vip: VipInfo) -> str:
    if vip.advertised is None or vip.advertised == vip.advskew:
        return f"skew {vip.advskew}"
    return f"skew {vip.advskew}, advertises {vip.advertised}"


def _notes(vip: VipInfo, state: str) -> tuple[str, ...]:
    notes = []
    if state == UNKNOWN:
        return ()
    if vip.master and vip.heard_s is not None:
        who = f"{vip.master_node} ({vip.master})" if vip.master_node else f"{vip.master}, no node of this cluster"
        skew = "" if vip.master_advskew is None else f", skew {vip.master_advskew}"
        notes.append(f"hears {who}{skew}")
    if vip.handover:
        notes.append(f"last handover: {vip.handover}")
    if stray := [one for one in vip.held if state != MASTER]:
        notes.append(f"still on {vip.device}: {listed(stray)}")
    return tuple(notes)


def _count(node: Member, vip: VipInfo) -> Count:
    reasons = reasons_of(vip.counters)
    dropped = sum(number for name, number in vip.counters.items() if name not in _TOTALS)
    heard, sent = vip.counters.get(ACCEPTED, 0), vip.counters.get(SENT, 0)
    return Count(node.name, node.lost, heard, sent, dropped if vip.counters else None, reasons)


def reasons_of(counters: Mapping[str, int]) -> tuple[str, ...]:
    """What was dropped, in words, the most first; without what there is none of."""
    found = {name: number for name, number in counters.items() if number and name not in _TOTALS}
    order = sorted(found, key=lambda name: (-found[name], name))
    return tuple(f"{found[name]:,} {DROPS.get(name, name)}" for name in order)


def devices(nodes: Sequence[Member]) -> tuple[Device, ...]:
    """Every network device that carries VIPs or is watched."""
    return tuple(
        Device(node.name, node.lost, one, sum(one.drops.values()), reasons_of(one.drops), _strangers(one))
        for node in nodes
        for one in node.failover.devices
    )


def _strangers(one: DeviceInfo) -> tuple[str, ...]:
    """Who else speaks there, each a part of a sentence."""
    said = [f"{who}: other addresses or another password" for who in one.badauth]
    said += [f"{who}: CARP, and no node of this cluster" for who in one.foreign]
    said += [f"VRRP router with id {number}, whose virtual MAC is that of vhid {number}" for number in one.vrrp]
    return tuple(said)
