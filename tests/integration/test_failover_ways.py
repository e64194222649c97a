"""Other ways to carry a group: adverts to named nodes, and the group's own MAC."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.intent import Intent
from tests.integration.failoverkit import QUICK, QUICK_SKEWS, Duo, drops, settled, two_nodes
from tests.support.carpcap import Tap, carp_frame
from tests.support.lab import VIP, Lab, Prober
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(120)]

SLACK_S = 0.15


@contextmanager
def named(home: Path) -> Iterator[Duo]:
    """Both started, each with the other's IPv4 address as the only one that it sends to."""
    with two_nodes(home, QUICK, QUICK_SKEWS) as duo:
        duo.start("a", unicast=(duo.lab["b"].address,))
        duo.are(a="MASTER")
        duo.start("b", unicast=(duo.lab["a"].address,))
        duo.settle()
        yield duo


def test_adverts_to_named_nodes_only(short_tmp: Path) -> None:
    with named(short_tmp) as duo, Tap(duo.lab["b"]) as tap, Tap(duo.lab.client) as others:
        found = until(tap.carp, what="adverts")
        assert {packet.frame[30:34] for packet in found} == {bytes((10, 99, 0, 2))}
        stray = carp_frame(until(tap.adverts, what="one")[0], "10.99.0.66")
        before = duo.b.vip().transitions
        others.send(stray)
        until(lambda: drops(duo.b)["badsource"] == 1, what="badsource")
        duo.adverts(3)
        assert others.adverts() == []
        assert duo.b.vip().transitions == before
        pulled_at = time.monotonic()
        with Prober(duo.lab) as prober:
            duo.lab.pull("a")
            duo.are(a="INIT", b="MASTER")
            duo.holds("b")
            assert prober.end().outage_s(pulled_at) < 3 * 26 / 256 + SLACK_S


def neighbour(lab: Lab) -> str:
    """The MAC that the client sends to."""
    found = json.loads(lab.client.run("ip", "-json", "neigh", "show", VIP))
    return str(found[0].get("lladdr", "")) if found else ""


def test_the_groups_own_mac(short_tmp: Path) -> None:
    mac = "00:00:5e:00:01:33"
    with settled(short_tmp, replace(QUICK, virtual_mac=True)) as duo, Prober(duo.lab) as prober:
        until(lambda: neighbour(duo.lab) == mac, what="the group's MAC at the client")
        ordered_at = time.monotonic()
        duo.a.apply(intent=Intent(switchover=True))
        duo.are(a="BACKUP", b="MASTER")
        duo.holds("b")
        duo.b.apply(intent=Intent(switchover=True))
        duo.are(a="MASTER", b="BACKUP")
        duo.holds("a")
        assert neighbour(duo.lab) == mac
        assert prober.end().outage_s(ordered_at) < SLACK_S
        duo.a.process.terminate()
        assert duo.a.process.wait(5) == 0
        left = json.loads(duo.lab["a"].run("ip", "-json", "link", "show", "type", "macvlan"))
        assert not [one for one in left if "UP" in one.get("flags", ())]  # nothing answers for the MAC there


def test_of_three_nodes_the_best_that_is_left_follows(short_tmp: Path) -> None:
    with two_nodes(short_tmp, QUICK, {"a": 25, "b": 40, "c": 200}, ("a", "b", "c")) as duo:
        for name in ("a", "b", "c"):
            duo.start(name)
        duo.are(a="MASTER", b="BACKUP", c="BACKUP")
        duo.holds("a")
        until(lambda: duo.nodes["c"].vip().master_peer == "a", what="c hears a")
        with Prober(duo.lab) as prober:
            ended_at = time.monotonic()
            duo.a.process.terminate()
            duo.are(b="MASTER", c="BACKUP")
            assert duo.a.process.wait(5) == 0
            until(lambda: duo.nodes["c"].vip().master_peer == "b", what="c hears b")
            duo.holds("b")
            seen = prober.end()
        assert seen.outage_s(ended_at) < SLACK_S
        assert seen.held_by_two_s(ended_at) < SLACK_S
