"""Two cores with their real processes carp: sets of addresses and passwords change, and exactly one stays MASTER."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from syncsrv.core.carp.split import Split
from syncsrv.failover.asking import Client
from syncsrv.failover.messages import Report
from syncsrv.failover.settings import SetSettings
from tests.core.carp.carpkit import order, two_nodes
from tests.core.corekit import Node
from tests.integration.test_failover_orders import VIPS, Two, process
from tests.support.lab import VIP, VIP6, lab
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(120)]

MORE = "10.99.0.101"


@dataclass
class Watched(Two):
    """Both nodes, and how often each has changed its state."""

    splits: dict[str, Split] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        return self.pair.nodes[name]

    def report(self, name: str) -> Report:
        with Client(self.node(name).home / "run") as client:
            return client.report()

    def transitions(self) -> dict[str, int]:
        return {name: self.report(name).vips[0].transitions for name in self.pair.nodes}

    def refused(self, name: str) -> int:
        """How many adverts had a digest that is not accepted."""
        return sum(device.drops.get("badauth", 0) for device in self.report(name).devices)

    def wire(self, name: str) -> SetSettings:
        return self.node(name).core.carp.settings.vips[0].wire_set

    def adverts(self, count: int) -> None:
        """Wait until fw2 has accepted so many more adverts of fw1: it takes over after three that it does not."""

        def accepted() -> int:
            return sum(device.accepted for device in self.report("fw2").devices)

        wanted = accepted() + count
        until(lambda: accepted() >= wanted, 10, f"{count} adverts")

    def look(self) -> None:
        """A round of all that cores do each second."""
        self.hear()
        for name, node in self.pair.nodes.items():
            node.core.declaring.look()
            self.splits[name].look()

    def edit(self, name: str, was: str, now: str) -> None:
        path = self.node(name).etc / "cluster.yaml"
        text = path.read_text()
        assert was in text
        path.write_text(text.replace(was, now))
        self.node(name).core.record(via="watch")

    def rotate(self, name: str, password: str) -> None:
        (self.node(name).etc / "secrets.yaml").write_text(f"carp_lan: {password}\n")
        self.node(name).core.reload()


@pytest.fixture
def two(short_tmp: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        net = stack.enter_context(lab(("fw1", "fw2")))
        pair = stack.enter_context(two_nodes(short_tmp, VIPS, (25, 26)))
        found = Watched(pair, net)
        for name, node in pair.nodes.items():
            core = node.core
            core.carp.start()
            core.carp.tell_ready(True)
            found.splits[name] = Split(core.carp, name, core.clock, lambda core=core: core.book.now())  # type: ignore[misc]  # mypy has no type for the default
            stack.enter_context(process(node, net))
        until(lambda: "UNKNOWN" not in found.states().values(), 15, "both processes")
        found.look()
        found.become("MASTER", "BACKUP")
        yield found


def test_other_addresses_and_another_password_make_no_second_master_and_need_no_sync(two: Watched) -> None:
    two.adverts(3)
    before = two.transitions()
    two.edit("fw1", f'"{VIP}/24"', f'"{VIP}/24", "{MORE}/24"')
    until(lambda: two.lab.holders(MORE) == {"fw1"}, 5, "the address on the MASTER at once")
    two.adverts(5)
    assert two.wire("fw1").addresses == (VIP, VIP6)
    two.look()
    assert two.wire("fw1").addresses == (VIP, MORE, VIP6)
    two.adverts(5)
    two.rotate("fw1", "battery staple")
    two.adverts(5)
    two.look()
    assert two.wire("fw1").password == "battery staple"
    two.adverts(5)
    assert two.wire("fw2").addresses == (VIP, VIP6), "nobody synchronized"
    said = "\n".join(two.node("fw1").core.carp.info().troubles)
    assert f"only fw1 has {MORE}" in said
    assert (two.transitions(), two.refused("fw1"), two.refused("fw2")) == (before, 0, 0)

    assert order(two.node("fw1"), "switchover").done, "and fw1 understands fw2"
    two.become("BACKUP", "MASTER")
    assert order(two.node("fw1"), "switchover").done
    two.become("MASTER", "BACKUP")
    before = two.transitions()
    two.edit("fw2", f'"{VIP}/24"', f'"{VIP}/24", "{MORE}/24"')  # which is what a sync does
    two.rotate("fw2", "battery staple")
    two.look()
    two.look()
    two.adverts(5)
    assert two.wire("fw1") == two.wire("fw2")
    assert (two.transitions(), two.refused("fw1"), two.refused("fw2")) == (before, 0, 0)
    assert "only fw1 has" not in "\n".join(two.node("fw1").core.carp.info().troubles)


def test_a_peer_that_was_away_during_the_change_comes_back_as_backup(short_tmp: Path) -> None:
    with ExitStack() as stack:
        net = stack.enter_context(lab(("fw1", "fw2")))
        pair = stack.enter_context(two_nodes(short_tmp, VIPS, (25, 26)))
        found = Watched(pair, net)
        for name, node in pair.nodes.items():
            node.core.carp.start()
            node.core.carp.tell_ready(True)
            found.splits[name] = Split(node.core.carp, name, node.core.clock, dict)
        stack.enter_context(process(pair.fw1, net))
        with process(pair.fw2, net):
            until(lambda: "UNKNOWN" not in found.states().values(), 15, "both processes")
            found.look()
            found.become("MASTER", "BACKUP")
        until(lambda: pair.fw2.core.carp.reading.absent, 15, "fw2 to be off")
        pair.away.add("fw2")
        pair.fw1.links.hang_up("fw2")
        found.rotate("fw1", "battery staple")
        pair.fw1.core.declaring.look()
        assert found.wire("fw1").password != "battery staple"
        pair.fw1.core.declaring.away_s = 0.0
        pair.fw1.core.declaring.look()
        assert found.wire("fw1").password == "battery staple"
        pair.away.clear()
        found.look()
        stack.enter_context(process(pair.fw2, net))
        until(lambda: "UNKNOWN" not in found.states().values(), 15, "both processes")
        found.adverts(5)
        assert found.states() == {"fw1": "MASTER", "fw2": "BACKUP"}
        assert found.transitions()["fw2"] == 1
        assert found.refused("fw2") == 0


def test_a_peer_without_ssh_that_is_alive_on_the_segment_is_not_left_behind(two: Watched) -> None:
    declaring = two.node("fw1").core.declaring
    two.pair.away.update(two.pair.nodes)
    for name, node in two.pair.nodes.items():
        node.links.hang_up("fw2" if name == "fw1" else "fw1")
    declaring._began_at -= 60  # it has run for a minute, and not heard fw2 for longer than it waits
    declaring.away_s = 0.0
    two.rotate("fw1", "battery staple")
    declaring.look()
    assert two.wire("fw1").password == "battery staple"
    until(lambda: set(two.states().values()) == {"MASTER"}, 10, "two MASTERs")

    def ended() -> bool:
        declaring.look()
        return two.states() == {"fw1": "MASTER", "fw2": "BACKUP"}

    until(ended, 15, "the old password to be back")
    assert two.wire("fw1").password != "battery staple"
    before = two.transitions()
    two.adverts(10)
    declaring.look()
    assert two.transitions() == before
    assert "accepted by fw2" in "\n".join(two.node("fw1").core.carp.info().troubles)
    two.pair.away.clear()
    two.look()
    two.look()
    assert two.wire("fw1").password == "battery staple", "fw2 could be told"
    two.adverts(5)
    assert two.transitions() == before


def test_one_that_is_deaf_steps_down_by_what_the_other_says_over_ssh_and_stays(two: Watched) -> None:
    fw2 = two.lab["fw2"]
    fw2.run("nft", "add table inet deaf")
    fw2.run("nft", "add chain inet deaf input { type filter hook input priority 0 ; }")
    fw2.run("nft", "add rule inet deaf input ip protocol 112 drop")
    fw2.run("nft", "add rule inet deaf input ip6 nexthdr 112 drop")
    until(lambda: set(two.states().values()) == {"MASTER"}, 10, "two MASTERs")

    def looked(states: set[str]) -> bool:
        two.look()
        return set(two.states().values()) == states

    until(lambda: looked({"MASTER", "BACKUP"}), 20, "the deaf one to step down")
    assert two.states() == {"fw1": "MASTER", "fw2": "BACKUP"}
    assert "fw1 is MASTER and hears this node" in two.report("fw2").vips[0].reason
    before, sent = two.transitions(), two.report("fw1").devices[0].sent

    def went_on() -> bool:
        two.look()
        return two.report("fw1").devices[0].sent > sent + 60  # six seconds: more than one word holds for

    until(went_on, 30, "sixty adverts that fw2 does not hear")
    assert two.transitions() == before, "no flapping"
    assert two.lab.holders(VIP) == {"fw1"}
    said = "\n".join(two.node("fw2").core.carp.info().troubles)
    assert "fw2 does not hear fw1, which is MASTER and did hear fw2" in said
    fw2.run("nft", "delete table inet deaf")
    until(lambda: looked({"MASTER", "BACKUP"}) and not two.node("fw2").core.carp.info().troubles, 15, "no trouble")
    assert two.transitions() == before
