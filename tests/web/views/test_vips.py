"""The parts of the page of the virtual addresses: what is not known is never a zero, a calm word or a button."""

from __future__ import annotations

import pytest

from syncsrv.carp.packet import Drop
from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import UNREPORTED, Demotion, DeviceInfo
from syncsrv.errors import UsageError
from syncsrv.failover.orders import RESERVED
from syncsrv.web.views import vips as page
from syncsrv.web.views.cells import Row
from syncsrv.web.views.failover import Outlook, outlook_of, outlooks
from syncsrv.web.views.ledger import KINDS, MORE, Entry, is_own, ledger
from syncsrv.web.views.members import groups, members
from syncsrv.web.views.nodes import pairs
from syncsrv.web.views.viporders import Order, orders, request
from tests.web.views.failovers import AT, RUNS, STANDINGS, on_fw2, serving, silent, told, two, vip, vips, waiting
from tests.web.views.standings import NOW, backup, master, peer, service


def row(status: Status, label: str) -> Row:
    return next(row for row in pairs(status, NOW)[0].rows if row.label == label)


def entry(status: Status, label: str) -> Entry:
    return next(entry for entry in ledger(members(status, AT)) if entry.label == label)


def ordered(status: Status) -> dict[str, Order]:
    nodes = members(status, AT)
    return dict(orders(status, nodes, groups(nodes, AT), NOW))


def outlook(status: Status) -> Outlook:
    found = outlooks(status, NOW)
    assert len(found) == 1
    return found[0]


# -- the overview's rows


def test_who_holds_what_stands_beside_who_waits() -> None:
    found = row(STANDINGS["serves"], "Virtual IPs")
    assert [(plate.word, plate.look, plate.text) for plate in found.left.plates] == [("MASTER", "solid", "for all 3")]
    assert [(plate.word, plate.text) for plate in found.right.plates] == [("BACKUP", "for all 3, hears fw1")]
    assert found.left.plates[0].addresses == ("192.0.2.10", "2001:db8::10", "198.51.100.10")
    assert (found.sign, found.kind) == ("", "")


def test_what_is_held_twice_is_bad_and_only_that() -> None:
    there = {"vips": (vip("BACKUP", node="fw1"), vip("MASTER", "wan")), "failover": RUNS}
    found = row(two(serving(), there), "Virtual IPs")
    assert (found.sign, found.kind) == ("different", "bad")
    assert [(plate.word, plate.look) for plate in found.left.plates] == [("MASTER", "solid"), ("MASTER", "bad")]
    assert [(plate.word, plate.look) for plate in found.right.plates] == [("BACKUP", ""), ("MASTER", "bad")]


@pytest.mark.parametrize("name", ["unknown", "unknown there", "unreachable"])
def test_what_is_not_known_has_no_calm_sign(name: str) -> None:
    for label in ("Virtual IPs", "Demotion"):
        assert row(STANDINGS[name], label).sign == "unknown"


def test_a_silent_carp_process_has_no_plate() -> None:
    found = row(STANDINGS["unknown"], "Virtual IPs").left
    assert (found.plates, found.kind) == ((), "off")
    assert "does not answer" in found.text
    assert "nobody listens" in found.notes[0]
    assert row(STANDINGS["unknown"], "Demotion").left.text == "not known"


def test_demotion_is_the_same_only_where_neither_is_demoted() -> None:
    assert row(STANDINGS["serves"], "Demotion").sign == "same"
    found = row(STANDINGS["demoted"], "Demotion")
    assert (found.sign, found.kind, found.right.text, found.right.notes) == (
        "different",
        "warn",
        "240",
        ("link:eth1 240",),
    )


def test_a_lost_node_that_is_heard_on_the_network() -> None:
    found = row(two(waiting("fw2"), serving(), "unreachable"), "Virtual IPs")
    assert "heard on the network as MASTER on lan, wan" in found.right.notes


