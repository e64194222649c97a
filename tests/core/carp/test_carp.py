"""What core knows of its process carp: reports with their age, and what it says where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncsrv.clock import SystemClock, booted_s
from syncsrv.control.codec import to_body
from syncsrv.control.shapes import Facts, FactsRequest, Status
from syncsrv.control.shapes_failover import VipInfo
from syncsrv.core.carp.carp import Carp
from syncsrv.core.carp.link import SILENT_S, Reading
from syncsrv.failover import intent as intents
from syncsrv.failover.intent import Intent
from tests.core.carp.carpkit import LAN, WAN, backups, masters, one_node, process, running, two_nodes
from tests.core.carp.fakecarp import DEVICE, master, vip
from tests.core.corekit import Node, single
from tests.support.wait import until


class Moved:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.real = SystemClock()
        self.moved_s = 0.0
        self.set_s = 0.0
        """How far people have set it."""

    def monotonic(self) -> float:
        return self.real.monotonic() + self.moved_s

    def utc(self) -> datetime:
        return self.real.utc() + timedelta(seconds=self.moved_s + self.set_s)


@pytest.fixture
def node(short_tmp: Path) -> Iterator[Node]:
    with one_node(short_tmp) as node:
        yield node


def status(node: Node) -> Status:
    found = node.ask("status")
    assert isinstance(found, Status)
    return found


def facts(node: Node) -> Facts:
    found = node.ask("facts", FactsRequest())
    assert isinstance(found, Facts)
    return found


# -- reports


def test_status_has_what_was_reported(node: Node) -> None:
    settings = node.core.carp.settings
    since = booted_s() - 3600
    wan = vip(settings, 1, conflicts=("198.51.100.10 is also at 02:00:00:00:00:01",), heard_age_s=0.44)
    with running(
        node, (master(settings, since_boot_s=since), wan), ready=True, timing="best effort: no right", hold_down_s=8.04,
        demotion_total=20, demotion_reasons={"link:eth1": 20}, troubles=("look at eth1",),
    ):  # fmt: skip
        found = status(node)
        lan, other = found.vips
        assert (lan.key, lan.state, lan.reason, lan.device) == (LAN, "MASTER", "no advert for 3.4 s", "eth0")
        assert lan.since is not None
        assert abs((parsed(lan.since) - (SystemClock().utc() - timedelta(hours=1))).total_seconds()) < 2
        assert (lan.held, lan.master, lan.master_node) == (lan.addresses, "", "fw1")
        assert (other.key, other.master, other.master_node) == (WAN, "192.0.2.2", "fw2")
        assert (other.master_advskew, other.heard_s, other.transitions) == (100, 0.4, 1)
        assert other.conflicts == ("198.51.100.10 is also at 02:00:00:00:00:01",)
        assert other.age_s is not None
        assert other.age_s < 5
        assert (found.demotion.total, found.demotion.reasons) == (20, {"link:eth1": 20})
        assert (found.failover.running, found.failover.why, found.failover.troubles) == (True, "", ("look at eth1",))
        assert (found.failover.timing, found.failover.hold_down_s) == ("best effort: no right", 8.0)
        (device,) = found.failover.devices
        assert (device.device, device.interfaces, device.drops) == ("eth0", ("lan",), {"own": 3})
        assert not [one for one in found.notices if "virtual addresses" in one]


def parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))


def test_a_change_is_known_at_once_and_a_time_does_not_waver(node: Node) -> None:
    with running(node, backups(node)) as carp:
        first = {one.key: one.since for one in status(node).vips}
        heard: list[tuple[Reading, Reading]] = []
        node.core.carp.listen(lambda was, now: heard.append((was, now)))
        carp.says(vips=masters(node))
        until(lambda: node.core.carp.master_of_every_vip(), what="the change")
        assert {one.key: one.since for one in status(node).vips} == first
        was, now = heard[-1]
        assert was.now is not None
        assert now.now is not None
        assert [one.state for one in was.now.vips] == ["BACKUP", "BACKUP"]
        assert [one.state for one in now.now.vips] == ["MASTER", "MASTER"]


def test_a_time_follows_a_clock_that_is_set_and_no_waver_of_it(short_tmp: Path) -> None:
    clock = Moved()
    with one_node(short_tmp) as node:
        node.close()
        node.clock = clock
        node.open()
        with running(node, backups(node)) as carp:

            def reported(**other: Any) -> datetime:
                before = node.core.carp.reading
                carp.says(**other)
                until(lambda: node.core.carp.reading is not before, what="the next report")
                return node.core.carp.reading.since_utc[LAN]

            first = reported(hold_down_s=1.0)
            clock.set_s = 1.0
            assert reported(hold_down_s=2.0) == first
            clock.set_s = -3600.0
            assert abs(reported(hold_down_s=3.0) - first + timedelta(hours=1)) < timedelta(seconds=5)


def test_whether_this_node_serves(short_tmp: Path, node: Node) -> None:
    carp = node.core.carp
    carp.start()
    assert (carp.holds_any_vip(), carp.master_of_every_vip()) == (None, None)
    with process(node, backups(node)) as fake:
        until(lambda: carp.holds_any_vip() is False)
        assert carp.master_of_every_vip() is False
        fake.says(vips=(master(carp.settings), vip(carp.settings, 1)))
        until(lambda: carp.holds_any_vip())
        assert carp.master_of_every_vip() is False
        fake.says(vips=masters(node))
        until(lambda: carp.master_of_every_vip())
    until(lambda: carp.holds_any_vip() is None, what="the end of the process")
    with single(short_tmp / "none") as bare:
        assert (bare.core.carp.holds_any_vip(), bare.core.carp.master_of_every_vip()) == (False, True)


# -- what is unknown is never green


def test_a_process_that_was_never_there(node: Node) -> None:
    node.core.carp.start()
    found = status(node)
    assert [(one.key, one.state, one.since) for one in found.vips] == [(LAN, "UNKNOWN", None), (WAN, "UNKNOWN", None)]
    assert "it does not run; it runs while `syncsrv serve` does" in found.vips[0].reason
    assert (found.demotion.known, found.failover.running, found.failover.age_s) == (False, False, None)
    (notice,) = [one for one in found.notices if "virtual addresses" in one]
    assert notice.startswith("whether this node serves its virtual addresses is unknown: cannot ask the carp process")


def test_a_process_that_ends_leaves_nothing_green_and_one_that_comes_back_is_heard(node: Node) -> None:
    with running(node, masters(node)):
        assert {one.state for one in status(node).vips} == {"MASTER"}
    until(lambda: {one.state for one in status(node).vips} == {"UNKNOWN"}, what="its end")
    assert status(node).vips[0].age_s is not None, "of the last report"
    with process(node, backups(node)):
        until(lambda: {one.state for one in status(node).vips} == {"BACKUP"}, what="the next one")


def test_an_old_report_does_not_hold_whoever_is_to_blame(short_tmp: Path) -> None:
    clock = Moved()
    with one_node(short_tmp) as node:
        node.close()
        node.clock = clock
        node.open()
        with running(node, masters(node)):
            assert node.core.carp.holds_any_vip()
            clock.moved_s = 2 * SILENT_S + 1
            assert node.core.carp.holds_any_vip() is None
            (one, _) = status(node).vips
            assert (one.state, one.reason) == (
                "UNKNOWN",
                "the carp process was not heard for too long; see the log of core",
            )
            assert one.age_s is not None
            assert one.age_s > 2 * SILENT_S


def test_a_listener_with_a_bug_stops_nothing(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with running(node, backups(node)) as carp:
        calls: list[Reading] = []

        def broken(was: Reading, now: Reading) -> None:
            calls.append(now)
            if len(calls) == 1:
                raise RuntimeError("a bug")

        node.core.carp.listen(broken)
        with caplog.at_level(logging.ERROR):
            carp.says(vips=masters(node))
            until(lambda: "failed by a bug; it goes on" in caplog.text, what="the log")
        until(lambda: len(calls) > 2 and node.core.carp.master_of_every_vip(), what="the next report")


def test_a_vip_that_the_process_does_not_have_yet_is_unknown(node: Node) -> None:
    with running(node, masters(node)[:1]):
        lan, wan = status(node).vips
        assert (lan.state, wan.state) == ("MASTER", "UNKNOWN")
        assert wan.reason == "the carp process does not work with this configuration yet"


def test_other_settings_than_those_in_force_are_a_trouble(node: Node) -> None:
    with running(node, backups(node)) as carp:
        carp.says(settings_digest="other")
        until(lambda: status(node).failover.troubles, what="the report")
        assert "does not work with the configuration in force yet" in status(node).failover.troubles[0]


# -- what a process is told when it is reached


def test_a_process_that_knows_everything_is_told_nothing(node: Node) -> None:
    node.core.carp.put_in_force()
    with running(node, backups(node)) as carp:
        assert carp.applied == []


def test_a_process_with_old_settings_and_no_orders_is_told_both(node: Node) -> None:
    node.core.carp.set_demotion("unproven", 240)
    node.core.carp.tell_ready(True)
    with running(node, backups(node)) as carp:
        carp.says(settings_digest="old")
    with process(node, backups(node)) as carp:
        carp.says(settings_digest="old")
        until(lambda: carp.applied, what="the order")
        (order,) = carp.applied
        assert order.intent == Intent(demotions={"unproven": 240})
        assert order.ready is True


def test_a_switchover_that_ended_while_core_was_away_is_not_asked_for_again(node: Node) -> None:
    node.core.carp.order(lambda intent: replace(intent, switchover=True))
    node.close()
    node.open()
    with running(node, masters(node)) as carp:
        until(lambda: intents.load(node.state) == Intent(), what="it to be forgotten")
        assert Intent(switchover=True) not in carp.intents()


def test_a_switchover_is_not_forgotten_for_a_report_from_before_it(node: Node) -> None:
    with running(node, masters(node)) as carp:
        told = node.core.carp.order(lambda intent: replace(intent, switchover=True))
        assert told.report is not None
        node.core.carp._heard(replace(told.report, seq=told.report.seq - 1, switchover=False), False)
        assert node.core.carp.intent.switchover
        carp.refuses = "busy"
        node.core.carp.order(lambda intent: replace(intent, maintenance=True))
        node.core.carp._heard(replace(told.report, seq=told.report.seq + 5, switchover=False), False)
        assert node.core.carp.intent.switchover, "this process did not take the last order"


def test_a_switchover_is_over_when_who_serves_ranks_before_this_node_anyway(node: Node) -> None:
    with running(node, backups(node)) as carp:
        told = node.core.carp.order(lambda intent: replace(intent, switchover=True))
        assert told.report is not None
        ended = replace(told.report, seq=told.report.seq + 1, switchover=False)
        worse = [replace(vip, advskew=20, master_advskew=skew) for vip, skew in zip(ended.vips, (20, 0), strict=True)]
        node.core.carp._heard(replace(ended, vips=tuple(worse)), False)
        assert Intent(switchover=True) == node.core.carp.intent
        better = [replace(vip, advskew=20, master_advskew=0) for vip in ended.vips]
        node.core.carp._heard(replace(ended, vips=tuple(better)), False)
        assert Intent() == node.core.carp.intent == carp.intents()[-1]


def test_core_demotes_and_promotes_under_names_of_its_own(node: Node) -> None:
    with running(node, backups(node)) as carp:
        told = node.core.carp.set_demotion("unproven", 240)
        assert told.report is not None
        assert told.report.demotion_reasons == {"unproven": 240}
        assert intents.load(node.state) == Intent(demotions={"unproven": 240})
        node.core.carp.set_demotion("unproven", None)
        assert carp.report.demotion_reasons == {}
        with pytest.raises(ValueError, match="of the process carp itself"):
            node.core.carp.set_demotion("link:eth0", 240)


def test_orders_that_cannot_be_read_are_said_and_not_imposed(node: Node) -> None:
    node.core.carp.start()
    node.core.carp.stop()  # it would give its own orders to the process below, if it heard it first
    (node.state / intents.FILE).write_text("{}")
    again = Carp(lambda: node.core.live.config, node.core.clock)
    with process(node, backups(node), maintenance=True) as carp:
        again.start()
        until(lambda: again.info().running)
        assert "cannot tell what was ordered of failover" in again.info().troubles[0]
        assert carp.intents() == []
        again.order(lambda intent: replace(intent, maintenance=True))
        assert again.info().troubles == ()
        assert intents.load(node.state) == Intent(maintenance=True)
    again.stop()


# -- peers


def test_a_peer_is_told_what_it_needs(short_tmp: Path) -> None:
    with two_nodes(short_tmp) as pair:
        one, two = pair.fw1, pair.fw2
        with running(two, backups(two), disabled=True, devices=(DEVICE, replace(DEVICE, device="eth1", sources=()))):
            two.core.carp.order(lambda intent: replace(intent, disabled=True))
            told = facts(two)
            assert told.sources == {"lan": ("192.0.2.1",), "wan": ()}
            assert told.vip_sets == one.core.carp.sets()
            assert told.failover.disabled
            one.hear()
            peer = status(one).peers["fw2"]
            assert [vip.state for vip in peer.vips] == ["BACKUP", "BACKUP"]
            assert peer.failover.running
            assert peer.vips[0].age_s is not None


def test_facts_and_status_travel(node: Node) -> None:
    with running(node, masters(node)):
        body = to_body(Status, status(node))
        assert body["vips"][0]["state"] == "MASTER"
        assert to_body(Facts, facts(node))["failover"]["running"] is True
        assert body["vips"][0].keys() == VipInfo.__dataclass_fields__.keys()


def test_a_core_can_be_put_together_and_ended_without_a_start(node: Node) -> None:
    carp = Carp(lambda: node.core.live.config, node.core.clock)
    carp.stop()
    carp.stop()
