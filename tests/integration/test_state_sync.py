"""Open connections live through a change of MASTER: the real conntrackd, kept by the real carp process, with NAT."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.settings import StateSync
from syncsrv.failover.statesync import state
from syncsrv.failover.statesync.decide import Order
from tests.failover.carpkit import CarpNode, serve
from tests.integration.natkit import PORT, Connections, Edge, await_said, await_word, edge, synced_nodes
from tests.support.netns import needs_lab
from tests.support.testroot import TestRoot
from tests.support.wait import until

pytestmark = needs_lab

Nodes = tuple[CarpNode, CarpNode]


@pytest.fixture
def net(testroot: TestRoot, short_tmp: Path) -> Iterator[Edge]:
    with edge(testroot, short_tmp) as made:
        yield made


@pytest.fixture
def nodes(net: Edge) -> Iterator[Nodes]:
    with synced_nodes(net) as pair:
        yield pair


def serving(pair: Nodes) -> Nodes:
    """``a`` MASTER of both, and both with the other's table."""
    a, b = serve(pair)
    await_word(a, "ready")
    await_word(b, "ready")
    return a, b


def masters(node: CarpNode) -> CarpNode:
    node.await_state("MASTER", 1)
    node.await_state("MASTER", 2)
    return node


def has_the_bulk(said: state.State) -> bool:
    """What followed its loss of the addresses has ended: until then another failure may reset what is under way."""
    return said.last_order is not None and said.last_order.what == Order.GIVE.words and said.table == "received"


def test_connections_live_through_a_takeover_a_fail_back_a_dead_agent_and_a_reboot(net: Edge, nodes: Nodes) -> None:
    a, b = serving(nodes)
    masters(a)
    with Connections(net, idle=50) as connections:
        assert connections.broken() == []
        net.cables("a", plugged=False)
        masters(b)
        assert connections.broken() == []
        taken = await_said(b, lambda said: said.last_order is not None and said.peer == "heard", "an order")
        assert taken.last_order is not None
        assert (taken.last_order.result, taken.last_order.why) == ("done", "")
        net.cables("a", plugged=True)
        masters(a)
        assert connections.broken() == []
        await_said(b, has_the_bulk, "the whole table")

        a.signal(signal.SIGKILL, a.agent_pid)
        masters(b)
        assert connections.broken() == []
        masters(a)
        assert connections.broken() == []
        await_said(b, has_the_bulk, "the whole table")

        net.cables("a", plugged=False)  # it loses its power: kernel, table and processes are new ones
        masters(b)
        a.end()
        until(lambda: not net.lab.spaces.pids("a"), what="everything of a to have ended")
        net.conntrack("a", "-F")
        net.cables("a", plugged=True)
        a.start()
        report = a.await_report(lambda report: "state-sync" in report.demotion_reasons)
        assert [vip.state for vip in report.vips] != ["MASTER", "MASTER"]
        masters(a)
        said = await_word(a, "ready")
        assert said.table == "received"
        assert "BACKUP -> MASTER: advskew 10 is better than 20 of b" in a.text()
        assert connections.broken() == []
    assert connections.error == ""


def test_without_state_sync_the_same_takeover_breaks_them(net: Edge, nodes: Nodes) -> None:
    for node in nodes:
        node.settings = replace(node.settings, state_sync=None)
    a, b = serve(nodes)
    masters(a)
    with Connections(net, idle=5) as connections:
        assert connections.broken() == []
        net.cables("a", plugged=False)
        masters(b)
        assert len(connections.broken(1.0)) == 6
    assert state.load(a.run_dir) is None


def test_a_conntrackd_that_is_killed_is_started_again_and_only_a_backup_is_demoted_meanwhile(
    net: Edge, nodes: Nodes
) -> None:
    a, b = serving(nodes)
    for node in (a, b):
        was = state.load(node.run_dir)
        assert was is not None
        assert was.pid is not None
        os.kill(was.pid, signal.SIGKILL)
        dead = await_word(node, "dead")
        assert "conntrackd was ended by SIGKILL" in dead.reason
        if node is b:
            b.await_report(lambda report: report.demotion_reasons == {"state-sync": 240})
        now = await_word(node, "ready")
        assert now.pid not in (None, was.pid)
    b.await_report(lambda report: not report.demotion_reasons)
    report = a.report()
    assert report is not None
    assert [vip.transitions for vip in report.vips] == [2, 2], "a MASTER stayed what it was"


