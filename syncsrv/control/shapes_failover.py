"""What is asked and told about failover: virtual addresses, who serves them, and why. Standard library only.

A word that ends in ``_s`` is seconds; times are RFC 3339 in UTC. The meaning of a field never changes within a protocol
version; new fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = "UNKNOWN"
"""The state of a VIP of which nothing is heard: the process carp does not answer. It is not a CARP state."""

UNREPORTED = "unknown"
"""Stands among the reasons of a demotion of which the process carp has told nothing."""


@dataclass(frozen=True, slots=True)
class VipInfo:
    """One vhid on one interface of a node: its addresses move together.

    Attributes:
        vhid: the group's number, 1 to 255.
        interface: its logical name, as cluster.yaml has it.
        device: of this node.
        state: INIT, BACKUP or MASTER; UNKNOWN while the process carp does not answer.
        addresses: as configured, with their prefix length.
        since: when the state was entered; None where that is unknown.
        reason: why it is in that state, in a sentence for people.
        advbase: seconds between two advertisements of a MASTER, before the skew.
        advskew: as configured, 1/256 s each; the smaller one serves.
        advertised: the skew that goes on the wire now, with the demotion in it; None where it is unknown.
        held: which of the addresses are on the device now.
        master: source address of the MASTER that is heard; empty where this node is it or none is heard.
        master_node: the name of that MASTER where it is an own peer, or of this node; empty elsewhere.
        master_advskew: what that MASTER advertises.
        heard_s: seconds since its last advertisement.
        contested_by: while this node is MASTER: the name or address of whoever advertised all the same, though worse.
        contested_s: seconds since then, when the process carp said so.
        handover: empty, "under way", "taken by NODE" or "no peer took over": of the last one that was asked for.
        transitions: changes of state since the process carp was started.
        conflicts: who else answers for an address, in sentences.
        counters: what was sent and received, by name.
        age_s: of this reading; None where there never was one.
    """

    vhid: int
    interface: str
    device: str
    state: str
    addresses: tuple[str, ...]
    since: str | None
    reason: str
    advbase: int = 1
    advskew: int = 0
    advertised: int | None = None
    held: tuple[str, ...] = ()
    master: str = ""
    master_node: str = ""
    master_advskew: int | None = None
    heard_s: float | None = None
    contested_by: str = ""
    contested_s: float | None = None
    handover: str = ""
    transitions: int = 0
    conflicts: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    age_s: float | None = None

    @property
    def key(self) -> str:
        """How it is named among all VIPs of a node: ``1@lan``."""
        return f"{self.vhid}@{self.interface}"


@dataclass(frozen=True, slots=True)
class Demotion:
    """How far a node has lowered its own rank, and why; what is ordered only, while the process carp does not answer:
    ``UNREPORTED`` is among the reasons then, with no weight.
    """

    total: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the process carp itself has told it."""
        return UNREPORTED not in self.reasons


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One network device that carries vhids.

    Attributes:
        device: its name.
        interfaces: the logical names that node.yaml gives it.
        up: whether it has a link.
        sources: this node's own addresses that its advertisements come from.
        received: CARP packets that came in; each was either accepted or dropped.
        drops: why not accepted, by the name of the reason.
        send_errors: advertisements that the kernel did not take.
        vrrp: the ids of VRRP routers that are heard, which share their virtual MAC addresses with vhids.
        foreign: CARP speakers that are no peers of this node.
        badauth: who advertises with another VIP set or password.
    """

    device: str
    interfaces: tuple[str, ...] = ()
    up: bool = False
    sources: tuple[str, ...] = ()
    received: int = 0
    accepted: int = 0
    sent: int = 0
    send_errors: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    vrrp: tuple[int, ...] = ()
    foreign: tuple[str, ...] = ()
    badauth: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailoverInfo:
    """The process carp of a node, and what an operator has told it.

    Attributes:
        configured: whether cluster.yaml has vips.
        running: whether it answers now.
        why: why it does not, with what to do; empty where it does.
        absent: no such process runs at all, so that this node holds no address.
        timing: "real-time", or "best effort: " and why; empty where it is unknown.
        disabled: an operator has taken this node out of failover altogether: its vhids are in INIT.
        maintenance: an operator has demoted it, so that any peer that is well serves instead.
        switchover: it has given its VIPs away on request, and ranks behind its peers until it is MASTER again.
        hold_down_s: for so long it takes nothing over yet, after the boot of the machine.
        hold_preempt: why it does not take its VIPs back from a peer; empty where it may.
        troubles: what an operator should look at, in sentences.
        devices: the network devices.
        age_s: of this reading; None where there never was one.
    """

    configured: bool = False
    running: bool = False
    why: str = ""
    timing: str = ""
    disabled: bool = False
    maintenance: bool = False
    switchover: bool = False
    hold_down_s: float = 0.0
    hold_preempt: str = ""
    troubles: tuple[str, ...] = ()
    devices: tuple[DeviceInfo, ...] = ()
    age_s: float | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredSet:
    """Addresses, without prefix length, and the password that make one digest."""

    addresses: tuple[str, ...]
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that a node may sign its advertisements with, now or soon: between pinned nodes only, as it has passwords.

    Attributes:
        digest: the node's name for exactly this; whoever accepts it says so by this name.
        sets: VIP (``1@lan``) to the sets; the one that is on the wire stands first.
    """

    digest: str
    sets: Mapping[str, tuple[DeclaredSet, ...]]


@dataclass(frozen=True, slots=True)
class VipRequest:
    """What an operator wants of failover on this node.

    Attributes:
        action: one of ``ACTIONS``.
        reason: for demote and promote, the demotion's name.
        weight: for demote, 1 to 240.
        now: for commit, without waiting for peers that are away.
        why: what the operator says about it, for the audit.
    """

    action: str
    reason: str = ""
    weight: int = 0
    now: bool = False
    why: str = ""


ACTIONS = ("maintenance-on", "maintenance-off", "disable", "enable", "demote", "promote", "switchover", "commit")
"""What ``VipRequest.action`` can be."""


@dataclass(frozen=True, slots=True)
class VipReply:
    """What came of it; what the operator told the node stays in force also where ``done`` is false.

    Attributes:
        done: whether what was asked for has happened; false where nobody took the VIPs over.
        text: what came of it, in a sentence for people.
        remedy: what to do, where something is to be done.
        taken_by: VIP (``1@lan``) that this node gave away, to who serves it now: a node's name, else a source address;
            empty where nobody does.
        steps: what was done, one after the other, in sentences.
    """

    done: bool
    text: str
    remedy: str = ""
    taken_by: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
