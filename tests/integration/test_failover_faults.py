"""What goes wrong on a node, and what the real process carp makes of it: who holds the address, and what is said."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.intent import Intent
from syncsrv.failover.settings import VipSettings
from tests.integration.failoverkit import PLAIN, PLAIN_SKEWS, QUICK, QUICK_SKEWS, Duo, says, settled
from tests.support.carpcap import Tap
from tests.support.lab import DEVICE, VIP, VIP6, Prober
from tests.support.netns import needs_lab
from tests.support.speakers import PASSWORD, Group, Ours
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(120)]

CIDR = f"{VIP}/24"
SLACK_S = 0.15
"""For two processors that other tests use too; without them it is some milliseconds."""


def processes(one: Ours) -> tuple[int, int]:
    """The guardian and its agent."""
    child = one.child()
    assert child is not None
    return one.process.pid, child


def test_a_pulled_cable(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober:
        pulled_at = time.monotonic()
        duo.lab.pull("a")
        duo.are(a="INIT", b="MASTER")
        duo.holds("b")
        assert duo.a.vip().reason == "eth0 has no link"
        says(duo.a, r"vhid 51 on eth0: MASTER -> INIT: eth0 has no link")
        says(duo.b, r"vhid 51 on eth0: BACKUP -> MASTER: no advert from a \(\S+\) for 0\.3\d* s")
        duo.lab.plug("a")
        duo.settle()
        says(duo.b, r"MASTER -> BACKUP: a \(\S+\) is MASTER with advbase 0 advskew 25, better than advskew 26")
        seen = prober.end()
    assert seen.outage_s(pulled_at) < 3 * 26 / 256 + SLACK_S
    assert seen.held_by_two_s(pulled_at) < SLACK_S  # when the better one comes back it holds before the other lets go


def test_a_silent_cut_makes_two_masters_until_it_is_mended(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        duo.lab.cut("a")
        duo.are(a="MASTER", b="MASTER")
        duo.holds("a", "b")
        mended_at = time.monotonic()
        duo.lab.mend("a")
        duo.are(a="MASTER", b="BACKUP")
        duo.holds("a")
        assert time.monotonic() - mended_at < 1
        says(duo.b, r"MASTER -> BACKUP: a \(\S+\) is MASTER with advbase 0 advskew 25, better than advskew 26")
        assert duo.a.vip().transitions == 2  # to BACKUP and MASTER, at its start


def test_a_flapping_link(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        for _ in range(10):
            duo.lab.pull("a")
            duo.lab.plug("a")
        duo.settle()
        duo.lab.pull("a")
        duo.holds("b")
        for _ in range(10):
            duo.lab.plug("a")
            duo.lab.pull("a")
        duo.are(a="INIT", b="MASTER")
        duo.holds("b")
        duo.lab.plug("a")
        duo.settle()
        assert duo.a.report().troubles == ()


def test_a_device_that_is_deleted_and_made_again(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        node = duo.lab["a"]
        duo.lab.spaces.unplug("a")
        duo.are(a="INIT", b="MASTER")
        assert duo.a.vip().reason == "there is no device eth0"
        duo.lab.spaces.plug("a")
        duo.lab.give(node)
        new = replace(duo.b.settings, own_peers={"a": duo.lab.sources()["a"]})  # as core hears it over SSH
        duo.b.apply(new)
        duo.settle()
        says(duo.a, r"MASTER -> INIT: (there is no device eth0|eth0 is switched off)")  # so the kernel deletes it


def test_the_agent_is_killed(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober:
        guardian, agent = processes(duo.a)
        killed_at = time.monotonic()
        os.kill(agent, signal.SIGKILL)
        duo.are(b="MASTER")
        duo.are(a="MASTER", b="BACKUP")
        seen = prober.end()
        says(duo.a, r"the agent was ended by SIGKILL; its guardian has said farewell for vhid 51 on eth0, removed 10")
        says(duo.b, r"BACKUP -> MASTER: a \(\S+\) said farewell")
        assert processes(duo.a)[0] == guardian
        assert duo.a.report().pid != agent
        assert duo.a.vip().transitions == 2  # through BACKUP
    assert seen.outage_s(killed_at) < SLACK_S
    gone = next(change for change in seen.changes if change[0] > killed_at and change[3] == VIP and not change[2])
    assert gone[1] == "a"
    assert gone[0] - killed_at < SLACK_S


def test_agent_and_guardian_are_killed(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober:
        killed_at = time.monotonic()
        for pid in processes(duo.a):
            os.kill(pid, signal.SIGKILL)
        duo.are(b="MASTER")
        duo.holds("b")
        seen = prober.end()
    assert seen.held_by_two_s(killed_at) < 5.5  # the kernel removes what is not refreshed
    assert seen.outage_s(killed_at) < 3 * 26 / 256 + SLACK_S


def test_agent_and_guardian_are_stopped_and_go_on(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        pids = processes(duo.a)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        duo.are(b="MASTER")
        assert time.monotonic() - stopped_at < 1
        duo.holds("b")
        assert time.monotonic() - stopped_at < 5.5
        until(lambda: time.monotonic() - stopped_at > 5.0, what="five seconds of standing still")
        with Tap(duo.lab.client) as tap:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
            duo.settle()
            sources = [one.advert and str(one.source) for one in tap.carp()]
        says(duo.a, r"MASTER -> BACKUP: this process did not run for [45]\.\d+ s: a peer may be MASTER by now")
        assert processes(duo.a) == pids
        assert duo.a.vip().transitions == 4
        assert sources


def test_an_agent_that_hangs_is_ended(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        _, agent = processes(duo.a)
        os.kill(agent, signal.SIGSTOP)
        stopped_at = time.monotonic()
        duo.are(b="MASTER")
        duo.holds("b")
        assert time.monotonic() - stopped_at < 1.5
        says(duo.a, r"the agent was silent for 0\.\d s; it is killed")
        duo.settle()


def test_an_address_that_something_removes(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober, Tap(duo.lab.client) as tap:
        removed_at = time.monotonic()
        duo.lab["a"].ip(f"addr del {CIDR} dev eth0")
        says(duo.a, r"vhid 51 on eth0: something removed 10\.99\.0\.100/24 from eth0; put back")
        duo.holds("a")
        until(lambda: tap.announcements(VIP), what="announced again")
        assert duo.a.vip().transitions == 2
        assert duo.b.vip().state == "BACKUP"
        assert prober.end().outage_s(removed_at) < SLACK_S


def test_the_network_is_restarted(short_tmp: Path) -> None:
    """ucarp loses its address then and never has it again."""
    with settled(short_tmp) as duo:
        node = duo.lab["a"]
        link_local = next(one for one in node.addresses(DEVICE) if one.startswith("fe80"))
        for words in (f"addr flush dev {DEVICE}", f"link set {DEVICE} down"):
            node.ip(words)
        duo.are(a="INIT", b="MASTER")
        duo.holds("b")
        node.ip(f"link set {DEVICE} up")
        duo.lab.give(node)
        until(lambda: link_local in node.addresses(DEVICE), what="its link-local address")
        duo.settle()


def test_an_address_that_lies_about_is_removed_at_the_start(short_tmp: Path) -> None:
    with settled(short_tmp) as duo:
        for pid in processes(duo.a):
            os.kill(pid, signal.SIGKILL)
        duo.are(b="MASTER")
        assert duo.lab["a"].holds()
        duo.lab["a"].ip(f"addr change {CIDR} dev eth0 valid_lft forever preferred_lft forever")
        duo.start("a")
        says(duo.a, r"removed from eth0 what was left there: 10\.99\.0\.100/24")
        duo.settle()
        duo.b.process.kill()
        until(lambda: duo.b.state() == "", what="b has ended")
        duo.lab["b"].ip(f"addr add {CIDR} dev eth0")  # by hand, and so without the mark that ours have
        duo.start("b")
        says(duo.b, r"removed from eth0 what was left there: 10\.99\.0\.100/24")
        duo.settle()


def with_another(duo: Duo, one: Ours) -> None:
    """Reload with one more vhid."""
    more = VipSettings(
        vhid=7, interface="lan", device=DEVICE, advbase=0, addresses=(f"{VIP6}/64",), password=PASSWORD
    )  # fmt: skip
    one.apply(replace(one.settings, vips=(*one.settings.vips, more)))


def test_a_reload_during_a_failover(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober:
        pulled_at = time.monotonic()
        duo.lab.pull("a")
        with_another(duo, duo.b)
        with_another(duo, duo.a)
        duo.are(a="INIT", b="MASTER")
        assert [vip.state for vip in duo.a.report().vips] == ["INIT", "INIT"]
        until(lambda: [vip.state for vip in duo.b.report().vips] == ["MASTER", "MASTER"], what="both")
        duo.holds("b")
        duo.holds("b", address=VIP6)
        assert duo.b.vip().transitions == 2
        seen = prober.end()
        duo.b.apply(duo.b.settings)  # nothing new: nothing happens
        assert [vip.transitions for vip in duo.b.report().vips] == [2, 2]
    assert seen.outage_s(pulled_at) < 3 * 26 / 256 + SLACK_S


@pytest.mark.parametrize("group, skews", [(QUICK, QUICK_SKEWS), (PLAIN, PLAIN_SKEWS)], ids=["0.1 s", "1 s"])
def test_an_end_that_is_asked_for(short_tmp: Path, group: Group, skews: Mapping[str, int]) -> None:
    with settled(short_tmp, group, skews) as duo, Prober(duo.lab) as prober:
        ended_at = time.monotonic()
        duo.a.process.terminate()
        duo.are(b="MASTER")
        assert duo.a.process.wait(5) == 0
        duo.holds("b")
        seen = prober.end()
        says(duo.a, r"MASTER -> INIT: the carp process ends; (b \()?10\.99\.0\.2\)? took over")
        says(duo.b, r"BACKUP -> MASTER: .* said farewell")
    assert seen.outage_s(ended_at) < 0.05
    assert seen.held_by_two_s(ended_at) < SLACK_S


def test_a_switchover_and_back(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Prober(duo.lab) as prober:
        ordered_at = time.monotonic()
        duo.a.apply(intent=Intent(switchover=True))
        duo.are(a="BACKUP", b="MASTER")
        duo.holds("b")
        assert duo.a.vip().handover.startswith("taken by b")
        duo.adverts(0)
        duo.b.apply(intent=Intent(switchover=True))
        duo.are(a="MASTER", b="BACKUP")
        until(lambda: not duo.a.report().switchover, what="it ended by itself")
        assert prober.end().outage_s(ordered_at) < SLACK_S
