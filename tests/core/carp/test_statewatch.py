"""The tables of connections as a whole core sees them: the keeper's file, a peer's facts, status and troubles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.clock import booted_s
from syncsrv.control.shapes import Facts, FactsRequest, Status
from syncsrv.control.shapes_statesync import StateSync, StateSyncInfo
from syncsrv.core.carp.statewatch import LASTS_S, StateWatch
from syncsrv.core.peers import Heard
from syncsrv.failover.statesync import state as keeper
from tests.core.carp.carpkit import VIPS, one_node, running
from tests.core.carp.test_statetable import DEAD, ORDER, READY, SAID
from tests.core.corekit import Node
from tests.support.netns import Lab, needs_lab

pytestmark = needs_lab

WELL = replace(SAID, last_order=replace(ORDER, result="done", why=""))


class Scene:
    """fw1 with an address, what its keeper says, and what fw2 said last."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.at = 1000.0
        self.book: dict[str, Heard] = {}
        self.watch = StateWatch(node.core.carp, lambda: self.book, self)

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def keeper_says(self, said: keeper.State) -> None:
        keeper.store(self.node.home / "run", replace(said, at_boot_s=booted_s()))

    def fw2_says(self, said: StateSync, *, reachable: bool = True) -> None:
        facts = self.node.ask("facts", FactsRequest())
        assert isinstance(facts, Facts)
        self.book = {"fw2": Heard(replace(facts, node="fw2", state_sync=said), self.at, misses=0 if reachable else 9)}

    def troubles(self) -> tuple[str, ...]:
        self.watch.look()
        found = self.node.ask("status")
        assert isinstance(found, Status)
        assert found.failover.troubles == self.watch.troubles()
        return self.watch.troubles()


@pytest.fixture
def scene(short_tmp: Path) -> Iterator[Scene]:
    lab = Lab("a")
    lab.address("a", "eth0", "192.0.2.1/24")
    vips = f"{VIPS}state_sync: {{engine: conntrackd, interface: lan}}\n"
    with lab.entered("a"), one_node(short_tmp, vips) as node, running(node):
        yield Scene(node)
    lab.close()


def test_status_and_facts_have_what_the_keeper_says(scene: Scene) -> None:
    status = scene.node.ask("status")
    assert isinstance(status, Status)
    assert isinstance(status.state_sync, StateSyncInfo)
    assert status.state_sync.word == "unknown"
    scene.keeper_says(SAID)
    status, facts = scene.node.ask("status"), scene.node.ask("facts", FactsRequest())
    assert isinstance(status, Status)
    assert isinstance(facts, Facts)
    for found in (status.state_sync, facts.state_sync):
        assert isinstance(found, StateSyncInfo)
        assert (found.word, found.entries, found.lag, found.errors) == ("ready", 500, 3, {"lost": 2})
        assert [link.interface for link in found.links] == ["lan"]
        assert found.age_s is not None
        assert found.age_s < 5


def test_a_file_of_somebody_else_says_nothing(scene: Scene) -> None:
    (scene.node.home / "run" / keeper.FILE).write_text("{}")
    assert "cannot tell how the state sync is: format: is missing" in scene.troubles()[0]


def test_troubles_come_and_go(scene: Scene) -> None:
    scene.keeper_says(SAID)
    assert "did not do what it was told" in scene.troubles()[0]
    scene.keeper_says(WELL)
    assert scene.troubles() == ()
    scene.fw2_says(DEAD)
    (said,) = scene.troubles()
    assert said.startswith("a failover now breaks open connections: fw2 does not take this node's: conntrackd ended")
    scene.fw2_says(DEAD, reachable=False)
    assert scene.troubles() == (), "that it is away is said elsewhere"
    scene.fw2_says(READY)
    assert scene.troubles() == ()


def test_tables_are_far_apart_only_when_they_stay_so(scene: Scene) -> None:
    scene.keeper_says(WELL)
    scene.fw2_says(replace(READY, entries=3))
    assert scene.troubles() == ()
    scene.at += LASTS_S - 0.1
    assert scene.troubles() == ()
    scene.at += 0.1
    assert scene.troubles() == (
        "this node carries 470 connections, and fw2 knows 3: a failover now breaks open connections; "
        "see the errors and the lag of both",
    )
    scene.fw2_says(READY)
    assert scene.troubles() == ()
    scene.fw2_says(replace(READY, entries=3))
    assert scene.troubles() == (), "the time begins anew"


def test_one_that_does_not_hear_the_other_is_reported_only_when_it_stays_so(scene: Scene) -> None:
    """A node that has just lost power is still taken for reachable, and no packet filter is at fault."""
    scene.keeper_says(replace(WELL, word="alone", peer="silent"))
    scene.fw2_says(READY)
    assert scene.troubles() == ()
    scene.at += LASTS_S - 0.1
    assert scene.troubles() == ()
    scene.book["fw2"] = replace(scene.book["fw2"], misses=1)
    scene.at += 0.1
    assert scene.book["fw2"].reachable
    assert scene.troubles() == (), "it may have lost power"
    scene.fw2_says(READY)
    assert scene.troubles() == (), "the time begins anew"
    scene.at += LASTS_S
    assert scene.troubles() == (
        "fw2 answers, but the conntrackd of one node does not hear the other's: a failover now breaks open "
        "connections; let UDP port 3780 through on lan (eth0) of both",
    )
