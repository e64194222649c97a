"""Orders of an operator: on the disk first, then what really came of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import VipReply
from syncsrv.control.shapes_page import AuditReply
from syncsrv.core.carp.act import NotServingError
from syncsrv.errors import UsageError
from syncsrv.failover import intent as intents
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Apply, Report
from tests.core.carp.carpkit import LAN, VIPS, WAN, backups, masters, one_node, order, running, two_nodes
from tests.core.carp.fakecarp import DEVICE
from tests.core.corekit import Node, Pair, single
from tests.support.wait import until


@pytest.fixture
def pair(short_tmp: Path) -> Iterator[Pair]:
    with two_nodes(short_tmp) as pair:
        yield pair


def gives_to_fw2(report: Report, order: Apply) -> Report:
    """What the process carp of a node does whose peer is well."""
    vips = tuple(
        replace(one, state="BACKUP", held=(), master_source="192.0.2.2", master_peer="fw2", handover="taken by fw2")
        for one in report.vips
    )
    return replace(report, vips=vips)


def gives_to_nobody(report: Report, order: Apply) -> Report:
    return replace(report, vips=tuple(replace(one, handover="no peer took over") for one in report.vips))


def trail(node: Node) -> list[tuple[str, str, str]]:
    """Kind, result and reason of what the audit trail has, the newest first."""
    reply = node.ask("audit")
    assert isinstance(reply, AuditReply)
    return [(one.kind, one.result, one.reason) for one in reply.receipts]


# -- the order itself


def test_it_is_on_the_disk_before_the_process_hears_of_it(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node, backups(node)) as carp:
        seen: list[Intent] = []

        def does(report: Report, _: Apply) -> Report:
            seen.append(intents.load(node.state))
            return report

        carp.does = does
        order(node, "maintenance-on")
        order(node, "demote", reason="upgrade", weight=20)
        order(node, "disable")
        everything = Intent(disabled=True, maintenance=True, demotions={"upgrade": 20})
        assert seen == carp.intents() == [
            Intent(maintenance=True), Intent(maintenance=True, demotions={"upgrade": 20}), everything
        ]  # fmt: skip
        order(node, "promote", reason="upgrade")
        order(node, "enable")
        order(node, "maintenance-off")
        assert intents.load(node.state) == Intent()
        assert carp.report.demotion_total == 0


def test_it_outlives_a_restart_of_core_and_of_the_process(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        with running(node, backups(node)):
            order(node, "maintenance-on")
        node.close()
        node.open()
        assert node.core.carp.intent == Intent(maintenance=True)
        with running(node, backups(node)) as carp:
            until(lambda: carp.report.maintenance, what="a process that does not know it to be told")
            until(lambda: node.core.carp.demotion().total == 240, what="its report")
            status = node.ask("status")
            assert isinstance(status, Status)
            assert (status.maintenance, status.demotion.reasons) == (True, {"maintenance": 240})


def test_who_looks_next_sees_what_was_ordered(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node, backups(node)) as carp:
        carp.late_s = 0.2
        order(node, "demote", reason="upgrade", weight=20)
        assert node.core.carp.demotion().total == 20


def test_an_order_is_recorded_with_who_gave_it(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node, backups(node)):
        order(node, "demote", reason="upgrade", weight=20)
        kind, result, reason = trail(node)[0]
        assert (kind, result) == ("vip", "done")
        assert reason == "demote upgrade 20: demoted by 20 for upgrade; the demotion is 20 now (upgrade 20)"


def test_a_demotion_that_moves_nothing_says_so(short_tmp: Path) -> None:
    with one_node(short_tmp, VIPS.replace("hold_down_s: 0", "preempt: false")) as node, running(node, masters(node)):
        reply = order(node, "demote", reason="upgrade", weight=20)
        assert reply.text.endswith("; with `preempt: false` no peer takes over before it is 240")
        assert "preempt" not in order(node, "demote", reason="upgrade", weight=240).text


@pytest.mark.parametrize("name", ["maintenance", "link:eth0", "not-ready", "unproven", "health:nginx", "", "Up grade"])
def test_names_that_are_not_for_operators(short_tmp: Path, name: str) -> None:
    with one_node(short_tmp) as node:
        for action, weight in (("demote", 20), ("promote", 0)):
            with pytest.raises(UsageError, match="as the name of a demotion"):
                order(node, action, reason=name, weight=weight)
        assert node.core.carp.intent == Intent()


def test_what_makes_no_sense(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        for weight in (0, -1, 241):
            with pytest.raises(UsageError, match="a weight is 1 to 240"):
                order(node, "demote", reason="upgrade", weight=weight)
        with pytest.raises(UsageError, match="not demoted for that; no operator has demoted it"):
            order(node, "promote", reason="upgrade")
        with pytest.raises(UsageError, match="it is one of maintenance-on, "):
            order(node, "dance")
        assert trail(node) == []


def test_nothing_is_pending(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        assert order(node, "commit") == VipReply(
            True, "nothing is pending: no VIP's addresses or password wait for a peer"
        )


# -- giving away


@pytest.mark.parametrize("action", ["maintenance-on", "disable", "switchover"])
def test_who_took_what_is_said(pair: Pair, action: str) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp, running(pair.fw2, masters(pair.fw2)):
        carp.does = gives_to_fw2
        reply = order(node, action)
        assert reply.done
        assert reply.taken_by == {LAN: "fw2", WAN: "fw2"}
        assert "fw2 serves 1@lan and 2@wan" in reply.text
        assert reply.steps[-1] == "fw2 says that it is MASTER of 1@lan and 2@wan"
        assert trail(node)[0][:2] == ("vip", "done")


def test_a_switchover_to_a_peer_that_is_ill_says_so(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp, running(pair.fw2, masters(pair.fw2)) as other:
        carp.does = gives_to_fw2
        other.says(demotion_total=260, demotion_reasons={"service:web": 240, "upgrade": 20})
        until(lambda: pair.fw2.core.carp.demotion().total == 260, what="fw2 to know of it")
        said = "; fw2 took over although demoted for service:web 240, upgrade 20"
        assert order(node, "switchover").text.endswith(said)


@pytest.mark.parametrize(("preempt", "where"), [("preempt: false", " on fw2"), ("preempt: true", "")])
def test_a_switchover_says_where_to_take_it_back(short_tmp: Path, preempt: str, where: str) -> None:
    with one_node(short_tmp, VIPS.replace("hold_down_s: 0", preempt)) as node, running(node, masters(node)) as carp:
        carp.does = gives_to_fw2
        assert order(node, "switchover").text.endswith(f"or by `syncsrv vip switchover`{where}")


@pytest.mark.parametrize(("told", "who"), [(False, "192.0.2.2"), (True, "fw2")])
def test_a_source_that_no_peer_has_told_is_shown_as_it_is(pair: Pair, told: bool, who: str) -> None:
    with running(pair.fw1, masters(pair.fw1)) as carp:
        if told:
            pair.fw1.core.carp.peer_told("fw2", {"lan": ("192.0.2.2",)})

        def does(report: Report, order: Apply) -> Report:
            report = gives_to_fw2(report, order)
            return replace(report, vips=tuple(replace(one, master_peer="", handover="") for one in report.vips))

        carp.does = does
        assert order(pair.fw1, "maintenance-on").taken_by == {LAN: who, WAN: who}


def test_an_outcome_that_takes_a_moment_is_waited_for(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp:

        def begins(report: Report, order: Apply) -> Report:
            return replace(report, vips=tuple(replace(one, handover="under way") for one in report.vips))

        carp.does = begins

        def ends() -> None:
            carp.says(vips=gives_to_fw2(carp.report, Apply()).vips)

        later = threading.Timer(0.3, ends)
        later.start()
        reply = order(node, "maintenance-on")
        later.join()
        assert (reply.done, reply.taken_by) == (True, {LAN: "fw2", WAN: "fw2"})


def test_maintenance_that_nobody_takes_over_stays_on_and_says_why(pair: Pair) -> None:
    node = pair.fw1
    pair.away.add("fw2")
    with running(node, masters(node)) as carp:
        carp.does = gives_to_nobody
        reply = order(node, "maintenance-on")
        assert not reply.done
        assert reply.text.startswith("maintenance is on; nobody took 1@lan and 2@wan: fw2 does not answer")
        assert "maintenance stays on" in reply.remedy
        assert reply.taken_by == {LAN: "", WAN: ""}
        assert intents.load(node.state).maintenance
        assert trail(node)[0][:2] == ("vip", "failed")


def test_a_switchover_that_nobody_takes_over_is_taken_back(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp:
        carp.does = lambda report, sent: gives_to_nobody(report, sent) if sent.intent == _SWITCH else report
        reply = order(node, "switchover")
        assert not reply.done
        assert reply.text.startswith("the switchover did not happen and is taken back: nobody took 1@lan and 2@wan")
        assert carp.intents()[-2:] == [_SWITCH, Intent()]
        assert intents.load(node.state) == Intent()


_SWITCH = Intent(switchover=True)


def test_half_a_handover_is_none(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp:

        def half(report: Report, order: Apply) -> Report:
            (lan, _), (_, wan) = gives_to_fw2(report, order).vips, gives_to_nobody(report, order).vips
            return replace(report, vips=(lan, wan))

        carp.does = half
        reply = order(node, "maintenance-on")
        assert (reply.done, reply.taken_by) == (False, {LAN: "fw2", WAN: ""})
        assert "fw2 serves 1@lan; nobody took 2@wan" in reply.text


# -- why nobody took over


def why(pair: Pair, *, peer: Report | None = None, badauth: tuple[str, ...] = ()) -> str:
    """What maintenance on fw1 says while fw2's process carp reports that."""
    node = pair.fw1
    device = replace(DEVICE, badauth=badauth)
    with running(node, masters(node)) as carp:
        carp.says(devices=(device,))
        carp.does = gives_to_nobody
        reply = order(node, "maintenance-on")
        assert not reply.done
        return reply.text.partition("2@wan: ")[2]


