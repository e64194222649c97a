"""Failover as two nodes tell of it, for the tests of views and pages: lan and wan, three addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncsrv.control.shapes import PeerInfo, Status
from syncsrv.control.shapes_failover import UNREPORTED, Demotion, DeviceInfo, FailoverInfo, VipInfo
from syncsrv.control.shapes_statesync import NoStateSync, StateLinkInfo, StateOrder, StateSync, StateSyncInfo
from tests.web.views.standings import NOW, backup, master, peer

AT = datetime.fromisoformat(NOW)
LONG_AGO = "2026-11-22T22:05:00Z"
RUNS = FailoverInfo(
    configured=True,
    running=True,
    timing="real-time",
    devices=(DeviceInfo("eth0", ("lan",), True, ("192.0.2.1",)), DeviceInfo("eth1", ("wan",), True, ("198.51.100.1",))),
    age_s=0.4,
)
AWAY = FailoverInfo(configured=True, why="cannot reach the carp process: nobody listens; see that serve runs")
ADDRESSES = {"lan": ("192.0.2.10/24", "2001:db8::10/64"), "wan": ("198.51.100.10/24",)}


def vip(state: str, interface: str = "lan", *, node: str = "", **more: Any) -> VipInfo:
    """One VIP of a node; ``node``: whom it hears as MASTER."""
    addresses = ADDRESSES[interface]
    number = 1 + [*ADDRESSES].index(interface)
    found = VipInfo(number, interface, f"eth{number - 1}", state, addresses, LONG_AGO, f"it is {state}", advertised=0)
    if state == "MASTER":
        found = replace(found, held=addresses)
    if node:
        found = replace(found, master="192.0.2.1", master_node=node, heard_s=0.4, master_advskew=0)
    return replace(found, **more)


def vips(state: str, *, node: str = "", **more: Any) -> tuple[VipInfo, ...]:
    """All of a node, in one state."""
    return tuple(vip(state, interface, node=node, **more) for interface in ADDRESSES)


def serving(**more: Any) -> dict[str, Any]:
    """What a node that holds all tells of itself."""
    return {"vips": vips("MASTER"), "failover": RUNS, **more}


def waiting(node: str = "fw1", **more: Any) -> dict[str, Any]:
    """What a node that is ready behind another one tells of itself."""
    return {"vips": vips("BACKUP", node=node, advskew=100, advertised=100), "failover": RUNS, **more}


def silent(**more: Any) -> dict[str, Any]:
    """What core tells where its carp process does not answer."""
    unknown = vips("UNKNOWN", since=None, reason=AWAY.why, advertised=None)
    return {"vips": unknown, "failover": AWAY, "demotion": Demotion(0, {UNREPORTED: 0}), **more}


def told(**more: Any) -> FailoverInfo:
    """A carp process that runs, with what is different."""
    return replace(RUNS, **more)


def two(here: Mapping[str, Any], there: Mapping[str, Any], state: str = "in_sync") -> Status:
    """fw1's page: what it tells of itself, and what its backup told."""
    return master({"fw2": peer(state, **there)}, **here)


def on_fw2(here: Mapping[str, Any], there: Mapping[str, Any]) -> Status:
    """fw2's page, likewise."""
    fw1: PeerInfo = peer("in_sync", "master", **there)
    return backup("in_sync", {"fw1": fw1}, **here)


TABLE = StateSyncInfo(
    engine="conntrackd",
    word="ready",
    reason="tables go to and fro",
    remedy="",
    way="multicast",
    port=3780,
    links=(StateLinkInfo("sync", "eth2", "10.3.0.1"),),
    pid=77,
    entries=18437,
    carried=18001,
    received=912,
    peer="heard",
    lag=0,
    table="received",
    last_order=StateOrder("commit, flush, resync, bulk update", "done", "", 0.04, 312.0),
    age_s=0.3,
)


def tables(here: StateSync, there: StateSync, *troubles: str) -> Status:
    """fw1 serves, fw2 waits, and what conntrackd says on both; ``troubles``: what fw1 found wrong."""
    return two(serving(state_sync=here, failover=told(troubles=troubles)), waiting(state_sync=there))


TABLES: Mapping[str, Status] = {
    "ready": tables(TABLE, replace(TABLE, entries=18431, lag=3)),
    "waiting": tables(TABLE, replace(TABLE, word="waiting", table="awaited", reason="it waits for the table of fw1")),
    "alone": tables(replace(TABLE, word="alone", peer="silent", reason="no other node is heard"), TABLE),
    "dead": tables(
        TABLE,
        replace(TABLE, word="dead", reason="conntrackd ended with status 1", remedy="see its log", pid=None),
        "a failover now breaks open connections: fw2 does not take this node's: conntrackd ended with status 1; "
        "see its log",
    ),
    "missing": tables(
        TABLE,
        replace(
            TABLE, word="missing", reason="conntrackd is not installed", remedy="`apt install conntrackd`", pid=None
        ),
    ),
    "off": tables(TABLE, replace(TABLE, word="off", reason="sync (eth2) has no address", links=(), entries=None)),
    "unknown": tables(TABLE, replace(TABLE, word="unknown", reason="nothing was said for 40 s", age_s=40.0)),
    "timed out": tables(TABLE, replace(TABLE, table="timed out")),
    "one has none": tables(TABLE, NoStateSync()),
    "failed order": tables(
        replace(
            TABLE,
            errors={"lost": 2, "full": 1},
            last_order=StateOrder("commit, flush", "failed", "conntrackd did not answer", 3.0, 12.0),
        ),
        TABLE,
    ),
    "far apart": tables(
        TABLE,
        replace(TABLE, entries=3),
        "this node knows 18437 connections, fw2 3: a failover now breaks open connections; see the errors",
    ),
    "a newer word": tables(TABLE, replace(TABLE, word="dreaming", table="dreamt", peer="dreamer")),
}
"""Every state of the tables of connections."""

STANDINGS: Mapping[str, Status] = {
    "serves": two(serving(), waiting()),
    "backup serves": two(waiting("fw2"), serving()),
    "two masters": two(serving(), serving()),
    "nobody": two(
        {"vips": vips("INIT", reason="eth0 has no link"), "failover": RUNS},
        {"vips": vips("INIT"), "failover": told(disabled=True)},
    ),
    "unknown": two(silent(), waiting()),
    "unknown there": two(serving(), silent()),
    "unreachable": two(serving(), waiting(), "unreachable"),
    "maintenance": two(
        waiting("fw2", failover=told(maintenance=True), demotion=Demotion(240, {"maintenance": 240})), serving()
    ),
    "not taken": two(
        serving(failover=told(maintenance=True), demotion=Demotion(240, {"maintenance": 240})),
        {"vips": vips("INIT", reason="eth0 has no link"), "failover": RUNS},
    ),
    "demoted": two(serving(), waiting(demotion=Demotion(240, {"link:eth1": 240}))),
    "held back": two(waiting("fw2", failover=told(hold_preempt="fw2 is diverged")), serving()),
    "apart": two(
        {"vips": (vip("MASTER"), vip("INIT", "wan", reason="eth1 has no link")), "failover": RUNS},
        {"vips": (vip("BACKUP", node="fw1"), vip("MASTER", "wan")), "failover": RUNS},
    ),
    "alone": master({}, **serving()),
    "stranger": two(waiting("", vips=vips("BACKUP", master="192.0.2.9", heard_s=0.2)), waiting("")),
}
"""Every state that the page has to say something else about."""
