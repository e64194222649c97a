"""Adverts more than once a second: only among nodes that know each other, and no haste where there is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.intent import Intent
from tests.failover.carpkit import CarpNode, carp_nodes, serve
from tests.support.lab import Lab, lab
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab

DEMOTED = Intent(demotions={"health:web": 240})
UNKNOWN = "advbase 0 needs peers that are all ours, and no peer's address is known yet: "
REMEDY = "pair the nodes, or set advbase to 1 or more"


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as made:
        yield made


def changes(*nodes: CarpNode) -> list[int]:
    """How often each changed its state."""
    return [node.await_report(lambda _: True).vips[0].transitions for node in nodes]


def adverts_of(node: CarpNode, more: int) -> None:
    """Wait until a node has sent so many more."""
    sent = node.await_report(lambda _: True).vips[0].counters["sent"]
    node.await_report(lambda report: report.vips[0].counters["sent"] >= sent + more, 20, f"{more} adverts")


@pytest.mark.parametrize("preempt", ["always", "never"])
def test_two_that_are_both_demoted_do_not_take_it_from_each_other(net: Lab, short_tmp: Path, preempt: str) -> None:
    with carp_nodes(net, short_tmp, preempt=preempt) as pair:
        a, b = serve(pair)
        a.apply(intent=DEMOTED)
        b.await_state("MASTER")
        a.await_report(lambda report: report.vips[0].master_peer == "b")
        before = changes(a, b)
        b.apply(intent=DEMOTED)  # now both advertise 240, and nobody is better
        a.await_report(lambda report: report.vips[0].master_advskew == 240)
        adverts_of(b, 20)
        assert changes(a, b) == before
        assert net.holders() == {"b"}
        b.apply(intent=Intent())
        adverts_of(b, 20)
        assert changes(a, b) == before
        a.apply(intent=Intent())
        if preempt == "always":
            a.await_state("MASTER")
        else:
            adverts_of(b, 20)
            assert changes(a, b) == before


def test_who_comes_to_a_demoted_one_and_is_demoted_too_waits(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp) as pair:
        a, b = pair
        for node in pair:
            node.write(intent=DEMOTED)
        b.start().await_state("MASTER")
        a.start().await_report(lambda report: report.vips[0].master_peer == "b")
        adverts_of(b, 20)
        assert changes(a, b) == [1, 2]


def test_it_runs_on_when_its_peers_are_gone_and_begins_again_without_them(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp) as pair:
        a, b = serve(pair)
        b.signal(signal.SIGTERM)
        b.wait()
        net.pull("b")
        adverts_of(a, 20)
        agent = a.agent_pid
        a.signal(signal.SIGKILL, agent)  # the next one knows the peers from the file
        a.await_report(lambda report: report.pid != agent and report.vips[0].state == "MASTER")
        a.signal(signal.SIGTERM)
        a.wait()
        assert "advbase 0 needs" not in a.start().await_state("MASTER").reason


def test_who_does_not_know_its_peers_says_so_until_it_does(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp) as pair:
        a, b = pair
        a.settings = replace(a.settings, own_peers={})
        b.start().await_state("MASTER")
        a.start()
        vip = a.await_report(lambda report: report.vips[0].counters["accepted"] > 5).vips[0]
        assert (vip.state, vip.reason) == ("INIT", UNKNOWN + REMEDY)
        a.apply(replace(a.settings, own_peers={"b": (b.node.address, b.node.address6)}))
        a.await_state("MASTER")
        b.await_state("BACKUP")
        a.apply(replace(a.settings, own_peers={}))  # the peer was taken out of node.yaml
        assert a.await_state("INIT").reason == UNKNOWN + REMEDY
        b.await_state("MASTER")
        until(lambda: net.holders() == {"b"}, what="b alone")


@pytest.mark.long
def test_a_backup_is_not_taken_out_by_a_strangers_adverts(net: Lab, short_tmp: Path) -> None:
    """They can be forged from any address; a BACKUP that believed them would not serve when the MASTER dies."""
    with carp_nodes(net, short_tmp) as (a, b):
        b.settings = replace(b.settings, own_peers={"c": ("10.99.0.9",)})  # so a is a stranger to it
        a.start().await_state("MASTER")
        b.start().await_state("BACKUP")
        known = b.await_report(lambda report: any(one.foreign for one in report.devices), 20, "b to know a stranger")
        heard = known.devices[0].received + 75  # some seconds, so that it has been judged
        later = b.await_report(lambda report: report.devices[0].received > heard, 20)
        assert later.vips[0].state == "BACKUP"
        a.signal(signal.SIGKILL)
        b.await_state("MASTER")
