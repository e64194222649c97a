"""``syncsrv vip``: what a person reads of it, what a program does, and what works while core is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncsrv.clock import SystemClock, booted_s, rfc3339
from syncsrv.control.codec import decode_reply
from syncsrv.control.shapes import PeerInfo, Status
from syncsrv.control.shapes_failover import (
    UNREPORTED,
    Demotion,
    DeviceInfo,
    FailoverInfo,
    VipInfo,
    VipReply,
    VipRequest,
)
from syncsrv.control.shapes_statesync import StateOrder, StateSyncInfo
from syncsrv.errors import UsageError
from syncsrv.failover import intent as intents
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Apply, Report, VipReport
from syncsrv.failover.statesync import state as keeper
from syncsrv.single import only_one
from tests.cli.test_status import MASTER
from tests.cli.toycore import Toy
from tests.core.carp.fakecarp import DEVICE, NOTHING, FakeCarp
from tests.core.carp.test_statetable import SAID

SERVES = VipInfo(
    1, "lan", "eth0", "MASTER", ("192.0.2.10/24", "2001:db8::10/64"), None, "no advert for 3.4 s", master_node="fw1"
)
WAN = VipInfo(2, "wan", "eth1", "BACKUP", ("198.51.100.10/24",), None, "fw2 is better", master_node="fw2")
HOLD = FailoverInfo(configured=True, running=True, timing="real-time", age_s=0.1)
PEER = PeerInfo("backup", True, "2026-11-23T02:13:04Z", 3.1, "1.0", "in_sync", "", "", failover=HOLD)
TABLE = StateSyncInfo(
    "conntrackd", "ready", "tables go to and fro", "", "multicast", 3780, (), 77, 500, 470, 480, "heard", 0,
    table="received", age_s=0.4,
)  # fmt: skip
STATUS = replace(MASTER, vips=(SERVES, WAN), failover=HOLD, peers={"fw2": PEER}, services=(), notices=())


def lines(toy: Toy, status: Status, *argv: str) -> list[str]:
    toy.will("status", status)
    said = toy.cli("vip", *argv)
    assert (said.status, said.err) == (0, "")
    return said.out.splitlines()


# -- status


def test_who_serves_what_is_the_first_line(toy: Toy) -> None:
    since = rfc3339(SystemClock().utc() - timedelta(hours=3, minutes=12, seconds=30))
    found = lines(toy, replace(STATUS, vips=(replace(SERVES, since=since), WAN)))
    assert found == [
        "fw1: serves 1@lan; fw2 serves 2@wan",
        "  VIP    state   for         addresses                       MASTER  why",
        "  1@lan  MASTER  3 h 12 min  192.0.2.10/24, 2001:db8::10/64  itself  no advert for 3.4 s",
        "  2@wan  BACKUP              198.51.100.10/24                fw2     fw2 is better",
        "fw2, heard 3 s ago: no virtual addresses known",
    ]


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (TABLE, "ready: 500 connections, 470 carried, 480 received, lag 0"),
        (
            replace(TABLE, errors={"lost": 2, "full": 1}, lag=7),
            "ready: 500 connections, 470 carried, 480 received, lag 7, errors: full 1 and lost 2",
        ),
        (
            replace(TABLE, last_order=StateOrder("commit, flush", "failed", "no answer", 0.1, 3.0)),
            "ready: 500 connections, 470 carried, 480 received, lag 0; "
            "its last order (commit, flush) failed: no answer",
        ),
        (
            replace(TABLE, word="dead", reason="conntrackd ended with status 1", remedy="see its log"),
            "dead: conntrackd ended with status 1 (500 connections, 470 carried, 480 received, lag 0); see its log",
        ),
        (
            replace(TABLE, word="unknown", reason="nothing was said", age_s=40.2),
            "unknown: nothing was said (500 connections, 470 carried, 480 received, lag 0, 40 s ago)",
        ),
        (
            replace(TABLE, word="off", reason="sync (eth2) has no address", entries=None, age_s=None, remedy="give it"),
            "off: sync (eth2) has no address; give it",
        ),
    ],
)
def test_the_state_table_has_a_line_on_each_node(toy: Toy, state: StateSyncInfo, line: str) -> None:
    found = lines(toy, replace(STATUS, state_sync=state, peers={"fw2": replace(PEER, state_sync=state)}))
    assert [one for one in found if "state table" in one] == [f"  state table  {line}"] * 2
    toy.will("status", replace(STATUS, state_sync=state))
    assert f"  state table  {line}" in toy.cli("status").out.splitlines()
    toy.will("status", STATUS)
    assert "state table" not in toy.cli("vip").out + toy.cli("status").out


def test_what_is_out_of_the_ordinary_has_a_line(toy: Toy) -> None:
    device = DeviceInfo("eth0", ("lan",), up=False, badauth=("192.0.2.2 vhid 1",))
    failover = replace(
        HOLD, disabled=True, maintenance=True, switchover=True, hold_down_s=90.0, hold_preempt="fw2 is diverged",
        timing="best effort: no right to SCHED_FIFO", troubles=("two nodes serve 1@lan",), devices=(device,),
    )  # fmt: skip
    found = lines(
        toy, replace(STATUS, failover=failover, demotion=Demotion(480, {"maintenance": 240, "link:eth0": 240}))
    )
    assert found[4:-1] == [
        "  disabled     it takes no part in failover; `syncsrv vip enable` ends that",
        "  maintenance  on; `syncsrv vip maintenance off` ends it",
        "  switchover   it gave its addresses away; `syncsrv vip switchover` on it takes them back",
        "  demotion     480 (maintenance 240, link:eth0 240)",
        "  hold-down    it takes nothing over for 90 s more",
        "  waits        fw2 is diverged",
        "  timing       best effort: no right to SCHED_FIFO",
        "  no link      eth0",
        "  refused      192.0.2.2 vhid 1 on eth0: other addresses or another password for that vhid",
        "  trouble      two nodes serve 1@lan",
    ]


def test_what_is_unknown_is_said_to_be(toy: Toy) -> None:
    unknown = replace(SERVES, state="UNKNOWN", reason="the carp process does not run; start it", master_node="")
    failover = FailoverInfo(configured=True, why="the carp process does not run", maintenance=True)
    demotion = Demotion(240, {"maintenance": 240, UNREPORTED: 0})
    found = lines(toy, replace(STATUS, vips=(unknown,), failover=failover, demotion=demotion))
    assert found[0] == "fw1: unknown whether it serves 1@lan"
    assert found[2].split()[:2] == ["1@lan", "UNKNOWN"]
    assert "  demotion     240 at least: the carp process does not answer (maintenance 240)" in found


def test_a_node_that_hears_nobody_says_so(toy: Toy) -> None:
    alone = replace(WAN, master_node="", reason="wan is ready; listening for a MASTER")
    assert lines(toy, replace(STATUS, vips=(alone,)))[0] == "fw1: nobody is heard to serve 2@wan"
    lost = replace(WAN, state="INIT", master_node="", reason="eth1 has no link")
    assert lines(toy, replace(STATUS, vips=(lost,)))[0] == "fw1: takes no part in 2@wan"
    stranger = replace(WAN, master_node="", master="198.51.100.7")
    assert lines(toy, replace(STATUS, vips=(stranger,)))[0] == "fw1: 198.51.100.7 serves 2@wan"


def test_a_peer_that_is_away_is_never_green(toy: Toy) -> None:
    away = replace(PEER, reachable=False, age_s=200.0, vips=(replace(SERVES, master_node="fw2"),))
    found = lines(toy, replace(STATUS, peers={"fw2": away}))
    assert found[4] == "fw2, unreachable, heard 3 min ago: serves 1@lan"


def test_a_node_without_vips(toy: Toy) -> None:
    assert lines(toy, replace(STATUS, vips=(), failover=FailoverInfo())) == ["No virtual addresses are configured."]


def test_for_programs(toy: Toy) -> None:
    toy.will("status", replace(STATUS, maintenance=True))
    for argv in (["vip", "--json"], ["vip", "status", "--json"], ["--json", "vip"]):
        found = toy.cli(*argv).json
        assert found.keys() == {"node", "vips", "demotion", "maintenance", "failover", "state_sync", "peers", "core"}
        assert (found["maintenance"], found["core"], found["vips"][0]["state"]) == (True, "", "MASTER")
        assert found["peers"]["fw2"]["failover"]["running"] is True


def test_status_shows_them_too(toy: Toy) -> None:
    peer = replace(PEER, vips=(WAN,))
    toy.will("status", replace(STATUS, demotion=Demotion(20, {"upgrade": 20}), peers={"fw2": peer}))
    out = toy.cli("status").out
    assert "virtual addresses\n  1@lan  MASTER    192.0.2.10/24" in out
    assert "  demotion     20 (upgrade 20)\n" in out
    assert out.count("2@wan  BACKUP") == 2


# -- orders


@pytest.mark.parametrize(
    ("argv", "request_"),
    [
        (["maintenance", "on"], VipRequest("maintenance-on")),
        (["maintenance", "off"], VipRequest("maintenance-off")),
        (["disable"], VipRequest("disable")),
        (["enable"], VipRequest("enable")),
        (["demote", "upgrade", "20"], VipRequest("demote", "upgrade", 20)),
        (["promote", "upgrade"], VipRequest("promote", "upgrade")),
        (["switchover"], VipRequest("switchover")),
        (["commit", "--now"], VipRequest("commit", now=True)),
    ],
)
def test_an_order_arrives_as_it_was_given(toy: Toy, argv: list[str], request_: VipRequest) -> None:
    toy.will("vip", VipReply(True, "maintenance is on; fw2 serves 1@lan", taken_by={"1@lan": "fw2"}))
    said = toy.cli("vip", *argv)
    assert (said.status, said.out, said.err) == (0, "maintenance is on; fw2 serves 1@lan\n", "")
    assert toy.request("vip") == request_


def test_a_handover_that_did_not_happen_is_no_success(toy: Toy) -> None:
    reply = VipReply(
        False, "maintenance is on; nobody took 1@lan: fw2 does not answer", "see whether fw2 runs", {"1@lan": ""}
    )
    toy.will("vip", reply)
    said = toy.cli("vip", "maintenance", "on")
    assert said.status == 1
    assert said.out == (
        "not done: maintenance is on; nobody took 1@lan: fw2 does not answer\n  what to do: see whether fw2 runs\n"
    )
    said = toy.cli("vip", "maintenance", "on", "--json")
    assert (said.status, said.json["done"], said.json["taken_by"]) == (1, False, {"1@lan": ""})


def test_an_order_that_makes_no_sense_is_an_error_of_usage(toy: Toy) -> None:
    toy.will("vip", UsageError("cannot demote by 0: a weight is 1 to 240"))
    assert toy.cli("vip", "demote", "upgrade", "0").status == 2
    assert toy.cli("vip", "maintenance").status == 2
    assert toy.cli("vip", "maintenance", "perhaps").status == 2
    assert toy.cli("vip", "demote", "upgrade", "much").status == 2


# -- without core


def report(**other: Any) -> Report:
    vip = VipReport(
        vhid=1, interface="lan", device="eth0", state="MASTER", reason="no advert for 3.4 s",
        since_boot_s=booted_s() - 250.0, addresses=("192.0.2.10/24",), held=("192.0.2.10/24",), advbase=1, advskew=0,
        advertised=0, master_source="", master_peer="", master_advskew=-1, heard_age_s=-1.0, transitions=2,
        handover="", conflicts=(), counters={},
    )  # fmt: skip
    return replace(NOTHING, vips=(vip,), devices=(DEVICE,), **other)


@pytest.fixture
def carp(short_tmp: Path, toy: Toy) -> Iterator[FakeCarp]:
    """A carp process whose core has ended."""
    toy.server.close()
    with FakeCarp(short_tmp, report()) as carp:
        yield carp


def taken(report: Report, order: Apply) -> Report:
    (vip,) = report.vips
    vip = replace(
        vip, state="BACKUP", held=(), master_source="192.0.2.2", master_peer="fw2", handover="taken by fw2 (192.0.2.2)"
    )
    return replace(report, vips=(vip,))


def test_status_comes_from_the_carp_process_and_says_so(toy: Toy, carp: FakeCarp) -> None:
    said = toy.cli("vip")
    assert said.status == 0
    assert said.out.splitlines()[0] == "fw1: serves 1@lan"
    assert said.out.splitlines()[2].split()[:4] == ["1@lan", "MASTER", "4", "min"]
    assert "core does not answer (it is not running" in said.err
    assert "from the carp process alone" in said.err


def test_both_ways_have_the_same_fields(toy: Toy, carp: FakeCarp) -> None:
    found = toy.cli("vip", "--json").json
    assert found.keys() == {"node", "vips", "demotion", "maintenance", "failover", "state_sync", "peers", "core"}
    assert found["core"].startswith("cannot ask core at ")
    for shape, value in ((VipInfo, found["vips"][0]), (FailoverInfo, found["failover"]), (Demotion, found["demotion"])):
        decode_reply("vip", shape, value)


def test_the_state_table_is_read_from_its_keeper_then(short_tmp: Path, toy: Toy, carp: FakeCarp) -> None:
    keeper.store(short_tmp, replace(SAID, at_boot_s=booted_s()))
    found: StateSyncInfo = decode_reply("vip", StateSyncInfo, toy.cli("vip", "--json").json["state_sync"])
    assert (found.word, found.entries, found.last_order and found.last_order.result) == ("ready", 500, "failed")
    assert found.age_s is not None
    assert 0 <= found.age_s < 5
    assert "  state table  ready: 500 connections" in toy.cli("vip").out
    keeper.store(short_tmp, replace(SAID, at_boot_s=booted_s() - 60))
    assert "  state table  unknown: nothing was said of conntrackd since" in toy.cli("vip").out
    (short_tmp / keeper.FILE).write_text("{}")
    decode_reply("vip", StateSyncInfo, toy.cli("vip", "--json").json["state_sync"])
    assert "  state table  unknown: cannot tell how the state sync is" in toy.cli("vip").out


def test_an_order_is_written_then_followed(short_tmp: Path, toy: Toy, carp: FakeCarp) -> None:
    on_the_disk: list[Intent] = []

    def does(report: Report, order: Apply) -> Report:
        on_the_disk.append(intents.load(short_tmp))
        return taken(report, order)

    carp.does = does
    said = toy.cli("vip", "maintenance", "on")
    assert said.status == 0
    assert said.out.startswith("maintenance is on; fw2 serves 1@lan; no receipt of it is in the audit trail")
    assert on_the_disk == carp.intents() == [Intent(maintenance=True)]
    assert toy.cli("vip", "demote", "upgrade", "20").status == 0
    assert intents.load(short_tmp) == Intent(maintenance=True, demotions={"upgrade": 20})
    assert toy.cli("vip", "promote", "upgrade").status == 0
    assert intents.load(short_tmp) == Intent(maintenance=True)
    assert (short_tmp / intents.FILE).stat().st_mode & 0o777 == 0o600


def test_a_handover_that_nobody_takes_is_no_success_either(short_tmp: Path, toy: Toy, carp: FakeCarp) -> None:
    carp.does = lambda report, _: replace(
        report, vips=tuple(replace(one, handover="no peer took over") for one in report.vips)
    )
    said = toy.cli("vip", "maintenance", "on", "--json")
    assert (said.status, said.json["done"], said.json["taken_by"]) == (1, False, {"1@lan": ""})
    assert intents.load(short_tmp).maintenance, "it stays on"


def test_an_order_counts_also_where_no_process_runs(short_tmp: Path, toy: Toy) -> None:
    toy.server.close()
    said = toy.cli("vip", "disable")
    assert said.status == 0
    assert "failover is disabled on this node: it is written down and counts from when" in said.out
    assert intents.load(short_tmp).disabled


def test_what_only_core_can_do_is_not_tried(toy: Toy, carp: FakeCarp) -> None:
    for argv in (["switchover"], ["commit"]):
        said = toy.cli("vip", *argv)
        assert said.status == 1
        assert "cannot ask core" in said.err
    assert carp.applied == []


def test_a_name_that_is_taken_is_refused_there_too(short_tmp: Path, toy: Toy, carp: FakeCarp) -> None:
    assert toy.cli("vip", "demote", "maintenance", "20").status == 2
    assert toy.cli("vip", "demote", "upgrade", "241").status == 2
    assert toy.cli("vip", "promote", "upgrade").status == 2
    assert not (short_tmp / intents.FILE).exists()


def test_nothing_is_written_beside_a_core_that_runs(short_tmp: Path, toy: Toy, carp: FakeCarp) -> None:
    with only_one("core", short_tmp / "core.lock"):
        said = toy.cli("vip", "maintenance", "on")
    assert said.status == 1
    assert "core runs and cannot be asked; try again in a moment" in said.err
    assert not (short_tmp / intents.FILE).exists()


def test_neither_of_both_answers(toy: Toy) -> None:
    toy.server.close()
    said = toy.cli("vip", "--json")
    assert said.status == 1
    error = json.loads(said.out)["error"]
    assert error["code"] == "core-away"
    assert "cannot ask the carp process" in error["message"]
