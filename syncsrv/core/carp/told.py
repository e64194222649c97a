"""What the process carp reported, as status and the facts for peers have it. Pure: what is not known says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from syncsrv.clock import rfc3339
from syncsrv.control.shapes_failover import UNKNOWN, UNREPORTED, Demotion, DeviceInfo, FailoverInfo, VipInfo
from syncsrv.core.carp.link import Reading
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import DeviceReport, VipReport
from syncsrv.failover.outcome import key_of
from syncsrv.failover.settings import Settings, VipSettings


def vips(settings: Settings, reading: Reading, nodes: Mapping[str, str], now: float) -> tuple[VipInfo, ...]:
    """Every configured VIP; UNKNOWN where the process carp does not answer, or does not have it.

    Args:
        settings: what is configured.
        reading: of the process carp.
        nodes: source address to the name of the own peer that it belongs to.
        now: monotonic seconds.
    """
    age_s = age_of(reading, now)
    reports = {key_of(vip): vip for vip in reading.now.vips} if reading.now is not None else {}
    found = []
    for vip in settings.vips:
        key = f"{vip.vhid}@{vip.interface}"
        if key in reports:
            since = reading.since_utc.get(key)
            found.append(_vip(reports[key], settings.node, since, nodes, age_s))
        else:
            why = reading.why or "the carp process does not work with this configuration yet"
            found.append(_unknown(settings, vip, _with(why, reading.remedy), age_s))
    return tuple(found)


def _vip(vip: VipReport, node: str, since: datetime | None, nodes: Mapping[str, str], age_s: float | None) -> VipInfo:
    serves = vip.state == "MASTER"
    heard = vip.heard_age_s >= 0
    return VipInfo(
        vhid=vip.vhid,
        interface=vip.interface,
        device=vip.device,
        state=vip.state,
        addresses=vip.addresses,
        since=rfc3339(since) if since is not None else None,
        reason=vip.reason,
        advbase=vip.advbase,
        advskew=vip.advskew,
        advertised=vip.advertised,
        held=vip.held,
        master="" if serves else vip.master_source,
        master_node=node if serves else vip.master_peer or nodes.get(vip.master_source, ""),
        master_advskew=vip.master_advskew if heard and vip.master_advskew >= 0 else None,
        heard_s=round(vip.heard_age_s, 1) if heard else None,
        contested_by=nodes.get(vip.contested_by, vip.contested_by) if serves else "",
        contested_s=round(vip.contested_age_s, 1) if serves and vip.contested_age_s >= 0 else None,
        handover=vip.handover,
        transitions=vip.transitions,
        conflicts=vip.conflicts,
        counters=vip.counters,
        age_s=age_s,
    )


def _unknown(settings: Settings, vip: VipSettings, why: str, age_s: float | None) -> VipInfo:
    return VipInfo(
        vhid=vip.vhid,
        interface=vip.interface,
        device=vip.device,
        state=UNKNOWN,
        addresses=vip.addresses,
        since=None,
        reason=why,
        advbase=vip.advbase,
        advskew=settings.advskew,
        age_s=age_s,
    )


def demotion(reading: Reading, intent: Intent, *, configured: bool) -> Demotion:
    """How far this node is demoted; while the process carp does not answer, what is ordered, and that no more is known.

    Args:
        reading: of the process carp.
        intent: what is ordered.
        configured: whether there are VIPs at all.
    """
    if reading.now is not None:
        return Demotion(reading.now.demotion_total, reading.now.demotion_reasons)
    ordered = {"maintenance": intent.maintenance, "switchover": intent.switchover}
    reasons = {**{name: 240 for name, on in ordered.items() if on}, **intent.demotions}
    return Demotion(sum(reasons.values()), {**reasons, **({UNREPORTED: 0} if configured else {})})


def info(settings: Settings, reading: Reading, intent: Intent, problems: tuple[str, ...], now: float) -> FailoverInfo:
    """The process carp itself.

    Args:
        settings: what is configured.
        reading: of it.
        intent: what is ordered.
        problems: what core could not do, in sentences.
        now: monotonic seconds.
    """
    ordered = FailoverInfo(
        configured=bool(settings.vips),
        why=_with(reading.why, reading.remedy) if settings.vips else "",
        disabled=intent.disabled,
        maintenance=intent.maintenance,
        switchover=intent.switchover,
        hold_preempt=intent.hold_preempt,
        troubles=problems,
        age_s=age_of(reading, now),
        absent=reading.absent and bool(settings.vips),
    )
    report = reading.now
    if report is None:
        return ordered
    names: dict[str, list[str]] = {}
    for vip in settings.vips:
        if vip.interface not in names.setdefault(vip.device, []):
            names[vip.device].append(vip.interface)
    return FailoverInfo(
        configured=ordered.configured,
        running=True,
        timing=report.timing,
        disabled=intent.disabled,
        maintenance=intent.maintenance,
        switchover=intent.switchover,
        hold_down_s=round(report.hold_down_s, 1),
        hold_preempt=intent.hold_preempt,
        troubles=(*problems, *report.troubles),
        devices=tuple(_device(one, tuple(names.get(one.device, ()))) for one in report.devices),
        age_s=ordered.age_s,
    )


def _device(one: DeviceReport, interfaces: tuple[str, ...]) -> DeviceInfo:
    return DeviceInfo(
        device=one.device,
        interfaces=interfaces,
        up=one.up,
        sources=one.sources,
        received=one.received,
        accepted=one.accepted,
        sent=one.sent,
        send_errors=one.send_errors,
        drops=one.drops,
        vrrp=one.vrrp_ids,
        foreign=one.foreign,
        badauth=one.badauth,
    )


def sources(failover: FailoverInfo) -> dict[str, tuple[str, ...]]:
    """Logical interface to this node's own addresses there."""
    return {name: one.sources for one in failover.devices for name in one.interfaces}


def age_of(reading: Reading, now: float) -> float | None:
    """Seconds since the last report; None where there never was one."""
    return None if reading.at is None else round(max(0.0, now - reading.at), 1)


def _with(why: str, remedy: str) -> str:
    return f"{why}; {remedy}" if why and remedy else why
