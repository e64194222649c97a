"""Settings, intents and reports of a failover node for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from syncsrv.failover.messages import DeviceReport
from syncsrv.failover.settings import SetSettings, Settings, StateLink, StateSync, VipSettings
from tests.support.reports import report, vip

VIP = VipSettings(
    vhid=1,
    interface="lan",
    device="eth0",
    advbase=1,
    addresses=("192.0.2.10/24", "2001:db8::10/64"),
    password="one",
)

SETTINGS = Settings(
    node="fw1",
    advskew=0,
    preempt="always",
    preempt_delay_s=0.0,
    hold_down_s=0.0,
    ready_timeout_s=30.0,
    run_dir="/run/syncsrv",
    vips=(VIP,),
    tracked=("eth0", "eth1"),
    own_peers={"fw2": ("192.0.2.2", "2001:db8::2")},
)

STATE_SYNC = StateSync(
    engine="conntrackd",
    links=(StateLink("eth2", "10.3.0.1", "10.3.0.2"), StateLink("eth3", "fd03::1", "fd03::2")),
    group="225.0.0.50",
    port=3780,
    ignore=("127.0.0.1", "::1", "192.0.2.1", "192.0.2.10", "2001:db8::10"),
    timeout_s=60.0,
)

FULL = replace(
    SETTINGS,
    state_sync=STATE_SYNC,
    vips=(
        VIP,
        replace(
            VIP,
            vhid=2,
            unicast=("192.0.2.2",),
            virtual_mac=True,
            wire=SetSettings(("192.0.2.10",), "old"),
            accept=(SetSettings(("192.0.2.11",), "older"),),
        ),
    ),
)
"""With everything that settings can hold."""

REPORT = report(
    vip(
        "MASTER",
        reason="no advert for 3.4 s",
        since_boot_s=12.5,
        advertised=240,
        transitions=2,
        handover="no peer took over",
        counters={"accepted": 3},
    ),
    seq=7,
    settings_digest="0123456789abcdef",
    maintenance=True,
    demotion_total=240,
    demotion_reasons={"maintenance": 240},
    devices=(
        DeviceReport(
            device="eth0",
            up=True,
            sources=("192.0.2.1",),
            drops={"badauth": 1},
            received=4,
            accepted=3,
            sent=9,
            send_errors=0,
            vrrp_ids=(51,),
            foreign=(),
            badauth=("192.0.2.2 vhid 1",),
        ),
    ),
    troubles=("no peer took over",),
)


def settings_for(run_dir: Path, **changes: Any) -> Settings:
    """SETTINGS with another run_dir and whatever else is different."""
    return replace(SETTINGS, run_dir=str(run_dir), **changes)