def test_what_the_cut_cable_of_the_tables_kept_back_is_asked_for_when_it_is_whole(net: Edge, nodes: Nodes) -> None:
    a, b = serving(nodes)
    net.sync_cable(plugged=False)
    assert await_word(a, "alone").remedy
    assert await_word(b, "alone").peer == "silent"
    with Connections(net, idle=1) as connections:
        assert connections.broken() == []
        assert f"dport={PORT}" in net.conntrack("a", "-L")
        assert f"dport={PORT}" not in net.conntrack("b", "-L")
        net.sync_cable(plugged=True)
        await_word(b, "ready")
        until(lambda: net.conntrack("b", "-L").count(f"dport={PORT} ") >= 2, what="both to be known at b")
    for node in (a, b):
        report = node.report()
        assert report is not None
        assert not report.demotion_reasons, "connections are no reason to move what works"


def test_what_keeps_conntrackd_from_working_is_said_and_failover_works_on(net: Edge, nodes: Nodes) -> None:
    a, b = nodes
    a.path = os.environ["PATH"]
    with net.lab.spaces.entered("b"):
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("10.97.0.2", 3780))
    with other:
        serve(nodes)
        missing = await_word(a, "missing")
        assert missing.reason.startswith("conntrackd is not installed")
        assert missing.remedy.startswith("`apt install conntrackd`")
        used = await_word(b, "dead")
        assert used.reason == "UDP port 3780 is in use by another program"
        assert "`systemctl disable --now conntrackd`" in used.remedy
        net.cables("a", plugged=False)
        masters(b)
    await_word(b, "waiting")
    b.apply(
        replace(b.settings, state_sync=replace(wanted_of(b), links=(replace(wanted_of(b).links[0], device="no0"),)))
    )
    assert await_word(b, "dead").reason.startswith("there is no device no0")
    b.apply(replace(b.settings, state_sync=None))
    until(lambda: state.load(b.run_dir) is None, what="the keeper to end with its configuration")


def wanted_of(node: CarpNode) -> StateSync:
    assert node.settings.state_sync is not None
    return node.settings.state_sync


def test_a_lone_node_waits_for_its_time_and_serves_all_the_while(net: Edge) -> None:
    with synced_nodes(net, timeout_s=4.0) as (a, _):
        masters(a.start())
        a.await_report(lambda report: report.demotion_reasons == {"state-sync": 240})
        waiting = await_word(a, "waiting")
        assert waiting.table == "awaited"
        a.await_report(lambda report: not report.demotion_reasons)
        alone = await_word(a, "alone")
        assert (alone.table, alone.peer) == ("timed out", "silent")
        assert a.report() is not None
        with Connections(net, idle=2) as connections:
            assert connections.broken() == []


def test_nothing_outlives_the_guardian_and_a_keeper_that_is_killed_is_replaced(net: Edge, nodes: Nodes) -> None:
    a, _ = nodes
    masters(a.start())
    first = await_said(a, lambda said: said.pid is not None, "a conntrackd")
    assert first.pid is not None
    keeper = parent(first.pid)
    assert argv(keeper)[-1] == "statesync"
    assert parent(keeper) == a.pid
    assert scheduling(keeper) == scheduling(first.pid) == os.SCHED_OTHER
    assert capabilities(first.pid) == 1 << 12, "CAP_NET_ADMIN, and no other"
    os.kill(keeper, signal.SIGKILL)
    second = await_said(a, lambda said: said.pid not in (None, first.pid), "another conntrackd")
    assert second.pid is not None
    a.signal(signal.SIGKILL)
    until(lambda: not net.lab.spaces.pids("a"), what="everything to have ended")


@pytest.mark.long
def test_a_conntrackd_that_hangs_is_replaced(net: Edge, nodes: Nodes) -> None:
    a, _ = nodes
    a.start()
    first = await_said(a, lambda said: said.peer == "silent", "a conntrackd that answers")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)
    assert "conntrackd does not answer: no answer within 3 s" in await_word(a, "dead").reason
    await_said(a, lambda said: said.pid not in (None, first.pid) and said.word == "waiting", "another one", 30)


def argv(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def scheduling(pid: int) -> int:
    return os.sched_getscheduler(pid)


def parent(pid: int) -> int:
    return int(status(pid, "PPid"))


def capabilities(pid: int) -> int:
    return int(status(pid, "CapEff"), 16)


def status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
