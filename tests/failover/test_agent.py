"""Two real agents on one bridge: who serves, what happens to addresses, what is told, and what an order changes."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.asking import CarpRefusedError, Client
from syncsrv.failover.intent import FILE as INTENT
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import PeerServes, Report
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_REPLACE
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes, serve
from tests.support.lab import DEVICE, VIP, VIP6, Lab, lab
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab

SECOND = replace(QUICK, vhid=2, addresses=("10.99.0.200/24",))

REFUSED = """
import socket
one = socket.socket(socket.{family}, socket.SOCK_DGRAM)
one.settimeout(5)
one.connect(("{address}", 9))
one.send(b"x")
try:
    one.recv(1)
except ConnectionRefusedError:
    print("refused")
"""
"""Says so when a machine answers at an address, where nothing listens."""


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def pair(net: Lab, short_tmp: Path) -> Iterator[tuple[CarpNode, CarpNode]]:
    with carp_nodes(net, short_tmp) as nodes:
        yield nodes


def put(node: CarpNode, address: str, lifetime_s: float = 1000) -> None:
    """An address with our mark, as a process of ours would have put it there."""
    with node.lab.spaces.asking(node.name) as requests:
        index = int(node.lab.spaces.python(node.name, f"import socket; print(socket.if_nametoindex('{DEVICE}'))"))
        body = rt.new_address(index, ip_interface(address), lifetime_s, prefix_route=False)
        requests.ask(rt.RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)


def test_the_better_one_serves_and_the_other_knows_it(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    until(lambda: a.lab.holders() == {"a"} and a.lab.holders(VIP6) == {"a"}, what="one holder")
    one, other = a.report(), b.report()
    assert one is not None
    assert other is not None
    assert one.vips[0].held == QUICK.addresses
    assert other.vips[0].held == ()
    assert (other.vips[0].master_peer, other.vips[0].master_advskew) == ("a", 10)
    assert one.guardian_pid == a.pid
    assert a.node.address in one.devices[0].sources
    assert not {VIP, VIP6} & set(one.devices[0].sources)
    assert one.settings_digest == a.settings.digest
    assert one.troubles == ()
    assert stat.S_IMODE(a.run_dir.stat().st_mode) == 0o755
    assert stat.S_IMODE((a.run_dir / "carp.sock").stat().st_mode) == 0o600


def test_an_address_that_something_removes_is_put_back(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = serve(pair)
    for address in QUICK.addresses:
        a.lab.spaces.address("a", DEVICE, address, remove=True)
        until(lambda address=address: a.node.holds(address.partition("/")[0]), what=f"{address} to be back")  # type: ignore[misc]  # bound at once
    assert "something removed 10.99.0.100/24 from eth0; put back" in a.text(), a.text()
    vip = a.await_state("MASTER")
    assert vip.held == QUICK.addresses


def test_what_is_ours_and_stands_on_a_backup_is_removed(pair: tuple[CarpNode, CarpNode]) -> None:
    _, b = serve(pair)
    put(b, QUICK.addresses[0])
    until(lambda: "removed from eth0, where this node is not MASTER: 10.99.0.100/24" in b.text(), what="its removal")
    assert not b.node.holds()
    assert b.node.holds(b.node.address)


@pytest.mark.parametrize("length", [24, 32])
def test_what_somebody_puts_on_a_backup_is_removed_too(pair: tuple[CarpNode, CarpNode], length: int) -> None:
    """Network scripts that know the address as one of the host's own: two would answer for it, for ever."""
    _, b = serve(pair)
    b.node.ip(f"addr add {VIP}/{length} dev {DEVICE}")
    until(lambda: not b.node.holds(), what="the stray's removal")
    until(lambda: f"where this node is not MASTER: {VIP}/{length}" in b.text(), what="its line in the log")
    own = {b.node.address, b.node.address6}
    assert own <= b.node.addresses()


def test_out_of_failover_people_help_themselves(pair: tuple[CarpNode, CarpNode]) -> None:
    _, b = serve(pair)
    b.apply(intent=Intent(disabled=True))
    b.await_state("INIT")
    b.node.ip(f"addr add {VIP}/24 dev {DEVICE}")
    seq = b.await_report(lambda report: report.disabled).seq
    b.apply(intent=Intent(disabled=True, demotions={"test": 1}))
    b.await_report(lambda report: report.seq > seq)
    assert b.node.holds()