def test_the_peers_process_is_away(pair: Pair) -> None:
    assert why(pair).startswith("on fw2 the carp process does not run: ")


def test_the_peer_is_in_maintenance_too(pair: Pair) -> None:
    with running(pair.fw2, backups(pair.fw2)):
        order(pair.fw2, "maintenance-on")
        assert why(pair) == "fw2 is in maintenance too"


def test_the_peer_is_disabled(pair: Pair) -> None:
    with running(pair.fw2, backups(pair.fw2, state="INIT")):
        order(pair.fw2, "disable")
        assert why(pair) == "failover is disabled on fw2"


def test_the_peer_is_demoted(pair: Pair) -> None:
    reasons = {"link:eth1": 240, "health:nginx": 30}
    with running(pair.fw2, backups(pair.fw2), demotion_total=270, demotion_reasons=reasons, ready=True):
        pair.fw2.core.carp.set_demotion("health:nginx", 30)
        assert why(pair) == "fw2 is demoted: link:eth1 240, health:nginx 30"


def test_the_peer_was_booted_just_now(pair: Pair) -> None:
    with running(pair.fw2, backups(pair.fw2), hold_down_s=8.0):
        assert why(pair) == "fw2 takes nothing over for 8 s more: it was booted just now"


def test_the_peer_has_another_password(pair: Pair) -> None:
    (pair.fw2.etc / "secrets.yaml").write_text("carp_lan: another\n")
    pair.fw2.core.reload()
    with running(pair.fw2, backups(pair.fw2)):
        said = why(pair, badauth=("192.0.2.2 vhid 1",))
        assert said == (
            "fw2 has other addresses or another password for 1@lan; "
            "192.0.2.2 advertises vhid 1 on eth0 with other addresses or another password"
        )


