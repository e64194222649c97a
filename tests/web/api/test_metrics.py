from __future__ import annotations

import math
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from syncsrv.control.shapes import JobInfo, LastSync, PeerInfo, Status, SyncInfo
from syncsrv.control.shapes_failover import UNREPORTED, Demotion, DeviceInfo, FailoverInfo, VipInfo
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.control.shapes_statesync import StateSyncInfo
from syncsrv.web.api.carpmetrics import STATES
from syncsrv.web.api.metrics import render

SYNC = SyncInfo(
    "drifted",
    "",
    "",
    "sync/000001",
    {},
    2,
    ("/a", "/b"),
    None,
    None,
    None,
    LastSync("j", "done", "2026-01-02T03:04:05Z"),
)
NGINX = ServiceInfo("nginx", "running", None, 1, True, "ok", "")
VIP = VipInfo(1, "lan", "eth0", "MASTER", (), None, "", transitions=3, counters={"sent": 70, "accepted": 2})
DEVICE = DeviceInfo("eth0", ("lan",), True, received=12, accepted=2, sent=70, drops={"badauth": 10, "own": 0})
RUNS = FailoverInfo(configured=True, running=True, devices=(DEVICE,), age_s=0.5)
PEER = PeerInfo(
    *("backup", True, "", 3.5, "1", "in_sync", "", ""),
    behind=1,
    drift=("/x",),
    demotion=Demotion(240, {"maintenance": 240}),
    vips=(replace(VIP, state="BACKUP"),),
    failover=replace(RUNS, age_s=4.5),
)
STATUS = Status(
    node="fw1",
    role="master",
    version="1.2",
    cluster='the "edge"\n',
    head=None,
    last_tag=None,
    untagged=3,
    sync=SYNC,
    peers={"fw2": PEER},
    services=(
        replace(NGINX, memory=2048, restarts=0),
        replace(NGINX, name="db", state="failed", health="failing", restart_pending=False),
    ),
    vips=(VIP,),
    failover=RUNS,
    jobs=(JobInfo("1", "sync", "running", "", ""), JobInfo("2", "sync", "done", "", "")),
    left_out=(LeftOutInfo("/s", "app", "socket", ""), LeftOutInfo("/t", "app", "socket", "")),
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(status: Status | None, *, as_openmetrics: bool = False) -> Samples:
    text, _ = render(status, as_openmetrics=as_openmetrics)
    families = (parse_openmetrics if as_openmetrics else parse)(text.decode())
    return {
        (one.name.removeprefix("syncsrv_"), frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_the_status_as_numbers(as_openmetrics: bool) -> None:
    found = scrape(STATUS, as_openmetrics=as_openmetrics)
    assert value(found, "up") == 1
    assert value(found, "build_info", node="fw1", cluster='the "edge"\n', version="1.2") == 1
    assert value(found, "role", node="fw1", role="master") == 1
    assert value(found, "role", node="fw1", role="backup") == 0
    assert value(found, "role", node="fw2", role="backup") == 1
    assert value(found, "state", node="fw1", state="drifted") == 1
    assert value(found, "state", node="fw2", state="in_sync") == 1
    assert value(found, "state", node="fw2", state="unreachable") == 0
    assert value(found, "behind_commits", node="fw1") == 2
    assert value(found, "behind_commits", node="fw2") == 1
    assert value(found, "drift_files", node="fw1") == 2
    assert value(found, "untagged_commits") == 3
    assert value(found, "maintenance") == 0
    assert value(found, "jobs_running") == 1
    assert value(found, "peer_reachable", peer="fw2") == 1
    assert value(found, "peer_age_seconds", peer="fw2") == 3.5
    assert value(found, "service_running", node="fw1", service="nginx") == 1
    assert value(found, "service_running", node="fw1", service="db") == 0
    assert value(found, "service_healthy", node="fw1", service="db") == 0
    assert value(found, "service_restart_pending", node="fw1", service="nginx") == 1
    assert value(found, "service_memory_bytes", node="fw1", service="nginx") == 2048
    assert value(found, "service_restarts", node="fw1", service="nginx") == 0
    assert value(found, "service_memory_bytes", node="fw1", service="db") is None
    assert value(found, "service_restarts", node="fw1", service="db") is None
    assert value(found, "vip_master", node="fw1", vhid="1", interface="lan") == 1
    assert value(found, "demotion", node="fw2") == 240
    assert value(found, "last_sync_result", node="fw1", result="done") == 1
    assert value(found, "last_sync_timestamp_seconds") == 1767323045
    assert value(found, "left_out_files", area="app", reason="socket") == 2


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_failover_as_numbers(as_openmetrics: bool) -> None:
    found = scrape(STATUS, as_openmetrics=as_openmetrics)
    lan = {"vhid": "1", "interface": "lan"}
    for node, state in (("fw1", "MASTER"), ("fw2", "BACKUP")):
        held = {one: value(found, "carp_state", node=node, state=one, **lan) for one in (*STATES, "UNKNOWN")}
        assert held == {one: float(one == state) for one in held}
    assert value(found, "vip_master", node="fw2", **lan) == 0
    assert value(found, "carp_running", node="fw2") == 1
    assert value(found, "carp_transitions_total", node="fw1", **lan) == 3
    assert value(found, "carp_adverts_sent_total", node="fw1", **lan) == 70
    assert value(found, "carp_adverts_accepted_total", node="fw1", **lan) == 2
    assert value(found, "demotion", node="fw1") == 0
    assert value(found, "carp_demotion", node="fw2", reason="maintenance") == 240
    assert value(found, "carp_packets_dropped_total", node="fw1", device="eth0", reason="badauth") == 10
    assert value(found, "carp_packets_dropped_total", node="fw1", device="eth0", reason="own") == 0
    assert value(found, "carp_packets_received_total", node="fw1", device="eth0") == 12
    assert value(found, "carp_send_errors_total", node="fw1", device="eth0") == 0
    assert value(found, "carp_link_up", node="fw1", device="eth0") == 1
    assert value(found, "carp_reading_age_seconds", node="fw1") == 0.5
    assert value(found, "carp_reading_age_seconds", node="fw2") == 4.5


AWAY = FailoverInfo(configured=True, why="it ended")
UNKNOWN = replace(VIP, state="UNKNOWN", counters={})


@pytest.mark.parametrize(
    "peer",
    [
        replace(PEER, reachable=False),
        replace(PEER, vips=(UNKNOWN,), failover=AWAY, demotion=Demotion(240, {"maintenance": 240, UNREPORTED: 0})),
    ],
)
def test_what_a_silent_node_holds_is_unknown_and_never_0(peer: PeerInfo) -> None:
    found = scrape(replace(STATUS, peers={"fw2": peer}))
    of_fw2 = {
        (name, dict(labels).get("state", "")): one
        for (name, labels), one in found.items()
        if dict(labels).get("node") == "fw2" and (name.startswith(("carp", "vip")) or name == "demotion")
    }
    age = of_fw2.pop(("carp_reading_age_seconds", ""), None)
    running = of_fw2.pop(("carp_running", ""), None)
    assert of_fw2 == {("carp_state", "UNKNOWN"): 1.0}
    assert (age, running) == ((4.5, None) if not peer.reachable else (None, 0.0))


def test_a_node_without_virtual_addresses_has_none_of_it() -> None:
    found = scrape(replace(STATUS, vips=(), failover=FailoverInfo(), peers={}))
    assert [name for name, _ in found if name.startswith(("carp", "vip"))] == []


TABLE = StateSyncInfo(
    "conntrackd", "ready", "", "", "multicast", 3780, (), 77, 500, 470, 480, "heard", 2, {"lost": 3}, "received",
    age_s=0.4,
)  # fmt: skip


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_the_tables_of_connections_as_numbers(as_openmetrics: bool) -> None:
    dead = replace(TABLE, word="dead", table="timed out", age_s=3.4)
    found = scrape(
        replace(STATUS, state_sync=TABLE, peers={"fw2": replace(PEER, state_sync=dead)}), as_openmetrics=as_openmetrics
    )
    for node, up, table, age_s in (("fw1", 1, 1, 0.4), ("fw2", 0, 0, 3.4)):
        assert value(found, "state_sync_up", node=node) == up
        assert value(found, "state_sync_table_received", node=node) == table
        assert value(found, "state_sync_age_seconds", node=node) == age_s
        assert value(found, "state_sync_entries", node=node) == 500
        assert value(found, "state_sync_carried", node=node) == 470
        assert value(found, "state_sync_received_total", node=node) == 480
        assert value(found, "state_sync_lag", node=node) == 2
        assert value(found, "state_sync_errors_total", node=node, error="lost") == 3
    assert value(found, "state_sync_state", node="fw1", state="ready") == 1
    assert value(found, "state_sync_state", node="fw2", state="dead") == 1
    assert value(found, "state_sync_state", node="fw2", state="unknown") == 0


def test_a_table_of_which_nothing_is_known_has_its_age_alone() -> None:
    old = replace(TABLE, word="unknown", age_s=60.0)
    found = scrape(replace(STATUS, state_sync=old))
    assert {key: one for key, one in found.items() if key[0].startswith("state_sync")} == {
        ("state_sync_state", frozenset({("node", "fw1"), ("state", "unknown")})): 1,
        ("state_sync_age_seconds", frozenset({("node", "fw1")})): 60.0,
    }
    assert not [name for name, _ in scrape(STATUS) if name.startswith("state_sync")]


def test_what_is_not_known_is_left_out() -> None:
    unheard = PeerInfo(None, False, None, None, None, "unknown", "", "")
    services = (replace(NGINX, state="unknown", health="none"),)
    found = scrape(replace(STATUS, peers={"fw2": unheard}, services=services, sync=replace(SYNC, last=None)))
    assert value(found, "peer_reachable", peer="fw2") == 0
    assert value(found, "state", node="fw2", state="unknown") == 1
    assert value(found, "peer_age_seconds", peer="fw2") is None
    assert value(found, "behind_commits", node="fw2") is None
    assert value(found, "drift_files", node="fw2") is None
    assert value(found, "demotion", node="fw2") is None
    assert value(found, "role", node="fw2", role="master") is None
    assert value(found, "service_running", node="fw1", service="nginx") is None
    assert value(found, "service_healthy", node="fw1", service="nginx") is None
    assert not any(name.startswith("last_sync") for name, _ in found)


def test_exactly_one_state_holds_also_where_it_is_a_new_one() -> None:
    found = scrape(replace(STATUS, sync=replace(SYNC, state="brand_new")))
    held = [dict(labels)["state"] for (name, labels), one in found.items() if name == "state" and one]
    assert sorted(held) == ["brand_new", "in_sync"]


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_without_core_there_is_one_number(as_openmetrics: bool) -> None:
    assert scrape(None, as_openmetrics=as_openmetrics) == {("up", frozenset()): 0}


def test_numbers_are_finite_and_names_are_ours() -> None:
    text, content_type = render(STATUS, as_openmetrics=False)
    assert content_type.startswith("text/plain")
    assert all(line.startswith(("#", "syncsrv_")) for line in text.decode().splitlines())
    assert all(math.isfinite(one) for one in scrape(STATUS).values())
    text, content_type = render(STATUS, as_openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