def test_what_an_earlier_process_left_is_removed_before_anything_else(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    put(a, QUICK.addresses[0])
    a.start()
    until(lambda: "removed from eth0 what was left there: 10.99.0.100/24" in a.text(), what="the sweep")
    a.await_state("MASTER")


def test_another_vhid_leaves_the_first_untouched_and_goes_as_it_came(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    before = a.await_state("MASTER")
    for node in (a, b):
        node.apply(replace(node.settings, vips=(QUICK, SECOND)))
    a.await_state("MASTER", vhid=2)
    until(lambda: a.lab.holders("10.99.0.200") == {"a"}, what="the second vhid to be served")
    for node in (a, b):
        node.apply(replace(node.settings, vips=(QUICK,)))
    until(lambda: a.lab.holders("10.99.0.200") == set(), what="the second vhid to be gone")
    after = a.await_report(lambda report: len(report.vips) == 1).vips[0]
    assert (after.since_boot_s, after.transitions) == (before.since_boot_s, before.transitions)
    assert a.text().count("vhid 1 on eth0: BACKUP -> MASTER") == 1
    assert "vhid 1 on eth0: MASTER" not in a.text()
    assert "vhid 2 on eth0: MASTER" in a.text()


def test_a_masters_new_address_comes_without_a_change_of_state(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    before = a.await_state("MASTER")
    other = replace(QUICK, addresses=("10.99.0.101/24",), wire=QUICK.own_set)
    for node in (b, a):  # the old digest stays on the wire, so that nobody is misunderstood
        node.apply(replace(node.settings, vips=(other,)))
    until(lambda: a.lab.holders("10.99.0.101") == {"a"} and a.lab.holders() == set(), what="the other address")
    after = a.await_state("MASTER")
    assert (after.transitions, after.held) == (before.transitions, ("10.99.0.101/24",))
    assert b.await_state("BACKUP").counters["badauth"] == 0


def test_maintenance_hands_over_and_says_to_whom_and_ends_with_the_order(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    a.apply(intent=Intent(maintenance=True))
    b.await_state("MASTER")
    report = a.await_report(lambda report: report.vips[0].state == "BACKUP")
    assert report.vips[0].handover.startswith("taken by b")
    assert (report.maintenance, report.demotion_reasons, report.vips[0].advertised) == (True, {"maintenance": 240}, 240)
    until(lambda: a.lab.holders() == {"b"}, what="b to be the only holder")
    a.apply(intent=Intent())
    a.await_state("MASTER")
    b.await_state("BACKUP")


def test_without_a_peer_maintenance_says_that_nobody_took_over(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    a.start().await_state("MASTER")
    a.apply(intent=Intent(maintenance=True))
    report = a.await_report(lambda report: report.vips[0].handover not in ("", "under way"))
    assert (report.vips[0].handover, report.vips[0].state) == ("no peer took over", "MASTER")
    assert a.node.holds()


def test_a_machine_that_answers_for_the_address_too_is_named_until_it_does_not(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    a.lab.spaces.address("client", DEVICE, QUICK.addresses[0])
    a.start().await_state("MASTER")
    (said,) = a.await_report(lambda report: report.vips[0].conflicts != ()).vips[0].conflicts
    assert said.endswith(" answers for 10.99.0.100 on eth0 too")
    a.lab.spaces.address("client", DEVICE, QUICK.addresses[0], remove=True)
    a.await_report(lambda report: report.vips[0].conflicts == (), 15)
    assert a.await_state("MASTER").transitions == 2


def test_a_takeover_from_a_peer_is_no_conflict(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = pair
    b.start().await_state("MASTER")
    a.start().await_state("MASTER")
    sent = a.await_state("MASTER").counters["sent"]
    a.await_report(lambda report: report.vips[0].counters["sent"] > sent + 80)  # 3 s: the probe has been answered
    assert "answers for" not in a.text()


def test_a_disabled_node_holds_nothing_and_stays_so_when_started_again(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    a.apply(intent=Intent(disabled=True))
    a.await_state("INIT")
    b.await_state("MASTER")
    a.signal(signal.SIGTERM)
    assert a.wait() == 0
    a.start()
    assert a.await_report(lambda report: report.disabled).vips[0].state == "INIT"


def test_orders_that_cannot_be_read_demote(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    (a.state_dir / INTENT).write_text("{")
    a.start()
    report = a.await_report(lambda report: report.vips[0].state == "MASTER")
    assert report.demotion_reasons == {"orders-unreadable": 240}
    assert "cannot tell what was ordered of failover" in report.troubles[0]
    a.apply(intent=Intent())
    a.await_report(lambda report: report.demotion_total == 0 and report.troubles == ())


def test_until_it_is_told_ready_it_is_demoted(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp, ready_timeout_s=60.0) as (a, _):
        a.start()
        report = a.await_report(lambda report: report.vips[0].state == "MASTER")  # alone it serves all the same
        assert (report.ready, report.demotion_reasons) == (False, {"not-ready": 240})
        a.apply(ready=True)
        a.await_report(lambda report: report.ready and report.demotion_total == 0)


def test_who_cannot_have_all_addresses_gives_way_to_who_can(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = pair
    a.lab.spaces.write("a", f"net/ipv6/conf/{DEVICE}/disable_ipv6", "1")
    report = a.start().await_report(lambda report: report.demotion_reasons == {f"addresses:{DEVICE}": 240})
    assert report.vips[0].state == "MASTER"
    assert report.vips[0].held == (f"{VIP}/24",)
    b.start().await_state("MASTER")
    assert not a.await_state("BACKUP").held
    assert a.await_report(lambda report: True).demotion_total == 240


def test_below_a_second_only_among_peers_that_are_known(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp, own_peers={}) as (a, _):
        a.start()
        vip = a.await_report(lambda report: report.vips[0].reason.startswith("advbase 0")).vips[0]
        assert vip.state == "INIT"
        assert "pair the nodes, or set advbase to 1 or more" in vip.reason
        a.apply(replace(a.settings, own_peers={"b": ("10.99.0.2",)}))
        a.await_state("MASTER")


def test_unicast_peers_need_no_multicast(net: Lab, short_tmp: Path) -> None:
    peers = tuple(sorted({net["a"].address, net["b"].address, net["a"].address6, net["b"].address6}))
    with carp_nodes(net, short_tmp, vips=(replace(QUICK, unicast=peers),)) as pair:
        a, b = serve(pair)
        report = b.report()
        assert report is not None
        assert report.vips[0].master_source == a.node.address
        assert report.devices[0].drops["badsource"] == 0
        a.signal(signal.SIGKILL, a.agent_pid)
        assert b.await_state("MASTER").reason == f"a ({a.node.address}) said farewell"


def test_with_the_groups_own_mac_neighbours_keep_what_they_know(net: Lab, short_tmp: Path) -> None:
    def known() -> str:
        assert net.spaces.python("client", REFUSED.format(family="AF_INET", address=VIP)) == "refused\n"
        return json.loads(net.client.ip(f"-json neigh show {VIP}"))[0]["lladdr"]  # type: ignore[no-any-return]  # iproute2's

    with carp_nodes(net, short_tmp, vips=(replace(QUICK, virtual_mac=True),)) as pair:
        a, b = serve(pair)
        assert a.await_state("MASTER").held == QUICK.addresses
        assert known() == "00:00:5e:00:01:01"
        assert net.spaces.python("client", REFUSED.format(family="AF_INET6", address=VIP6)) == "refused\n"
        a.signal(signal.SIGTERM)
        assert a.wait() == 0
        b.await_state("MASTER")
        assert known() == "00:00:5e:00:01:01"
        assert net.holders() == net.holders(VIP6) == {"b"}
        b.signal(signal.SIGKILL, b.agent_pid)
        assert "removed 10.99.0.100/24 from vh1-eth0" in until(
            lambda: next((one for one in b.text().splitlines() if "its guardian has" in one), ""), what="the guardian"
        )
        b.await_state("MASTER")
        b.apply(replace(b.settings, vips=(QUICK,)))  # the MAC of the device again, in flight
        until(lambda: "vh1-eth0" not in b.node.ip("-o -4 addr show") and b.node.holds(), what="the address on eth0")
        assert known() != "00:00:5e:00:01:01"


def test_a_deaf_node_believes_what_a_peer_says_by_another_way(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp) as (_, b):
        b.start().await_state("MASTER")
        with Client(b.run_dir) as client:
            for wrong, why in (
                (PeerServes(DEVICE, 2, "a", 0, 10, 5.0), "vhid 2 on eth0: it is not configured"),
                (PeerServes(DEVICE, 1, "c", 0, 10, 5.0), "by c: it is none of our nodes"),
            ):
                with pytest.raises(CarpRefusedError, match=why):
                    client.apply(wrong)
            client.apply(PeerServes(DEVICE, 1, "a", 0, 10, 2.0))
        b.await_state("BACKUP")
        b.await_state("MASTER")  # when nobody repeats it


def test_a_link_that_is_lost_and_comes_back(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    a.lab.pull("a")
    vip = a.await_state("INIT")
    assert vip.reason == "eth0 has no link"
    assert not a.node.holds()
    b.await_state("MASTER")
    a.lab.plug("a")
    a.await_state("BACKUP")
    a.await_report(lambda report: report.vips[0].master_peer == "b")


def test_a_device_that_is_deleted_and_made_again_is_used_again(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    a.lab.spaces.unplug("a")
    assert a.await_state("INIT").reason == "there is no device eth0"
    b.await_state("MASTER")
    a.lab.spaces.plug("a")
    a.lab.give(a.node)
    a.await_report(lambda report: report.vips[0].state == "BACKUP" and report.vips[0].master_peer == "b")
    a.await_state("MASTER")  # its new link-local address is unknown to b, which knows it by what it says
    b.await_report(lambda report: report.vips[0].state == "BACKUP" and report.vips[0].master_peer == "a")


def test_who_watches_is_told_of_each_change_and_of_the_latest_if_he_is_slow(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    with Client(a.run_dir) as watcher, Client(a.run_dir) as slow:
        seen: list[Report] = [watcher.watch()]
        slow.watch()
        a.apply(intent=Intent(maintenance=True))
        while seen[-1].vips[0].state != "BACKUP":
            seen.append(watcher.next(deadline_s=2))
        assert [one.seq for one in seen] == sorted({one.seq for one in seen})
        b.await_state("MASTER")
        asked = a.report()
        assert asked is not None
        while (latest := slow.next(deadline_s=7)).seq < asked.seq:
            pass
        assert latest.vips[0].state == "BACKUP"


def test_a_flood_of_clients_harms_nobody(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(a.run_dir)) for _ in range(30)]
        for client in clients[:16]:
            client.close()
        until(a.report, what="an answer in spite of those who hold connections")
    assert b.await_state("BACKUP").transitions == 1