def test_the_peer_has_no_such_vip(pair: Pair) -> None:
    path = pair.fw2.etc / "cluster.yaml"
    path.write_text(path.read_text().replace("vhid: 2", "vhid: 7"))
    pair.fw2.core.record(via="watch")
    with running(pair.fw2, backups(pair.fw2)):
        assert why(pair) == "fw2 has no vip 2@wan"


def test_the_peer_has_no_link(pair: Pair) -> None:
    with running(pair.fw2, backups(pair.fw2, state="INIT", reason="eth0 has no link")):
        assert why(pair).startswith("fw2 is INIT for 1@lan: eth0 has no link")


def test_the_peer_is_well_and_nothing_arrives(pair: Pair) -> None:
    with running(pair.fw2, backups(pair.fw2)):
        assert why(pair).startswith("fw2 answers over SSH and is well, so CARP does not reach it")


def test_there_is_no_peer(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node, masters(node)) as carp:
        carp.does = gives_to_nobody
        assert order(node, "maintenance-on").text.endswith("nobody took 1@lan and 2@wan: no peer is configured")


# -- switching over


def test_a_backup_cannot_switch_over_and_says_who_can(pair: Pair) -> None:
    with running(pair.fw1, backups(pair.fw1)) as carp:
        with pytest.raises(NotServingError) as caught:
            order(pair.fw1, "switchover")
        assert "fw1 is MASTER of nothing; fw2 serves 1@lan and 2@wan" in str(caught.value)
        assert caught.value.remedy == "run it on fw2"
        assert _SWITCH not in carp.intents()


