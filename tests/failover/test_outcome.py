"""What came of giving VIPs away, as reports tell it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncsrv.failover.messages import Report, VipReport
from syncsrv.failover.outcome import Outcome, outcome, served, together, told

VIP = VipReport(
    vhid=1, interface="lan", device="eth0", state="MASTER", reason="", since_boot_s=1.0, addresses=("192.0.2.10/24",),
    held=(), advbase=1, advskew=0, advertised=0, master_source="", master_peer="", master_advskew=-1, heard_age_s=-1.0,
    transitions=1, handover="", conflicts=(), counters={},
)  # fmt: skip


def report(*vips: VipReport) -> Report:
    return Report(
        seq=1, pid=2, guardian_pid=1, node="fw1", timing="real-time", settings_digest="", disabled=False,
        maintenance=True, switchover=False, hold_preempt="", ready=True, demotion_total=0, demotion_reasons={},
        hold_down_s=0.0, vips=vips, devices=(), troubles=(),
    )  # fmt: skip


TAKEN: list[dict[str, Any]] = [
    {"state": "BACKUP", "handover": "taken by fw2 (192.0.2.2)", "master_source": "192.0.2.2", "master_peer": "fw2"},
    {"state": "INIT", "handover": "taken by fw2"},
    {"state": "INIT", "handover": "taken by fw2 (192.0.2.2)"},
    {"state": "BACKUP", "master_source": "192.0.2.2", "master_peer": "fw2"},
]
WAITING: list[dict[str, Any]] = [
    {"handover": "under way"},
    {"handover": ""},
    {"handover": "taken by fw2"},
    {"state": "BACKUP"},
    {"state": "INIT", "master_source": "192.0.2.2"},
]


@pytest.mark.parametrize("other", TAKEN)
def test_taken(other: dict[str, Any]) -> None:
    assert outcome(["1@lan"], report(replace(VIP, **other))) == Outcome({"1@lan": "fw2"}, (), ())


def test_taken_by_somebody_without_a_name() -> None:
    taken = replace(VIP, state="BACKUP", handover="taken by 192.0.2.7", master_source="192.0.2.7")
    assert outcome(["1@lan"], report(taken)).taken == {"1@lan": "192.0.2.7"}


@pytest.mark.parametrize("other", WAITING)
def test_not_decided_yet(other: dict[str, Any]) -> None:
    """A MASTER has given nothing away, whatever an earlier handover came to; and INIT is no handover by itself."""
    assert outcome(["1@lan"], report(replace(VIP, **other))) == Outcome({}, (), ("1@lan",))


@pytest.mark.parametrize("state", ["MASTER", "INIT"])
def test_nobody_took_it(state: Any) -> None:
    assert outcome(["1@lan"], report(replace(VIP, state=state, handover="no peer took over"))).kept == ("1@lan",)


def test_a_vip_that_is_gone_is_not_decided() -> None:
    assert outcome(["2@wan"], report(VIP)).waiting == ("2@wan",)


def test_in_words() -> None:
    found = Outcome({"1@lan": "fw2", "2@wan": "fw2", "3@dmz": "192.0.2.7"}, ("4@lan",), ("5@lan",))
    assert told(found) == "fw2 serves 1@lan and 2@wan; 192.0.2.7 serves 3@dmz; nobody took 4@lan and 5@lan"
    assert together(["a", "b", "c"]) == "a, b and c"
    assert served(report(VIP, replace(VIP, vhid=2, state="BACKUP"))) == ("1@lan",)
