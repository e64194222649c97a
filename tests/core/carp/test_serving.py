"""A node that serves is not changed by accident, and one that begins to serve in the middle of it undoes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.journal import Journal
from syncsrv.control.shapes import SyncRequest
from syncsrv.control.shapes_page import PreviewReply, PreviewRequest
from syncsrv.core.carp import serving
from syncsrv.core.recovery import recover
from syncsrv.failover.messages import VipReport
from tests.core.carp.carpkit import backups, masters, one_node, process, running, two_nodes
from tests.core.carp.fakecarp import FakeCarp
from tests.core.corekit import Node, Pair, steps
from tests.support.wait import until

FORCE = ("target-is-master",)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with two_nodes(tmp_path) as pair:
        pair.power = "admin"
        for node, peer in ((pair.fw1, "fw2"), (pair.fw2, "fw1")):
            peers = node.core.live.config.node.peers
            peers[peer] = peers[peer].model_copy(update={"may": "admin"})
        yield pair


@pytest.fixture
def carp(pair: Pair) -> Iterator[FakeCarp]:
    """The process carp of fw2, which is BACKUP."""
    with running(pair.fw2, backups(pair.fw2)) as carp:
        yield carp


def two_waits(pair: Pair) -> None:
    """Both are equal, and then the master has something else."""
    assert pair.sync().result == "unchanged"
    pair.fw1.put("/etc/app/app.conf", "two")


def becomes(node: Node, carp: FakeCarp, vips: tuple[VipReport, ...]) -> None:
    carp.says(vips=vips)
    states = [vip.state for vip in vips]

    def is_known() -> bool:
        now = node.core.carp.reading.now
        return now is not None and [vip.state for vip in now.vips] == states

    until(is_known, what="core to hear of it")


def shown(pair: Pair) -> dict[str, bool]:
    """Whether the guard fires for fw2 in the preview of each node."""
    found = {}
    for node in (pair.fw1, pair.fw2):
        node.hear()
        reply = node.ask("preview", PreviewRequest("sync"))
        assert isinstance(reply, PreviewReply)
        found[node.name] = FORCE[0] in [one.guard for one in reply.nodes["fw2"].guards]
    return found


def test_a_node_that_serves_takes_a_sync_only_by_force_of_an_admin(pair: Pair, carp: FakeCarp) -> None:
    two_waits(pair)
    becomes(pair.fw2, carp, (masters(pair.fw2)[0], backups(pair.fw2)[1]))
    refused = pair.sync()
    assert (refused.result, refused.guards) == ("refused", FORCE)
    assert refused.reason == (
        "target-is-master: fw2 is MASTER of 1@lan (192.0.2.10/24, 2001:db8::10/64): "
        "what a sync breaks there, people notice at once"
    )
    assert "`syncsrv vip switchover` on fw2" in refused.remedy
    assert "--force target-is-master" in refused.remedy
    assert shown(pair) == {"fw1": True, "fw2": True}
    assert pair.sync(force=FORCE).result == "done"
    assert pair.fw2.text("/etc/app/app.conf") == "two"


def test_an_operator_does_not_force_it(pair: Pair, carp: FakeCarp) -> None:
    pair.power = "operator"
    becomes(pair.fw2, carp, masters(pair.fw2))
    assert pair.sync(force=FORCE).remedy.startswith("--force target-is-master did not count: alice via fw1 is operator")


def test_a_node_of_which_that_cannot_be_told_is_not_changed_either(pair: Pair) -> None:
    with process(pair.fw2, backups(pair.fw2)):  # which core has not asked yet
        assert pair.sync().guards == FORCE
        fired = serving.guard(pair.fw2.core)
        assert fired is not None
        assert fired.saw == (
            "whether fw2 is MASTER of a virtual address cannot be told: the carp process was not asked yet"
        )
        assert shown(pair) == {"fw1": True, "fw2": True}


def test_without_a_carp_process_nothing_is_served(pair: Pair, carp: FakeCarp) -> None:
    carp.close()
    until(lambda: pair.fw2.core.carp.reading.absent, what="the end of the process")
    assert serving.guard(pair.fw2.core) is None
    assert pair.sync().result == "unchanged"
    assert shown(pair) == {"fw1": False, "fw2": False}


@pytest.mark.parametrize("at", ["temp.written", "temp.renamed", "journal.applied"])
def test_a_node_that_begins_to_serve_in_the_middle_puts_everything_back(pair: Pair, carp: FakeCarp, at: str) -> None:
    two_waits(pair)
    pair.fw1.put("/etc/app/more.conf", "two")
    _at(pair.fw2, at, lambda: becomes(pair.fw2, carp, masters(pair.fw2)))
    before = pair.fw2.core.recorder.head()
    ended = pair.sync()
    assert ended.result == "failed"
    assert "fw2 became MASTER of 1@lan (192.0.2.10/24, 2001:db8::10/64), 2@wan" in ended.reason
    assert "no advert for 3.4 s" in ended.reason
    assert "--force target-is-master" in ended.remedy
    assert pair.fw2.text("/etc/app/app.conf") == "one"
    assert not (pair.fw2.root / "etc/app/more.conf").exists()
    if at == "temp.written":
        assert pair.fw2.core.recorder.head() == before
    assert pair.fw2.core.carp.intent.demotions == {}


@pytest.mark.parametrize("at", ["temp.renamed", "journal.applied"])
def test_also_where_no_service_is_told_of_it(pair: Pair, carp: FakeCarp, at: str) -> None:
    two_waits(pair)
    pair.fw1.put("/etc/more.conf", "two")  # one file of an area without services
    _at(pair.fw2, at, lambda: becomes(pair.fw2, carp, masters(pair.fw2)))
    assert "in the middle of it" in pair.sync(areas=("more",)).reason
    assert not (pair.fw2.root / "etc/more.conf").exists()


def test_one_that_was_forced_goes_on(pair: Pair, carp: FakeCarp) -> None:
    two_waits(pair)
    _at(pair.fw2, "temp.renamed", lambda: becomes(pair.fw2, carp, masters(pair.fw2)))
    assert pair.sync(force=FORCE).result == "done"
    assert pair.fw2.text("/etc/app/app.conf") == "two"


def test_a_service_that_follows_is_not_started_by_a_sync_of_a_backup(pair: Pair, carp: FakeCarp) -> None:
    cluster = pair.fw1.etc / "cluster.yaml"
    cluster.write_text(
        cluster.read_text().replace("    manager: command", "    run_on: carp-master\n    manager: command")
    )
    pair.fw1.core.record(via="watch")
    assert pair.sync().result == "done"
    pair.fw1.put("/etc/app/app.conf", "two")
    reply = pair.fw1.do("sync", SyncRequest())
    assert "this node is not MASTER" in steps(reply, "fw2")["reload app"].output
    assert pair.fw2.told() == []


def test_the_node_is_demoted_while_it_is_changed_and_promoted_when_that_is_over(pair: Pair, carp: FakeCarp) -> None:
    seen: list[dict[str, int]] = []
    _at(pair.fw2, "temp.written", lambda: seen.append(dict(carp.report.demotion_reasons)))
    two_waits(pair)
    assert pair.sync().result == "done"
    assert seen[0] == {"unproven": 240}, "the carp process has it before the first file changes"
    assert carp.report.demotion_reasons == {}


def test_when_the_order_was_given_whoever_asks_for_the_status_is_told_so(pair: Pair, carp: FakeCarp) -> None:
    core = pair.fw2.core
    for _ in range(20):
        serving.unproven(core, True)
        assert core.carp.demotion().reasons == {"unproven": 240}
        serving.unproven(core, False)
        assert core.carp.demotion().reasons == {}


def test_a_node_that_serves_goes_on_serving_while_it_is_changed(pair: Pair, carp: FakeCarp) -> None:
    seen: list[dict[str, int]] = []
    two_waits(pair)
    becomes(pair.fw2, carp, masters(pair.fw2))
    _at(pair.fw2, "temp.written", lambda: seen.append(dict(carp.report.demotion_reasons)))
    assert pair.sync(force=FORCE).result == "done"
    assert seen[0] == {}


def test_a_carp_process_that_does_not_answer_holds_nothing_up_for_long(pair: Pair) -> None:
    with process(pair.fw2, backups(pair.fw2)) as carp:
        carp.mute = True
        serving.unproven(pair.fw2.core, True)  # waits two seconds for it, and comes back
        assert pair.fw2.core.carp.intent.demotions == {"unproven": 240}
        assert carp.applied == []


def test_without_vips_nothing_is_demoted_and_an_old_order_is_taken_back(tmp_path: Path) -> None:
    with one_node(tmp_path, vips="") as node:
        serving.unproven(node.core, True)
        assert node.core.carp.intent.demotions == {}
        node.core.carp.set_demotion("unproven", 240)
        serving.unproven(node.core, False)
        assert node.core.carp.intent.demotions == {}


def test_a_start_finds_out_anew_whether_the_node_is_unproven(tmp_path: Path) -> None:
    with one_node(tmp_path) as node:
        node.core.carp.set_demotion("unproven", 240)
        recover(node.core)
        assert node.core.carp.intent.demotions == {}


def test_where_not_all_can_be_put_back_the_node_stays_unproven(pair: Pair, carp: FakeCarp) -> None:
    two_waits(pair)
    journal = pair.fw2.core.engine.parts.journal

    def damage() -> None:
        journal.path.write_text("no journal")

    _at(pair.fw2, "temp.renamed", damage)
    ended = pair.sync()
    assert "not all could be put back" in ended.reason
    assert carp.report.demotion_reasons == {"unproven": 240}
    journal.path.unlink()


def _at(node: Node, point: str, act: Callable[[], object]) -> None:
    """Do something once, when the engine passes a checkpoint."""
    engine, done = node.core.engine, list[str]()

    def checkpoint(name: str) -> None:
        if name == point and not done:
            done.append(name)
            act()

    engine.parts.files.checkpoint = checkpoint
    engine.parts = replace(engine.parts, journal=Journal(node.state, checkpoint))
