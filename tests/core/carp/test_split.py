"""A split brain as a whole core finds it: out of its own reports and its peers' words, with their ages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncsrv.control.shapes import Facts, FactsRequest
from syncsrv.control.shapes_failover import DeviceInfo, VipInfo
from syncsrv.core.carp.split import FRESH_S, TOLD_S, Split, seen
from syncsrv.core.peers import Heard
from syncsrv.failover.messages import PeerServes
from tests.core.carp.carpkit import LAN, WAN, backups, masters, one_node, process
from tests.core.carp.fakecarp import DEVICE, FakeCarp
from tests.core.corekit import Node
from tests.support.wait import until


class Moved:
    """A clock that stands unless it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


@dataclass
class Scene:
    """fw1 with its process carp, and what fw2 said last."""

    node: Node
    carp: FakeCarp
    clock: Moved
    split: Split
    book: dict[str, Heard]

    def fw2_says(self, state: str, *, hears_fw1: bool = False, **other: Any) -> None:
        """A new word of fw2, which comes now."""
        facts = self.node.ask("facts", FactsRequest())
        assert isinstance(facts, Facts)
        contested: Mapping[str, Any] = {"contested_by": "fw1", "contested_s": 0.3} if hears_fw1 else {}
        said = tuple(
            VipInfo(
                one.vhid,
                one.interface,
                one.device,
                state,
                one.addresses,
                None,
                "",
                advskew=100,
                advertised=90,
                **contested,
            )
            for one in facts.vips
        )
        facts = replace(facts, node="fw2", vips=said, **other)
        self.book["fw2"] = Heard(facts, self.clock.at, self.clock.utc())

    def become(self, vips: tuple[Any, ...]) -> None:
        self.carp.says(vips=vips)
        until(lambda: (one := self.node.core.carp.reading.now) is not None and one.vips == vips, what="the report")

    def told(self) -> list[PeerServes]:
        return self.carp.heard_of

    def troubles(self) -> str:
        self.split.look()
        return "\n".join(self.split.troubles())


@pytest.fixture
def scene(short_tmp: Path) -> Iterator[Scene]:
    with one_node(short_tmp) as node, process(node, masters(node)) as carp:
        node.core.carp.start()
        until(lambda: node.core.carp.reading.now is not None, what="the first report")
        clock, book = Moved(), dict[str, Heard]()
        yield Scene(node, carp, clock, Split(node.core.carp, "fw1", clock, lambda: book), book)


def test_two_masters_are_a_takeover_until_a_second_word_says_so(scene: Scene) -> None:
    scene.fw2_says("MASTER", hears_fw1=True)
    assert scene.troubles() == ""
    scene.clock.at += 9
    assert scene.troubles() == "", "that was one word, which may be overtaken"
    scene.fw2_says("MASTER", hears_fw1=True)
    said = scene.troubles()
    assert "1@lan: fw1 and fw2 are both MASTER since 1970-01-01T00:16:40Z: fw2 hears fw1" in said
    assert "2@wan: " in said
    assert said in "\n".join(scene.node.core.carp.info().troubles)
    assert PeerServes("eth0", 1, "fw2", 1, 90, TOLD_S) in scene.told()


def test_a_change_of_state_here_begins_the_count_anew(scene: Scene) -> None:
    scene.fw2_says("MASTER", hears_fw1=True)
    scene.split.look()
    settings = scene.node.core.carp.settings
    scene.become(tuple(replace(one, transitions=4) for one in masters(scene.node)))
    assert settings == scene.node.core.carp.settings
    scene.clock.at += 5
    scene.fw2_says("MASTER", hears_fw1=True)
    assert scene.troubles() == ""
    assert scene.told() == []


def test_where_neither_hears_the_other_nobody_is_told(scene: Scene) -> None:
    for _ in range(3):
        scene.fw2_says("MASTER")
        said = scene.troubles()
        scene.clock.at += 5
    assert "neither hears the other" in said
    assert scene.told() == []


def test_a_deaf_node_is_kept_down_while_the_word_is_fresh_and_no_longer(scene: Scene) -> None:
    for _ in range(2):
        scene.fw2_says("MASTER", hears_fw1=True)
        scene.split.look()
        scene.clock.at += 5
    scene.become(backups(scene.node, master_source="", master_peer="", heard_age_s=-1.0))
    scene.fw2_says("MASTER")
    before = len(scene.told())
    said = scene.troubles()
    assert "1@lan: fw1 does not hear fw2, which is MASTER and did hear fw1" in said
    assert len(scene.told()) == before + 2, "of each VIP, at each look"
    scene.clock.at += FRESH_S + 1
    assert scene.troubles() == ""
    assert len(scene.told()) == before + 2
    scene.fw2_says("MASTER")
    assert scene.troubles() == "", "once free it must be heard again to be believed"