@pytest.mark.parametrize(
    ("told", "page"),
    [
        ("192.0.2.2:8443", "https://192.0.2.2:8443/vips"),
        ("[2001:db8::2]:8443", "https://[2001:db8::2]:8443/vips"),
        ("", ""),
        ("evil.example:8443", ""),
        ('192.0.2.2:8443/" onclick="alert(1)', ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_peers_page_is_an_address_or_nothing(told: str, page: str) -> None:
    _, fw2 = members(two(serving(), waiting(page=told)), AT)
    assert fw2.page == page


# -- the ledger


def test_every_reason_that_is_looked_at_has_a_line_also_where_it_is_zero() -> None:
    found = ledger(members(STANDINGS["serves"], AT))
    assert [entry.label for entry in found] == [*(label for label, _ in KINDS.values()), "Total"]
    assert {one.text for entry in found for one in entry.amounts} == {"0"}
    assert entry(STANDINGS["serves"], "link").note == "eth0, eth1 up on fw1 and fw2"


def test_what_is_not_known_is_no_zero() -> None:
    found = entry(STANDINGS["unknown"], "Total")
    assert [one.text for one in found.amounts] == ["?", "0"]
    ordered_so = two(silent(demotion=Demotion(240, {"maintenance": 240, UNREPORTED: 0})), waiting())
    assert [one.text for one in entry(ordered_so, "maintenance").amounts] == ["240", "0"]
    assert [one.text for one in entry(ordered_so, "link").amounts] == ["?", "0"]
    never = two(serving(), {}, "unknown")
    assert [one.text for one in entry(never, "Total").amounts] == ["0", "?"]


def test_reasons_are_gathered_and_named() -> None:
    reasons = {
        "link:eth1": 240,
        "service:dns": 240,
        "service:ntp": 240,
        "upgrade": 30,
        "gravity:low": 7,
        "diverged": 10,
    }
    status = two(serving(), waiting(demotion=Demotion(767, reasons)))
    assert entry(status, "service health").note == "dns, ntp on fw2"
    assert [one.text for one in entry(status, "service health").amounts] == ["0", "480"]
    assert entry(status, "link").note == "eth1 on fw2"
    assert entry(status, "upgrade").own == "upgrade"
    assert entry(status, "gravity:low").amounts[1].text == "7"
    assert entry(status, "diverged").own == ""
    assert entry(status, "Total").amounts[1].heavy


@pytest.mark.parametrize(
    "name",
    [*sorted(RESERVED - {"disabled"}), "link:eth0", "send-errors:eth0", "addresses:eth0", "service:x", UNREPORTED],
)
def test_only_what_an_operator_gave_can_be_taken_by_one(name: str) -> None:
    assert not is_own(name)
    assert is_own("upgrade")


# -- VIP by VIP


def test_every_reason_that_is_not_an_operators_has_a_line() -> None:
    nowhere = {"disabled", UNREPORTED}  # said elsewhere on the page
    assert RESERVED - nowhere <= {*KINDS, *MORE}


def test_every_reason_to_drop_a_packet_has_words() -> None:
    assert set(page.DROPS) == {str(drop) for drop in Drop}
    counted = {
        "received": 9,
        "accepted": 1,
        "sent": 4,
        "send_errors": 2,
        "badauth": 1500,
        "own": 8,
        "vrrp": 0,
        "new": 1,
    }
    assert page.reasons_of(counted) == (
        "1,500 with another password or other addresses",
        "8 sent by this node itself",
        "1 new",
    )


def test_a_vip_on_two_nodes() -> None:
    status = STANDINGS["serves"]
    nodes = members(status, AT)
    lan, wan = page.lines(nodes, groups(nodes, AT))
    assert (lan.families, lan.devices, wan.families) == ("IPv4 + IPv6", "eth0", "IPv4")
    here, there = lan.readings["fw1"], lan.readings["fw2"]
    assert here is not None
    assert there is not None
    assert (here.look, here.skew, there.skew) == ("solid", "skew 0", "skew 100")
    assert there.notes == ("hears fw1 (192.0.2.1), skew 0",)
    assert lan.counts[0].dropped is None, "not told, so not 0"


def test_what_is_odd_about_a_vip_is_said() -> None:
    odd = vip("BACKUP", held=("192.0.2.10/24",), advskew=0, advertised=240, handover="no peer took over")
    gone = vip("MASTER", "wan", held=(), conflicts=("02:00:00:00:00:07 answers too",))
    nodes = members(two({"vips": (odd, gone), "failover": RUNS}, waiting()), AT)
    lan, wan = (line.readings["fw1"] for line in page.lines(nodes, groups(nodes, AT)))
    assert lan is not None
    assert wan is not None
    assert lan.notes == ("last handover: no peer took over", "still on eth0: 192.0.2.10/24")
    assert lan.skew == "skew 0, advertises 240"
    assert wan.bad == ("02:00:00:00:00:07 answers too", "not on eth1: 198.51.100.10/24")


def test_who_else_speaks_on_a_device() -> None:
    loud = DeviceInfo("eth0", ("lan",), True, vrrp=(51,), foreign=("192.0.2.9",), badauth=("192.0.2.7 vhid 1",))
    (one,) = page.devices(members(master({}, **serving(failover=told(devices=(loud,)))), AT))
    assert len(one.strangers) == 3


# -- what can be ordered


def test_a_switchover_names_who_takes_over_and_what_it_would_serve() -> None:
    status = two(serving(), waiting(services=(service(restart_pending=True),), behind=3), "changes_pending")
    one = ordered(status)["switchover"]
    assert (one.label, one.why) == ("Switch over to fw2", "")
    assert one.outlook is not None
    assert {fact.claim for fact in one.against} == {
        "nginx would serve an old configuration",
        "fw2 would run sync/000002",
    }


@pytest.mark.parametrize("name", ["unreachable", "not taken", "nobody"])
def test_nobody_takes_over_where_nobody_is_known_to_be_ready(name: str) -> None:
    assert all(one.outlook is None for one in ordered(STANDINGS[name]).values())


def test_a_node_that_holds_nothing_gives_nothing_away() -> None:
    assert "fw2 does" in ordered(STANDINGS["backup serves"])["switchover"].why
    after = two(waiting("fw2", failover=told(switchover=True)), serving())
    assert ordered(after)["switchover"].label == "Take the switchover of fw1 back"


def test_what_is_on_can_be_ended_and_the_other_way_round() -> None:
    assert {"maintenance-on", "disable", "demote", "switchover"} == set(ordered(STANDINGS["serves"]))
    assert "maintenance-off" in ordered(STANDINGS["maintenance"])
    assert "enable" in ordered(two(waiting(failover=told(disabled=True)), serving()))
    own = two(serving(demotion=Demotion(30, {"upgrade": 30, "link:eth0": 0})), waiting())
    assert "promote:upgrade" in ordered(own)


def test_a_third_node_takes_over_where_its_skew_is_smaller() -> None:
    fw3 = waiting(vips=vips("BACKUP", node="fw1", advskew=50, advertised=50))
    status = master({"fw2": peer(**waiting()), "fw3": peer(**fw3)}, **serving())
    assert ordered(status)["switchover"].label == "Switch over to fw3"


def test_a_form_is_read() -> None:
    fields = {"action": "promote:upgrade", "why": " done "}
    found = request(lambda name: fields.get(name, ""))
    assert (found.action, found.reason, found.why) == ("promote", "upgrade", "done")
    with pytest.raises(UsageError):
        request(lambda name: {"action": "demote", "weight": "-1"}.get(name, ""))


# -- if we failed over now


@pytest.mark.parametrize(
    ("name", "kind", "claim"),
    [
        ("serves", "ok", "fw2 is next in line for all 3 addresses"),
        ("two masters", "bad", "Held twice already: 192.0.2.10, 2001:db8::10"),
        ("unknown there", "bad", "The carp process on fw2 does not answer"),
        ("demoted", "warn", "fw2 is demoted by 240 (link:eth1 240)"),
        ("not taken", "bad", "fw2 is INIT for 1@lan, 2@wan: eth0 has no link"),
        ("maintenance", "warn", "fw1 is in maintenance"),
    ],
)
def test_what_would_become_of_the_addresses(name: str, kind: str, claim: str) -> None:
    found = [fact for fact in outlook(STANDINGS[name]).facts if fact.claim == claim]
    assert [fact.kind for fact in found] == [kind]


def test_it_is_about_the_node_that_does_not_serve() -> None:
    assert outlook(STANDINGS["serves"]).node == "fw2"
    assert outlook(STANDINGS["backup serves"]).node == "fw1"
    assert outlook(on_fw2(waiting(), serving())).node == "fw2"
    assert outlook(on_fw2(serving(), waiting())).node == "fw1"


def test_how_long_a_silence_it_takes() -> None:
    (fact,) = [fact for fact in outlook(STANDINGS["serves"]).facts if "next in line" in fact.claim]
    assert fact.evidence.startswith("It heard fw1 0.4 s ago, and takes over after 3.4 s of silence")


def test_how_long_a_silence_it_takes_below_a_second() -> None:
    fast = waiting(vips=vips("BACKUP", node="fw1", advbase=0, advskew=26, advertised=26, master_advskew=25))
    (fact,) = [fact for fact in outlook(two(serving(), fast)).facts if "next in line" in fact.claim]
    assert "takes over after 0.3 s of silence" in fact.evidence


def test_that_nobody_serves_is_certain_as_soon_after_a_demoted_master_as_after_any() -> None:
    for skew in (0, 240):
        lost = {
            "vips": vips("BACKUP", since="2026-11-23T04:20:52Z", heard_s=20.0, master_advskew=skew),
            "failover": RUNS,
        }
        found = groups(members(two(lost, lost), AT), AT)
        assert [(group.holders, group.certain) for group in found] == [((), True), ((), True)]


def test_one_behind_another() -> None:
    fw3 = waiting(vips=vips("BACKUP", node="fw1", advskew=200, advertised=200))
    status = master({"fw2": peer(**waiting()), "fw3": peer(**fw3)}, **serving())
    assert any("fw2 would take the addresses before fw3" in fact.claim for fact in outlook_of(status, "fw3", NOW).facts)


def test_where_none_are_configured_the_panel_stays_calm() -> None:
    (fact,) = [fact for fact in outlook(master()).facts if "virtual" in fact.claim]
    assert (fact.kind, fact.claim) == ("off", "No virtual addresses are configured")
    assert outlook(master()).kind == "ok"
    assert outlook(backup()).kind == "ok"
