"""A whole node: what its vhids have in common, and every event."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from syncsrv.carp import node as failover
from syncsrv.carp.effects import Advertise, Changed, Effect, Ended, Farewell, Forget, Hold, Key, Note, Release, State
from syncsrv.carp.events import (
    Event,
    Heard,
    HoldResult,
    IntentChanged,
    LinkChanged,
    NewSettings,
    Ready,
    SendResult,
    Shutdown,
    TableArrived,
    Tick,
    Told,
    Woke,
)
from syncsrv.carp.node import Node
from syncsrv.carp.packet import FAREWELL, Advert
from syncsrv.carp.settings import NodeSettings, VhidSettings

LAN, WAN = Key("eth0", 1), Key("eth1", 2)
SETTINGS = NodeSettings("fw1", (VhidSettings(LAN), VhidSettings(WAN)), tracked=("eth0", "eth1"))
FW2 = ip_address("192.0.2.2")


class Run:
    """A node and all that it wanted done since it was last asked."""

    def __init__(self, settings: NodeSettings = SETTINGS, intent: IntentChanged | None = None, **more: float) -> None:
        self.node: Node = failover.start(settings, intent or IntentChanged(), 0.0, **more)
        self.done: list[Effect] = []

    def give(self, now: float, *events: Event) -> list[Effect]:
        done: list[Effect] = []
        for event in events:
            self.node, effects = failover.step(self.node, event, now)
            done += effects
        self.done += done
        return done

    def pass_by(self, until_at: float) -> list[Effect]:
        """Every Tick, at the moment that the node asked for."""
        done: list[Effect] = []
        while (due_at := failover.next_at(self.node)) is not None and due_at <= until_at:
            done += self.give(due_at, Tick())
            assert failover.next_at(self.node) != due_at, "a tick at its time must leave nothing due"
        return done

    def states(self) -> dict[int, str]:
        return {key.vhid: str(vhid.state) for key, vhid in self.node.vhids.items()}


def up(settings: NodeSettings = SETTINGS, intent: IntentChanged | None = None, **more: float) -> Run:
    run = Run(settings, intent, **more)
    run.give(0.0, LinkChanged("eth0", True), LinkChanged("eth1", True), Ready(True))
    return run


def serving() -> Run:
    run = up()
    run.pass_by(10.5)
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    return run


def advert(key: Key, advskew: int, advbase: int = 1) -> Heard:
    return Heard(key, Advert(key.vhid, advskew, advbase, 0, 0, b""), FW2, "fw2")


def changes(effects: list[Effect]) -> list[tuple[int, str, str, str]]:
    return [(one.key.vhid, str(one.old), str(one.new), one.reason) for one in effects if isinstance(one, Changed)]


def notes(effects: list[Effect]) -> list[str]:
    return [one.text for one in effects if isinstance(one, Note)]


def test_before_anything_is_known_of_a_device_its_vhids_are_init_and_nothing_demotes_but_readiness() -> None:
    run = Run()
    assert run.states() == {1: "INIT", 2: "INIT"}
    assert run.node.vhids[LAN].reason == "the state of eth0 is not known yet"
    assert dict(run.node.demotion.reasons) == {"not-ready": 240}
    assert run.pass_by(29) == []


def test_a_node_that_is_never_told_it_is_ready_is_demoted_for_a_time() -> None:
    run = Run()
    run.give(0.0, LinkChanged("eth0", True), LinkChanged("eth1", True))
    run.pass_by(10)
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    assert run.node.advskew(LAN) == 240
    done = run.pass_by(30)
    assert notes(done) == ["nobody said that this node is ready for 30 s: it is demoted no more"]
    assert done[-2:] == [Advertise(LAN, 1, 0), Advertise(WAN, 1, 0)]
    assert run.give(31, Ready(True)) == []
    assert run.give(32, Ready(False))[0] == Advertise(LAN, 1, 240)
    assert run.give(33, Ready(False)) == []


SYNCED = replace(SETTINGS, table_timeout_s=60.0)


def test_a_node_that_syncs_connections_is_demoted_until_it_has_the_peers() -> None:
    run = up(SYNCED)
    assert dict(run.node.demotion.reasons) == {"state-sync": 240}
    done = run.give(3.0, TableArrived(True))
    assert notes(done) == ["the peer's connections are known here: it is not demoted for them any more"]
    assert run.node.demotion.total == 0
    assert run.give(4.0, TableArrived(True)) == []


def test_a_node_whose_peer_never_comes_is_demoted_for_a_time_also_while_it_serves() -> None:
    run = up(SYNCED)
    run.pass_by(59)
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    assert run.node.advskew(LAN) == 240, "a peer that is heard late knows the connections, and this node does not"
    assert "the peer's connections did not come for 60 s: it is demoted no more" in notes(run.pass_by(60))
    assert run.node.advskew(LAN) == 0


def test_a_backup_that_loses_the_connections_is_demoted_without_an_end_until_it_has_them_or_serves() -> None:
    run = up(SYNCED)
    run.give(0.1, TableArrived(True))
    run.give(0.2, advert(LAN, 0), advert(WAN, 0))
    assert run.give(0.3, TableArrived(False)) == [
        Note(None, "the peer's connections are not known here any more: it is demoted")
    ]
    assert dict(run.node.demotion.reasons) == {"state-sync": 240}
    for second in range(1, 101):
        run.pass_by(second)
        run.give(second, advert(LAN, 0), advert(WAN, 0))
    assert run.states() == {1: "BACKUP", 2: "BACKUP"}
    assert dict(run.node.demotion.reasons) == {"state-sync": 240}
    run.pass_by(110)
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    assert run.node.demotion.total == 0, "nobody else knows more connections now"


def test_a_master_is_not_demoted_for_connections_and_without_state_sync_nobody_is() -> None:
    run = up(SYNCED)
    run.give(0.1, TableArrived(True))
    run.pass_by(10)
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    assert run.give(11, TableArrived(False)) == []
    run = up()
    assert run.give(1.0, TableArrived(False)) == []
    assert run.node.demotion.total == 0


def test_state_sync_that_is_switched_off_demotes_no_more_and_switched_on_not_yet() -> None:
    run = up(SYNCED)
    run.give(1.0, NewSettings(SETTINGS))
    assert run.node.demotion.total == 0
    run.give(2.0, NewSettings(SYNCED))
    assert run.node.demotion.total == 0, "who serves would lose its addresses for a change of the configuration"


def test_without_a_gate_a_node_is_ready_at_once() -> None:
    assert Run(replace(SETTINGS, ready_timeout_s=0.0)).node.demotion.total == 0


def test_a_lost_link_demotes_all_vhids() -> None:
    run = serving()
    done = run.give(10.6, LinkChanged("eth1", False))
    assert done == [
        Release(WAN),
        Changed(WAN, State.MASTER, State.INIT, "eth1 has no link"),
        Advertise(LAN, 1, 240),
    ]
    assert dict(run.node.demotion.reasons) == {"link:eth1": 240}


def test_a_link_that_is_not_tracked_demotes_nothing() -> None:
    run = up(replace(SETTINGS, tracked=("eth0",)))
    run.pass_by(10)
    assert [type(one) for one in run.give(10.1, LinkChanged("eth1", False))] == [Release, Changed]
    assert run.node.demotion.total == 0


def test_a_tracked_device_without_vhids_demotes_by_its_link_only() -> None:
    run = up(replace(SETTINGS, tracked=("eth0", "eth1", "uplink")))
    run.give(1, LinkChanged("uplink", True, has_source=False))
    assert run.node.demotion.total == 0
    run.give(2, LinkChanged("uplink", False))
    assert dict(run.node.demotion.reasons) == {"link:uplink": 240}


def test_a_device_without_an_own_address_keeps_its_vhids_init_and_demotes() -> None:
    run = serving()
    done = run.give(10.6, LinkChanged("eth0", True, has_source=False))
    assert changes(done) == [(1, "MASTER", "INIT", "eth0 has no address of its own to send adverts from")]
    assert dict(run.node.demotion.reasons) == {"link:eth0": 240}


def test_demotions_given_from_outside_are_told_at_once_and_once() -> None:
    run = serving()
    intent = IntentChanged(demotions={"health:web": 100, "nothing": 0})
    assert run.give(10.6, intent) == [Advertise(LAN, 1, 100), Advertise(WAN, 1, 100)]
    assert dict(run.node.demotion.reasons) == {"health:web": 100}
    assert run.give(10.7, intent) == []
    renamed = IntentChanged(demotions={"operator": 100})
    assert run.give(10.8, renamed) == []
    assert dict(run.node.demotion.reasons) == {"operator": 100}


def test_maintenance_hands_over_every_vhid() -> None:
    run = serving()
    assert run.give(10.6, IntentChanged(maintenance=True)) == [Farewell(LAN), Farewell(WAN)]
    done = run.give(10.601, advert(LAN, 100), advert(WAN, 100))
    why = "maintenance of this node; fw2 (192.0.2.2) took over"
    assert changes(done) == [(1, "MASTER", "BACKUP", why), (2, "MASTER", "BACKUP", why)]
    assert {vhid.handover for vhid in run.node.vhids.values()} == {"taken by fw2 (192.0.2.2)"}
    assert run.node.advskew(LAN) == 240


def test_maintenance_that_ends_too_soon_is_called_off() -> None:
    run = serving()
    run.give(10.6, IntentChanged(maintenance=True))
    done = run.give(10.7, IntentChanged())
    assert [one for one in done if isinstance(one, Advertise)][-2:] == [Advertise(LAN, 1, 0), Advertise(WAN, 1, 0)]
    assert run.states() == {1: "MASTER", 2: "MASTER"}
    assert run.pass_by(11) == []


def test_maintenance_goes_on_when_a_switchover_is_asked_for_meanwhile() -> None:
    run = serving()
    run.give(10.6, IntentChanged(maintenance=True))
    run.give(10.61, IntentChanged(maintenance=True, switchover=True))
    run.give(10.62, IntentChanged(switchover=True))
    done = run.pass_by(11)
    assert [text for text in notes(done) if "no peer took over" in text]


def test_a_switchover_ends_when_the_node_is_master_again() -> None:
    run = serving()
    run.give(10.6, IntentChanged(switchover=True))
    run.give(10.601, advert(LAN, 100), advert(WAN, 100))
    assert (run.node.switchover, run.node.advskew(LAN)) == (True, 239)
    done = run.give(12, advert(LAN, FAREWELL, FAREWELL)) + run.pass_by(12.1)
    assert done[:2] == [Hold(LAN), Advertise(LAN, 1, 0)]
    assert "the switchover is over: this node is MASTER again" in notes(done)
    assert (run.node.switchover, run.node.demotion.total) == (False, 0)
    run.give(12.2, IntentChanged(switchover=True, demotions={"operator": 1}))
    assert not run.node.switchover, "the same word again is no new order"
    run.give(12.3, IntentChanged())
    assert run.give(12.4, IntentChanged(switchover=True))[-1] == Farewell(LAN)


def test_a_switchover_on_the_disk_is_one_that_was_done() -> None:
    run = up(intent=IntentChanged(switchover=True))
    assert dict(run.node.demotion.reasons) == {"switchover": 239}
    run.pass_by(5)
    assert run.node.demotion.total == 0


def test_a_switchover_of_a_node_that_ranks_behind_ends_when_the_better_one_serves_all() -> None:
    skewed = replace(SETTINGS, vhids=(VhidSettings(LAN, advskew=100), VhidSettings(WAN, advskew=100)))
    run = up(skewed)
    run.pass_by(10.5)
    run.give(10.6, IntentChanged(switchover=True))
    assert dict(run.node.demotion.reasons) == {"switchover": 139}
    run.give(10.61, advert(LAN, 0))
    assert run.node.switchover, "it still serves the other one"
    run.give(10.62, advert(WAN, 240))
    assert run.node.switchover, "the better one is demoted, and might not serve for long"
    done = run.give(10.63, advert(WAN, 0))
    assert notes(done) == ["the switchover is over: the MASTER ranks before this node by itself"]
    assert (run.node.switchover, run.node.demotion.total) == (False, 0)
    assert run.states() == {1: "BACKUP", 2: "BACKUP"}


def test_a_switchover_of_the_better_node_does_not_end_while_another_reason_demotes_it_too() -> None:
    run = serving()
    run.give(10.6, IntentChanged(switchover=True, demotions={"service:web": 240}))
    run.give(10.61, advert(LAN, 100), advert(WAN, 100))
    assert run.node.switchover, "or it would come back by itself when it is well"


def test_a_node_that_was_switched_away_from_takes_over_from_one_that_is_unfit() -> None:
    run = serving()
    run.give(10.6, IntentChanged(switchover=True))
    run.give(10.601, advert(LAN, 100), advert(WAN, 100))
    run.give(12, advert(LAN, 239), advert(WAN, 239))
    assert run.states() == {1: "BACKUP", 2: "BACKUP"}
    run.give(13, advert(LAN, 240), advert(WAN, 240))
    assert run.states() == {1: "MASTER", 2: "MASTER"}


def test_disabled_is_init_and_enabled_listens() -> None:
    run = serving()
    assert run.give(10.6, IntentChanged(disabled=True)) == [Farewell(LAN), Farewell(WAN)]
    run.pass_by(11)
    assert run.states() == {1: "INIT", 2: "INIT"}
    assert run.node.vhids[LAN].reason == "CARP is disabled on this node"
    assert [new for _, _, new, _ in changes(run.give(12, IntentChanged()))] == ["BACKUP", "BACKUP"]


def test_a_shutdown_ends_when_the_last_vhid_is_init() -> None:
    run = serving()
    assert run.give(10.6, Shutdown("this node shuts down")) == [Farewell(LAN), Farewell(WAN)]
    assert run.give(10.61, Shutdown("again")) == []
    assert not any(isinstance(one, Ended) for one in run.give(10.62, advert(LAN, 100)))
    assert run.pass_by(11)[-1] == Ended()
    assert run.give(12, Tick()) == []
    assert run.states() == {1: "INIT", 2: "INIT"}


def test_a_shutdown_of_a_backup_ends_at_once() -> None:
    run = up()
    assert run.give(1, Shutdown())[-1] == Ended()


def test_send_errors_demote_and_are_said_once() -> None:
    run = serving()
    failed = SendResult("eth0", False, "network is down")
    done = run.give(10.6, failed, failed, failed, failed)
    assert notes(done) == ["adverts cannot be sent on eth0: network is down"]
    assert Advertise(WAN, 1, 240) in done
    assert dict(run.node.demotion.reasons) == {"send-errors:eth0": 240}
    done = run.give(10.7, *[SendResult("eth0", True)] * 3)
    assert notes(done) == ["adverts can be sent on eth0 again"]
    assert run.node.demotion.total == 0
    assert run.give(11, SendResult("eth9", False)) == []


def test_a_master_whose_addresses_are_refused_is_demoted_and_a_peer_that_is_well_takes_over() -> None:
    run = serving()
    failed = HoldResult("eth0", False, "IPv6 is switched off")
    done = run.give(10.6, failed, failed)
    assert notes(done) == ["not all addresses are on eth0: IPv6 is switched off"]
    assert dict(run.node.demotion.reasons) == {"addresses:eth0": 240}
    assert Advertise(LAN, 1, 240) in done
    run.give(10.7, advert(LAN, 100))
    assert run.states() == {1: "BACKUP", 2: "MASTER"}
    done = run.give(10.8, HoldResult("eth0", True))
    assert notes(done) == ["all addresses are on eth0 again"]
    assert run.node.demotion.total == 0
    assert run.give(11, HoldResult("eth9", False)) == []


def test_a_device_that_carries_nothing_any_more_demotes_no_longer() -> None:
    run = serving()
    run.give(10.6, *[SendResult("eth1", False, "network is down")] * 3)
    assert dict(run.node.demotion.reasons) == {"send-errors:eth1": 240}
    run.give(10.7, NewSettings(replace(SETTINGS, vhids=(VhidSettings(LAN),), tracked=("eth0",))))
    run.pass_by(11.2)
    assert run.node.demotion.total == 0


def test_an_oversleep_is_seen_by_the_node_itself() -> None:
    run = serving()
    done = run.give(60.0, advert(LAN, 100))
    assert not any(isinstance(one, Advertise) and one.key == WAN for one in done)
    assert [(vhid, old, new) for vhid, old, new, _ in changes(done)] == [
        (1, "MASTER", "BACKUP"),
        (2, "MASTER", "BACKUP"),
        (1, "BACKUP", "MASTER"),
    ]


def test_a_suspended_machine_is_told_what_its_clock_does_not_show() -> None:
    run = serving()
    done = run.give(10.6, Woke(30.0))
    assert [new for _, _, new, _ in changes(done)] == ["BACKUP", "BACKUP"]
    assert run.give(10.6, Woke(0.0)) == []


def test_new_settings_leave_alone_what_stayed_the_same() -> None:
    run = serving()
    before = run.node.vhids[LAN]
    assert run.give(10.6, NewSettings(SETTINGS)) == []
    dmz = Key("eth2", 3)
    vhids = (VhidSettings(LAN), VhidSettings(WAN, 1, 50), VhidSettings(dmz))
    done = run.give(10.7, NewSettings(replace(SETTINGS, vhids=vhids)))
    assert done == [Advertise(WAN, 1, 50)]
    assert run.node.vhids[LAN] is before
    assert run.node.vhids[dmz].state is State.INIT
    assert changes(run.give(10.8, LinkChanged("eth2", True)))[0][2] == "BACKUP"


def test_a_vhid_that_is_removed_hands_over_and_is_forgotten() -> None:
    run = serving()
    smaller = NewSettings(replace(SETTINGS, vhids=(VhidSettings(LAN),)))
    assert run.give(10.6, smaller) == [Farewell(WAN)]
    done = run.give(10.61, advert(WAN, 100))
    assert [type(one) for one in done] == [Release, Changed, Forget]
    assert list(run.node.vhids) == [LAN]
    assert run.give(10.62, advert(WAN, 100), Told(WAN, "fw2", 1, 0, 5.0)) == []


def test_a_vhid_that_comes_back_before_it_is_forgotten_stays_master() -> None:
    run = serving()
    run.give(10.6, NewSettings(replace(SETTINGS, vhids=(VhidSettings(LAN),))))
    assert run.give(10.7, NewSettings(SETTINGS))[0] == Advertise(WAN, 1, 0)
    assert run.states() == {1: "MASTER", 2: "MASTER"}


def test_a_vhid_that_is_refused_says_why_and_runs_when_it_is_not() -> None:
    refused = replace(SETTINGS, vhids=(VhidSettings(LAN, refused="advbase 0 needs own peers"), VhidSettings(WAN)))
    run = up(refused)
    run.pass_by(10.5)
    assert run.states() == {1: "INIT", 2: "MASTER"}
    assert run.node.vhids[LAN].reason == "advbase 0 needs own peers"
    assert changes(run.give(10.6, NewSettings(SETTINGS)))[0][2] == "BACKUP"
    run.pass_by(20)
    assert run.give(20, NewSettings(refused))[0] == Farewell(LAN)


def test_what_a_peer_says_over_ssh_reaches_its_vhid() -> None:
    slow = replace(SETTINGS, vhids=(VhidSettings(LAN, 1, 100), VhidSettings(WAN, 1, 100)))
    run = up(slow)
    run.pass_by(10)
    assert changes(run.give(10.1, Told(LAN, "fw2", 1, 0, 5.0)))[0][:3] == (1, "MASTER", "BACKUP")
    assert run.states() == {1: "BACKUP", 2: "MASTER"}


def test_nothing_is_taken_over_during_the_hold_down() -> None:
    run = up(hold_until_at=20.0)
    assert changes(run.pass_by(19.9)) == []
    assert [new for _, _, new, _ in changes(run.pass_by(20.1))] == ["MASTER", "MASTER"]


@pytest.mark.parametrize("vhid", [1, 2])
def test_an_advert_moves_only_its_own_vhid(vhid: int) -> None:
    slow = replace(SETTINGS, vhids=(VhidSettings(LAN, 1, 100), VhidSettings(WAN, 1, 100)))
    run = up(slow)
    run.pass_by(10)
    run.give(10.1, advert(LAN if vhid == 1 else WAN, 0))
    assert run.states() == {vhid: "BACKUP", 3 - vhid: "MASTER"}
    assert run.give(10.2, advert(Key("eth9", 1), 0)) == []