def test_a_node_that_gave_them_away_takes_them_back(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp:
        carp.does = gives_to_fw2
        assert order(node, "switchover").done
        carp.does = lambda report, _: replace(report, vips=masters(node))
        reply = order(node, "switchover")
        assert (reply.done, reply.text) == (True, "the switchover is taken back; this node serves 1@lan and 2@wan")
        assert intents.load(node.state) == Intent()


def test_a_switchover_ends_when_this_node_is_master_again(pair: Pair) -> None:
    node = pair.fw1
    with running(node, masters(node)) as carp:
        carp.does = gives_to_fw2
        assert order(node, "switchover").done
        assert intents.load(node.state) == _SWITCH
        carp.does = lambda report, _: report
        carp.says(vips=masters(node), switchover=False, demotion_total=0, demotion_reasons={})
        until(lambda: intents.load(node.state) == Intent(), what="the end of the switchover")
        until(lambda: carp.intents()[-1] == Intent(), what="the process to be told")


def test_a_switchover_needs_vips_and_a_process(short_tmp: Path) -> None:
    with single(short_tmp / "a") as node, pytest.raises(UsageError, match="no vips are configured"):
        order(node, "switchover")
    with one_node(short_tmp / "b") as node:
        node.core.carp.start()
        with pytest.raises(NotServingError, match="it does not run"):
            order(node, "switchover")


# -- without the process


def test_orders_count_while_the_process_is_away_and_say_so(short_tmp: Path) -> None:
    with one_node(short_tmp) as node:
        node.core.carp.start()
        reply = order(node, "maintenance-on")
        assert reply.done
        assert reply.text == (
            "maintenance is on: it is written down and counts from when the carp process runs again; "
            "now it does not run, and this node serves nothing"
        )
        assert order(node, "demote", reason="upgrade", weight=20).done
        assert intents.load(node.state) == Intent(maintenance=True, demotions={"upgrade": 20})
        known = node.core.carp.demotion()
        assert (known.total, known.known) == (260, False)


def test_a_process_that_hangs_is_no_success(short_tmp: Path) -> None:
    with one_node(short_tmp) as node, running(node, masters(node)) as carp:
        carp.mute = True
        reply = order(node, "maintenance-on")
        assert not reply.done
        assert "whether this node still serves is unknown" in reply.text
        assert intents.load(node.state).maintenance


def test_without_vips_an_order_waits_for_them(short_tmp: Path) -> None:
    with single(short_tmp) as node:
        assert order(node, "maintenance-on").text == (
            "maintenance is on; no vips are configured, so it counts from when there are some"
        )


def test_a_node_that_served_nothing_says_who_does(pair: Pair) -> None:
    with running(pair.fw1, backups(pair.fw1)):
        reply = order(pair.fw1, "maintenance-on")
        assert (reply.done, reply.text) == (
            True,
            "maintenance is on; this node served nothing; fw2 serves 1@lan and 2@wan",
        )


def test_the_end_of_maintenance_says_what_still_holds_it_back(pair: Pair) -> None:
    with running(pair.fw1, backups(pair.fw1)) as carp:
        order(pair.fw1, "maintenance-on")
        carp.says(demotion_reasons={"maintenance": 240, "link:eth1": 240})
        reply = order(pair.fw1, "maintenance-off")
        assert reply.done
        assert reply.text == (
            "maintenance is off; this node serves nothing yet; fw2 serves 1@lan and 2@wan; "
            "this node is still demoted: link:eth1 240"
        )
