"""Health as a reason to serve or not: rise, fall, the gate, and what stays when the node ceased to serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncsrv.config.model import Service
from syncsrv.core.carp.health import FIRST_S, INTERVAL_S, Monitor, Vitals, asked
from syncsrv.services.health import Probed
from tests.core.carp.carpkit import backups, masters, one_node, running
from tests.core.carp.fakecarp import FakeCarp
from tests.core.corekit import Node
from tests.services.kit import command
from tests.support.wait import until

GOOD, BAD = Probed(True, "it answers"), Probed(False, "no answer within 5 s")
HEALTH = {"tcp": "127.0.0.1:53", "rise": 2, "fall": 3}


def always(**more: Any) -> Service:
    return command(health=HEALTH, **more)


def follower() -> Service:
    return always(run_on="carp-master")


def after(vitals: Vitals, *found: Probed, name: str = "dns") -> Vitals:
    for one in found:
        vitals = vitals.seen(name, one, 0.0)
    return vitals


class TestVitals:
    def test_so_many_bad_ones_in_a_row_make_it_ill_and_so_many_good_ones_well(self) -> None:
        vitals = Vitals().watching({"dns": always()}, carp_master=False, now=0.0)
        vitals = after(vitals, BAD, BAD, GOOD, BAD, BAD)
        assert (vitals.ill, vitals.ready) == ({}, False)
        vitals = after(vitals, BAD)
        assert vitals.ill == {"dns": "no answer within 5 s"}
        vitals = after(vitals, GOOD, BAD, GOOD)
        assert vitals.ill == {"dns": "no answer within 5 s"}
        vitals = after(vitals, GOOD)
        assert (vitals.ill, vitals.ready) == ({}, True)
        assert after(vitals, BAD, BAD).ill == {}

    def test_only_what_says_health_and_belongs_here_is_watched(self) -> None:
        services = {
            "dns": always(),
            "dhcp": follower(),
            "old": always(run_on="never"),
            "cron": command(health=None),
        }
        assert set(Vitals().watching(services, carp_master=False, now=0.0).cases) == {"dns"}
        assert set(Vitals().watching(services, carp_master=True, now=0.0).cases) == {"dns", "dhcp"}

    def test_nothing_to_watch_is_ready_at_once_and_so_are_followers_alone(self) -> None:
        assert Vitals().watching({}, carp_master=False, now=0.0).ready
        assert Vitals().watching({"dhcp": follower()}, carp_master=True, now=0.0).ready
        assert not Vitals().watching({"dns": always()}, carp_master=False, now=0.0).ready

    def test_a_follower_that_was_ill_stays_so_until_it_is_well_while_the_node_serves(self) -> None:
        services = {"dhcp": follower()}
        vitals = Vitals().watching(services, carp_master=True, now=0.0)
        vitals = after(vitals, BAD, BAD, BAD, name="dhcp")
        for carp_master in (False, True):
            vitals = vitals.watching(services, carp_master, 0.0)
            assert set(vitals.ill) == {"dhcp"}
        assert after(vitals, BAD, name="dhcp").ill
        assert after(vitals, GOOD, GOOD, name="dhcp").ill == {}

    @pytest.mark.parametrize("other", [None, always(), command(run_on="carp-master", health=None), "never"])
    def test_another_definition_is_another_service(self, other: Service | str | None) -> None:
        vitals = after(Vitals().watching({"dhcp": follower()}, carp_master=True, now=0.0), BAD, BAD, BAD, name="dhcp")
        found = always(run_on="never") if other == "never" else other
        services = {"dhcp": found} if isinstance(found, Service) else {}
        vitals = vitals.watching(services, carp_master=False, now=0.0)
        assert vitals.ill == {}
        assert all(case.watch.last is None for case in vitals.cases.values())

    def test_what_an_earlier_core_found_is_believed_until_this_one_knows_better(self) -> None:
        vitals = Vitals(ill={"dns": "it was so before", "gone": "it was so before"})
        vitals = vitals.watching({"dns": always()}, carp_master=False, now=0.0)
        assert set(vitals.ill) == {"dns"}
        assert after(vitals, GOOD).ill
        assert after(vitals, GOOD, GOOD).ill == {}

    def test_it_is_asked_more_often_until_it_is_known_how_it_is(self) -> None:
        vitals = Vitals().watching({"dns": always()}, carp_master=False, now=10.0)
        assert vitals.due(10.0) == ["dns"]
        vitals = vitals.seen("dns", GOOD, 10.0)
        assert (vitals.due(10.0 + FIRST_S - 0.01), vitals.due(10.0 + FIRST_S)) == ([], ["dns"])
        vitals = vitals.seen("dns", GOOD, 10.5)
        assert (vitals.due(10.5 + INTERVAL_S - 0.01), vitals.due(10.5 + INTERVAL_S)) == ([], ["dns"])

    def test_an_answer_for_what_is_watched_no_more_counts_for_nothing(self) -> None:
        assert Vitals().seen("dns", BAD, 0.0) == Vitals()
        assert Vitals().later("dns", 0.0) == Vitals()


class Ward:
    """A node with VIPs, the answers of its services, and its monitor, whose clock runs fast."""

    def __init__(self, node: Node, carp: FakeCarp) -> None:
        self.node, self.carp = node, carp
        self.answers: dict[str, Probed] = {"app": GOOD}
        self.asked: list[str] = []
        self.settled = True
        self.monitor = Monitor(node.core, self._ask, lambda: self.settled, tick_s=0.005)

    def _ask(self, name: str, _health: object) -> Probed:
        self.asked.append(name)
        return self.answers[name]

    def configure(self, **services: Service) -> None:
        live = self.node.core.live
        cluster = live.config.cluster.model_copy(update={"services": services})
        live.config = replace(live.config, cluster=cluster)

    def demotions(self) -> dict[str, int]:
        return dict(self.node.core.carp.intent.demotions)

    def ready(self) -> list[bool]:
        return [one.ready for one in self.carp.applied if one.ready is not None]

    def asked_again(self, name: str, times: int = 3) -> None:
        before = self.asked.count(name)
        until(lambda: self.asked.count(name) >= before + times, what=f"{name} to be asked again")


class FastClock:
    """Time that runs a hundred times as fast; what is asked each 2 s is asked each 20 ms."""

    def __init__(self, node: Node) -> None:
        self._clock = node.clock

    def monotonic(self) -> float:
        return 100 * self._clock.monotonic()

    def utc(self) -> Any:
        return self._clock.utc()


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with one_node(tmp_path) as node, running(node, backups(node)) as carp:
        node.core.clock = FastClock(node)
        ward = Ward(node, carp)
        yield ward
        ward.monitor.stop()


def test_one_that_is_ill_demotes_the_node_and_one_that_is_well_again_does_no_more(ward: Ward) -> None:
    ward.monitor.start()
    until(lambda: ward.ready() == [True], what="ready")
    ward.answers["app"] = BAD
    until(lambda: ward.demotions() == {"service:app": 240}, what="the demotion")
    until(lambda: ward.carp.intents(), what="the carp process to hear of it")
    assert ward.carp.intents()[-1].demotions == {"service:app": 240}
    assert ward.monitor.troubles() == (
        "this node is demoted, for service app is ill: no answer within 5 s; "
        "mend it: the demotion ends when it is well",
    )
    ward.answers["app"] = GOOD
    until(lambda: ward.demotions() == {}, what="the end of the demotion")
    assert (ward.monitor.troubles(), ward.ready()) == ((), [True])


def test_it_is_ready_only_when_all_that_always_run_are_well(ward: Ward) -> None:
    ward.answers["app"] = BAD
    ward.monitor.start()
    ward.asked_again("app")
    assert ward.ready() == []
    ward.answers["app"] = GOOD
    until(lambda: ward.ready() == [True], what="ready")


def test_without_anything_to_watch_it_is_ready_at_once(ward: Ward) -> None:
    ward.configure()
    ward.monitor.start()
    until(lambda: ward.ready() == [True], what="ready")
    assert ward.asked == []


def test_a_carp_process_that_is_started_again_is_told_again(ward: Ward) -> None:
    ward.monitor.start()
    until(lambda: ward.ready() == [True])
    ward.carp.close()
    until(lambda: ward.node.core.carp.reading.now is None)
    with FakeCarp(ward.node.home / "run", replace(ward.carp.report, ready=False, pid=4343)) as again:
        until(lambda: any(one.ready for one in again.applied), what="ready, told again")


def test_a_follower_is_watched_while_the_node_serves_once_it_was_started(ward: Ward) -> None:
    ward.answers |= {"dhcp": BAD}
    ward.settled = False
    ward.configure(app=always(), dhcp=follower())
    ward.monitor.start()
    ward.asked_again("app")
    assert "dhcp" not in ward.asked
    ward.carp.says(vips=masters(ward.node))
    ward.asked_again("dhcp", 6)
    assert ward.demotions() == {}, "it is being started"
    ward.settled = True
    until(lambda: ward.demotions() == {"service:dhcp": 240}, what="the demotion")
    ward.carp.says(vips=backups(ward.node))
    until(lambda: ward.monitor.troubles(), what="the trouble")
    until(lambda: "it is tried when this node serves again" in ward.monitor.troubles()[0])
    ward.asked_again("app")
    assert ward.demotions() == {"service:dhcp": 240}, "nothing shows that it would run now"
    ward.answers["dhcp"] = GOOD
    ward.carp.says(vips=masters(ward.node))
    until(lambda: ward.demotions() == {}, what="the end of the demotion")


def test_while_the_carp_process_is_silent_what_was_true_counts(ward: Ward) -> None:
    ward.answers |= {"dhcp": GOOD}
    ward.configure(dhcp=follower())
    ward.carp.says(vips=masters(ward.node))
    ward.monitor.start()
    ward.asked_again("dhcp")
    ward.carp.close()
    until(lambda: ward.node.core.carp.reading.now is None)
    ward.asked_again("dhcp")
    ward.answers["dhcp"] = BAD
    until(lambda: ward.demotions() == {"service:dhcp": 240}, what="the order, for when it is back")


def test_one_that_hangs_holds_up_no_other_one_and_a_bug_is_a_bad_answer(ward: Ward) -> None:
    release = threading.Event()

    def ask(name: str, _health: object) -> Probed:
        ward.asked.append(name)
        if name == "slow":
            release.wait(30)
        if name == "buggy":
            raise ZeroDivisionError
        return GOOD

    ward.configure(app=always(), slow=always(), buggy=always())
    ward.monitor = Monitor(ward.node.core, ask, lambda: True, tick_s=0.005)
    ward.monitor.start()
    try:
        ward.asked_again("app", 5)
        assert ward.asked.count("slow") == 1
        until(lambda: ward.demotions() == {"service:buggy": 240}, what="the demotion")
    finally:
        release.set()


def test_without_vips_nothing_is_asked_and_no_demotion_is_left(ward: Ward) -> None:
    ward.answers["app"] = BAD
    ward.monitor.start()
    until(lambda: ward.demotions() == {"service:app": 240})
    live = ward.node.core.live
    live.config = replace(live.config, cluster=live.config.cluster.model_copy(update={"vips": ()}))
    until(lambda: ward.demotions() == {}, what="the end of the demotion")
    assert ward.monitor.troubles() == ()


def test_one_that_does_not_run_is_ill_whoever_stopped_it(tmp_path: Path) -> None:
    with one_node(tmp_path) as node:
        ask = asked(node.core)
        health = node.core.cluster.services["app"].health
        assert health is not None
        assert ask("app", health) == Probed(False, "it is stopped")
        (node.home / "running").touch()
        assert ask("app", health).ok
        assert not ask("gone", health).ok
