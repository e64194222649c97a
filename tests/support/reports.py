"""Reports of a carp process, as the tests need them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from syncsrv.failover.messages import Report, State, VipReport


def vip(state: State, vhid: int = 1, interface: str = "lan", **more: Any) -> VipReport:
    """One VIP in that state."""
    found = VipReport(
        vhid=vhid,
        interface=interface,
        device="eth0",
        state=state,
        reason=f"it became {state}",
        since_boot_s=100.0,
        addresses=(f"192.0.2.{vhid}0/24",),
        held=(f"192.0.2.{vhid}0/24",) if state == "MASTER" else (),
        advbase=1,
        advskew=0,
        advertised=0,
        master_source="",
        master_peer="",
        master_advskew=-1,
        heard_age_s=-1.0,
        transitions=1,
        handover="",
        conflicts=(),
        counters={},
    )
    return replace(found, **more)


def report(*states: State | VipReport, **more: Any) -> Report:
    """A report of a node with VIPs in these states: 1@lan, 2@lan, …"""
    vips = tuple(vip(one, number) if isinstance(one, str) else one for number, one in enumerate(states, 1))
    found = Report(
        seq=1,
        pid=2,
        guardian_pid=1,
        node="fw1",
        timing="real-time",
        settings_digest="",
        disabled=False,
        maintenance=False,
        switchover=False,
        hold_preempt="",
        ready=True,
        demotion_total=0,
        demotion_reasons={},
        hold_down_s=0.0,
        vips=vips,
        devices=(),
        troubles=(),
    )
    return replace(found, **more)
