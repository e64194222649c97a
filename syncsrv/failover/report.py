"""What the agent says about itself: a Report, out of the state machine's node and of what the system says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from syncsrv.carp.effects import Key
from syncsrv.carp.node import Node
from syncsrv.carp.vhid import Vhid
from syncsrv.failover.devices import Device
from syncsrv.failover.hands import Hands
from syncsrv.failover.messages import DeviceReport, Report, VipReport
from syncsrv.failover.settings import Settings

HEARD_S = 60.0
"""How long somebody who was heard and not believed is told of."""


@dataclass(frozen=True, slots=True)
class Self:
    """What stays the same while the agent lives.

    Attributes:
        pid: the agent's.
        guardian_pid: its parent's.
        timing: ``real-time``, or ``best effort: why``.
    """

    pid: int
    guardian_pid: int
    timing: str


def report(
    this: Self,
    settings: Settings,
    node: Node,
    hands: Hands,
    *,
    digest: str,
    troubles: Iterable[str],
    now: float,
    boot_offset_s: float,
) -> Report:
    """How everything is at ``now``; its ``seq`` is for the caller to fill in.

    Args:
        this: the agent.
        settings: in force.
        node: the state machine's.
        hands: what holds the addresses.
        digest: of the settings.
        troubles: sentences of the agent itself.
        now: monotonic seconds.
        boot_offset_s: what CLOCK_BOOTTIME is ahead of the monotonic clock, in seconds.
    """
    reasons = dict(node.demotion.reasons)
    return Report(
        seq=0,
        pid=this.pid,
        guardian_pid=this.guardian_pid,
        node=settings.node,
        timing=this.timing,
        settings_digest=digest,
        disabled=node.intent.disabled,
        maintenance=node.intent.maintenance,
        switchover=node.switchover,
        hold_preempt=node.intent.hold_preempt,
        ready=node.ready or node.ready_until_at is None,
        demotion_total=node.demotion.total,
        demotion_reasons=reasons,
        hold_down_s=round(max(0.0, node.hold_until_at - now), 1),
        vips=tuple(_vip(node, vhid, hands, now, boot_offset_s) for vhid in node.vhids.values()),
        devices=tuple(_device(device, now) for device in hands.devices.values()),
        troubles=(*troubles, *hands.troubles.values()),
    )


def standing(report: Report) -> Report:
    """The report without what only time and traffic change: two that are equal in it need not be told apart."""
    vips = tuple(replace(vip, heard_age_s=0.0, counters={}, contested_age_s=0.0) for vip in report.vips)
    nothing: Mapping[str, int] = {}
    devices = tuple(
        replace(one, drops=nothing, received=0, accepted=0, sent=0, send_errors=0) for one in report.devices
    )
    return replace(report, seq=0, hold_down_s=float(report.hold_down_s > 0), vips=vips, devices=devices)


def _vip(node: Node, vhid: Vhid, hands: Hands, now: float, boot_offset_s: float) -> VipReport:
    key: Key = vhid.key
    one = hands.served[key]
    master, worse = vhid.master, vhid.contested_by
    return VipReport(
        vhid=key.vhid,
        interface=one.settings.interface,
        device=key.device,
        state=vhid.state.value,
        reason=vhid.reason,
        since_boot_s=round(vhid.since_at + boot_offset_s, 3),
        addresses=one.settings.addresses,
        held=hands.held(key),
        advbase=vhid.settings.advbase,
        advskew=vhid.settings.advskew,
        advertised=node.advskew(key),
        master_source=str(master.source) if master else "",
        master_peer=master.peer if master else "",
        master_advskew=master.advskew if master else -1,
        heard_age_s=round(now - master.heard_at, 3) if master else -1.0,
        transitions=vhid.transitions,
        handover=vhid.handover,
        conflicts=tuple(hands.conflicts.get(key, {}).values()),
        counters=hands.devices[key.device].memory.of(key.vhid).as_dict(),
        contested_by=(worse.peer or str(worse.source)) if worse else "",
        contested_age_s=round(now - worse.heard_at, 3) if worse else -1.0,
    )


def _device(device: Device, now: float) -> DeviceReport:
    memory = device.memory
    lately = now - HEARD_S
    foreign = {(vhid, str(source)) for vhid, source in memory.foreign.since(lately)} | device.strangers(now)
    return DeviceReport(
        device=device.name,
        up=not device.why,
        sources=tuple(map(str, device.sources)),
        drops={str(drop): number for drop, number in memory.counters.drops.items()},
        received=memory.counters.received,
        accepted=memory.counters.accepted,
        sent=memory.counters.sent,
        send_errors=memory.counters.send_errors,
        vrrp_ids=tuple(sorted({vrid for vrid, _ in memory.vrrp.since(lately)})),
        foreign=tuple(f"{source} vhid {vhid}" for vhid, source in sorted(foreign)),
        badauth=tuple(f"{source} vhid {vhid}" for vhid, source in sorted(memory.refused.since(lately), key=str)),
    )
