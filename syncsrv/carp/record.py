"""What is known of a node, and what follows from it without an event: why it is demoted, which vhids may not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from syncsrv.carp import demotion, timing
from syncsrv.carp.demotion import SERVES_NOT, STEPPED_ASIDE, Demotion
from syncsrv.carp.devices import Device
from syncsrv.carp.effects import Key
from syncsrv.carp.events import IntentChanged
from syncsrv.carp.settings import NodeSettings
from syncsrv.carp.vhid import Around, Phase, Vhid

DISABLED = "CARP is disabled on this node"
MAINTENANCE = "maintenance of this node"
SWITCHOVER = "a switchover was asked for"
REMOVED = "the vhid was removed from the configuration"


@dataclass(frozen=True, slots=True)
class Node:
    """One node's failover; nothing in it is ever changed in place.

    Args:
        settings: as configured.
        intent: as last given.
        vhids: every vhid, those too that are removed and still hand over.
        devices: every device that was spoken of or that carries a vhid.
        demotion: what demotes the node now.
        switchover: one was asked for; this node has not become MASTER since, nor heard one that ranks before it anyway.
        ready: it was told that its services are healthy.
        ready_until_at: until when it is demoted for not being told so.
        table: the connections that it would take over are known here, or nobody waits for them.
        table_until_at: until when it is demoted for not having them; None: until it has, or is MASTER.
        hold_until_at: before then no vhid takes over.
        jitter_s: see vhid.Around.
        shutdown: why the process ends; empty while it does not.
        ended: Ended was said.
    """

    settings: NodeSettings
    intent: IntentChanged
    vhids: Mapping[Key, Vhid] = field(default_factory=lambda: MappingProxyType({}))
    devices: Mapping[str, Device] = field(default_factory=lambda: MappingProxyType({}))
    demotion: Demotion = field(default_factory=Demotion)
    switchover: bool = False
    ready: bool = False
    ready_until_at: float | None = None
    table: bool = True
    table_until_at: float | None = None
    hold_until_at: float = 0.0
    jitter_s: float = 0.0
    shutdown: str = ""
    ended: bool = False

    def advskew(self, key: Key) -> int:
        """What the vhid advertises, or would: the effective advskew."""
        return self.demotion.effective(self.vhids[key].settings.advskew)


def around(node: Node, now: float) -> Around:
    """What the machine of a vhid sees of its node."""
    return Around(
        now=now,
        node=node.settings.node,
        demotion=node.demotion,
        preempt=node.settings.preempt,
        preempt_delay_s=node.settings.preempt_delay_s,
        preempt_held=node.intent.hold_preempt,
        hold_until_at=node.hold_until_at,
        jitter_s=node.jitter_s,
    )


def demotion_of(node: Node) -> Demotion:
    """What demotes it, for all that is known now; node.demotion is what was advertised so far."""
    found = {name: weight for name, weight in node.intent.demotions.items() if weight > 0}
    if node.intent.maintenance:
        found[demotion.MAINTENANCE] = SERVES_NOT
    advskew = max((vhid.settings.advskew for vhid in node.vhids.values()), default=0)
    if node.switchover and advskew < STEPPED_ASIDE:
        found[demotion.SWITCHOVER] = STEPPED_ASIDE - advskew
    if not node.ready and node.ready_until_at is not None:
        found[demotion.NOT_READY] = SERVES_NOT
    if not node.table:
        found[demotion.STATE_SYNC] = SERVES_NOT
    carrying = {key.device for key in node.vhids}
    for device in node.devices.values():
        addressless = device.name in carrying and device.up and not device.has_source
        if device.name in node.settings.tracked and (device.link_demotes or addressless):
            found[demotion.link(device.name)] = SERVES_NOT
        if device.sending_demotes and device.name in carrying:
            found[demotion.send_errors(device.name)] = SERVES_NOT
        if device.holding_demotes and device.name in carrying:
            found[demotion.addresses(device.name)] = SERVES_NOT
    return Demotion(MappingProxyType(found))


def is_backup_anyway(node: Node, now: float) -> bool:
    """Whether all that serve rank before this node as it is configured, whatever demotes it now.

    What demotes it for a while does not count: once that is over it would take over from them.
    """
    for vhid in node.vhids.values():
        master, settings = vhid.master, vhid.settings
        if vhid.phase is not Phase.BACKUP or master is None or now - master.heard_at > vhid.master_down_s:
            return False
        if master.rank >= (0, timing.interval_ticks(settings.advbase, settings.advskew)):
            return False
    return True


def is_removed(node: Node, key: Key) -> bool:
    """The vhid is configured no more and still hands over."""
    return all(one.key != key for one in node.settings.vhids)


def unwanted(node: Node, vhid: Vhid) -> str:
    """Why people do not want it to run; empty where they do."""
    if node.shutdown:
        return node.shutdown
    if is_removed(node, vhid.key):
        return REMOVED
    return DISABLED if node.intent.disabled else vhid.settings.refused