@pytest.mark.parametrize("nonsense", [{"advbase": 999}, {"advbase": -1}, {"advertised": -5}])
def test_a_peer_that_advertises_the_impossible_is_believed_nothing(scene: Scene, nonsense: dict[str, Any]) -> None:
    for _ in range(2):
        scene.fw2_says("MASTER", hears_fw1=True)
        facts = scene.book["fw2"].facts
        assert facts is not None
        facts = replace(facts, vips=tuple(replace(one, **nonsense) for one in facts.vips))
        scene.book["fw2"] = replace(scene.book["fw2"], facts=facts)
        scene.split.look()
        scene.clock.at += 5
    assert scene.told() == []


def test_a_deaf_node_that_hears_again_is_told_nothing(scene: Scene) -> None:
    for _ in range(2):
        scene.fw2_says("MASTER", hears_fw1=True)
        scene.split.look()
        scene.clock.at += 5
    scene.become(backups(scene.node))  # which hear fw2
    scene.fw2_says("MASTER")
    before = len(scene.told())
    assert scene.troubles() == ""
    assert len(scene.told()) == before


def test_a_peer_with_other_sets_is_named_before_anything_happens(scene: Scene) -> None:
    scene.fw2_says("BACKUP", vip_sets={LAN: "another", WAN: scene.node.core.carp.sets()[WAN]})
    assert scene.troubles().startswith("1@lan: fw1 and fw2 have different passwords; each accepts")


def test_strangers_are_found_in_what_the_process_reports(scene: Scene) -> None:
    heard = replace(
        DEVICE, badauth=("192.0.2.2 vhid 1", "192.0.2.9 vhid 1"), foreign=("192.0.2.8 vhid 3",), vrrp_ids=(1,)
    )
    scene.carp.says(devices=(heard,))
    until(lambda: (one := scene.node.core.carp.reading.now) is not None and one.devices == (heard,), what="the report")
    device = DeviceInfo("eth0", ("lan",), True, ("192.0.2.2",))
    facts = scene.node.ask("facts", FactsRequest())
    assert isinstance(facts, Facts)
    scene.fw2_says("MASTER", failover=replace(facts.failover, devices=(device,)))
    scene.become(backups(scene.node))
    said = scene.troubles().split("\n")
    assert [one.partition(":")[0] for one in said] == [LAN, LAN, LAN]
    assert "fw1 drops what fw2 advertises" in said[0]
    assert "192.0.2.9, no node of ours" in said[1]
    assert "a VRRP router with id 1" in said[2]


def test_nothing_is_said_of_what_is_not_known(scene: Scene) -> None:
    scene.fw2_says("BACKUP", vip_sets={LAN: "another"})
    assert scene.troubles()
    scene.carp.close()
    until(lambda: scene.node.core.carp.reading.now is None, what="that it ended")
    assert scene.troubles() == ""


def test_what_a_peer_says_may_be_nonsense() -> None:
    odd = VipInfo(1, "lan", "eth0", "MASTER", ("nonsense", "192.0.2.1/24"), None, "", advertised=300)
    device = DeviceInfo("eth0", ("lan",), True, ("nonsense",), badauth=("192.0.2.9", "x vhid y", "192.0.2.9 vhid 7"))
    found = seen("fw2", (odd,), {}, (device,))
    assert found.vips[LAN].addresses == ("192.0.2.1/24",)
    assert found.vips[LAN].advskew == 254
    assert found.segments["lan"].sources == ()
    assert found.segments["lan"].badauth == (("192.0.2.9", 7),)


def test_a_whole_core_runs_both_by_itself(short_tmp: Path) -> None:
    heard = (replace(DEVICE, vrrp_ids=(1,)),)
    with one_node(short_tmp) as node, process(node, masters(node)) as carp:
        node.app.start()
        carp.says(devices=heard)
        until(lambda: "VRRP router" in "".join(node.core.carp.info().troubles), what="what core finds by itself")
        path = node.etc / "cluster.yaml"
        path.write_text(path.read_text().replace("[192.0.2.10/24, ", "[192.0.2.10/24, 192.0.2.11/24, "))
        node.core.record(via="watch")
        settings = node.core.carp
        until(lambda: len(settings.settings.vips[0].wire_set.addresses) == 3, what="the new set, with no peer to ask")
