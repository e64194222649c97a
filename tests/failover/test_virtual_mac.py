"""The group's own MAC: what clients and switches know stays and is right, and nothing answers where it must not."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.intent import Intent
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes, serve
from tests.support.carpcap import Tap
from tests.support.lab import DEVICE, VIP, VIP6, Lab, Prober, command, lab
from tests.support.netns import Lab as Spaces
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab

MAC = "00:00:5e:00:01:01"
NAME = "vh1-eth0"
VIRTUAL = replace(QUICK, virtual_mac=True)
FAR = replace(VIRTUAL, addresses=("192.0.2.100/24", "2001:db8::100/64"))
"""In a network where no node has an address of its own."""


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def pair(net: Lab, short_tmp: Path) -> Iterator[tuple[CarpNode, CarpNode]]:
    with carp_nodes(net, short_tmp, vips=(VIRTUAL,)) as nodes:
        yield nodes


def neighbours(net: Lab) -> dict[str, str]:
    """Address to MAC, as the client knows them."""
    found = json.loads(net.client.ip("-json neigh show"))
    return {one["dst"]: one["lladdr"] for one in found if "lladdr" in one}


def port(net: Lab, mac: str = MAC) -> str:
    """Behind which port the bridge knows a MAC; empty: behind none."""
    done = net.spaces.run(Spaces.BRIDGE, [*command("bridge"), "-json", "fdb", "show", "br", "br0"])
    return next((str(one["ifname"]) for one in json.loads(done.stdout) if one["mac"] == mac), "")


def device(node: CarpNode, name: str = NAME) -> tuple[str, bool] | None:
    """(MAC, switched on) of a node's device; None where there is none."""
    for one in json.loads(node.node.ip("-json link show")):
        if one["ifname"] == name:
            return one["address"], "UP" in one["flags"]
    return None


def ping(net: Lab, address: str, source: str = "") -> bool:
    code = f"""
import socket
six = ":" in "{address}"
one = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(2)
if "{source}": one.bind(("{source}", 0))
one.connect(("{address}", 9))
one.send(b"x")
try:
    one.recv(1)
except ConnectionRefusedError:
    print("answers")
except OSError as error:
    print(error)
"""
    return net.spaces.python("client", code) == "answers\n"


def test_what_neighbours_know_stays_over_each_failover(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    assert (device(a), device(b)) == ((MAC, True), (MAC, False))
    assert not b.node.addresses(NAME)
    with Tap(net.client) as tap, Prober(net, interval_s=0.005) as prober, Prober(net, VIP6, 0.005) as prober6:
        until(lambda: {VIP, VIP6} <= set(neighbours(net)), what="the client to know both")
        known = tap.announcements(VIP)
        for lose, (gone, serves) in enumerate(((a, b), (b, a), (a, b))):
            match lose:
                case 0:  # in order: the better one comes back
                    gone.signal(signal.SIGTERM)
                    assert gone.wait() == 0
                    assert device(gone) is None
                case 1:
                    serves.start()
                case 2:  # and is killed
                    gone.signal(signal.SIGKILL, gone.agent_pid)
            serves.await_state("MASTER")
            until(lambda serves=serves: port(net) == serves.name, what="the bridge to know the way")  # type: ignore[misc]  # bound at once
            assert {neighbours(net)[one] for one in (VIP, VIP6)} == {MAC}
        assert all(seen.end().outage_s(0) < 0.5 for seen in (prober, prober6))
        assert len(tap.announcements(VIP)) > len(known)
        claims = {one.source_mac for one in tap.packets() if one.frame[28:32] == bytes((10, 99, 0, 100))}
        assert claims == {MAC}  # nobody ever says that the address is at another one


def test_adverts_keep_the_way_open_and_farewells_do_not(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """A switch that forgot the MAC learns it with the next advert; no ARP is needed for it."""
    a, _ = serve(pair)
    with Tap(net.client) as tap:
        done = net.spaces.run(Spaces.BRIDGE, [*command("bridge"), "fdb", "del", MAC, "dev", "a", "master"])
        assert done.returncode == 0, done.stderr
        until(lambda: port(net) == "a", what="the bridge to learn it again")
        found = until(lambda: [one for one in tap.carp() if one.advert], what="adverts")
        assert {one.source_mac for one in found} == {MAC}
        assert {(len(one.frame), one.ttl, one.frame[15]) for one in found if one.ethertype == 0x0800} == {
            (70, 255, 0xE0)
        }
        a.signal(signal.SIGTERM)
        a.wait()
        last = until(lambda: [one for one in tap.carp() if one.advert and one.advert.is_farewell], what="farewells")
        assert MAC not in {one.source_mac for one in last}


def test_two_masters_hear_each_other_and_one_yields(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """Linux keeps what comes from a macvlan's own MAC from the device below, unless the mode is right."""
    a, b = serve(pair)
    net.cut("b")
    b.await_state("MASTER")
    a.await_state("MASTER")
    net.mend("b")
    b.await_report(lambda report: report.vips[0].state == "BACKUP" and report.vips[0].master_peer == "a")
    until(lambda: device(b) == (MAC, False) and net.holders() == {"a"}, what="b to let go")
    until(lambda: port(net) == "a", what="the way to a")
    assert ping(net, VIP)


def test_a_stopped_node_does_not_take_it_back(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """Stopped with its guardian, with its addresses on it: its successor's announcement decides (accept_local is off).

    It does answer a client that asks everybody, until the lifetime ends; the next advert sets that right.
    """
    a, b = serve(pair)
    assert ping(net, VIP)
    for pid in (a.pid, a.agent_pid):
        a.signal(signal.SIGSTOP, pid)
    b.await_state("MASTER")
    assert net.holders() == {"a", "b"}  # until the lifetime ends
    until(lambda: port(net) == "b", what="the way to b")
    assert ping(net, VIP)
    assert port(net) == "b"
    net.client.ip(f"neigh flush dev {DEVICE}")
    until(lambda: ping(net, VIP) and port(net) == "b", what="the way to b again")
    until(lambda: net.holders() == {"b"}, deadline_s=12, what="the kernel to remove what a had")


def left_groups(tap: Tap) -> list[bytes]:
    """Reports from the group's MAC that somebody left a multicast group (RFC 3810: CHANGE_TO_INCLUDE_MODE)."""
    reports = [one.frame for one in tap.packets() if one.source_mac == MAC and one.frame[12:14] == b"\x86\xdd"]
    return [one for one in reports if one[54:55] == b"\x3a" and one[62] == 143 and one[70] == 3]


@pytest.mark.parametrize("killed", [False, True])
def test_who_serves_no_longer_leads_switches_nowhere(net: Lab, short_tmp: Path, *, killed: bool) -> None:
    """It is switched off first: its addresses would go with a report from the group's MAC, and take the way along."""
    with carp_nodes(net, short_tmp, vips=(VIRTUAL,), preempt="never") as pair, Tap(net.client) as tap:
        a, b = serve(pair)
        if killed:
            a.signal(signal.SIGKILL, a.agent_pid)
            until(lambda: "its guardian has" in a.text(), what="the guardian")
            assert "removed 10.99.0.100/24 from vh1-eth0" in a.text()
        else:
            a.apply(intent=Intent(maintenance=True))
        b.await_state("MASTER")
        until(lambda: net.holders() == {"b"}, what="b alone")
        assert device(a) == (MAC, False)
        b.await_report(lambda report: report.vips[0].counters["sent"] > 12, what="a second to pass")
        assert not left_groups(tap)


def test_in_a_network_of_its_own_it_brings_the_routes(net: Lab, short_tmp: Path) -> None:
    for address in ("192.0.2.9/24", "2001:db8::9/64"):
        net.spaces.address("client", DEVICE, address)
    with carp_nodes(net, short_tmp, vips=(FAR,)) as pair:
        a, _ = serve(pair)
        for address in ("192.0.2.100", "2001:db8::100"):
            assert ping(net, address)
            assert neighbours(net)[address] == MAC
        routes = a.node.ip("route show") + a.node.ip("-6 route show")
        assert f"192.0.2.0/24 dev {NAME}" in routes
        assert f"2001:db8::/64 dev {NAME}" in routes
        assert f"10.99.0.0/24 dev {NAME}" not in routes


def test_where_the_device_has_the_network_no_route_comes(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    before = net["a"].ip("route show") + net["a"].ip("-6 route show")
    a, _ = serve(pair)
    a.await_report(lambda report: report.vips[0].counters["sent"] > 30)  # over some refreshes
    assert net["a"].ip("route show") + net["a"].ip("-6 route show") == before
    assert "put back" not in a.text()


@pytest.mark.parametrize("forwards", ["0", "1"])
def test_its_settings(net: Lab, pair: tuple[CarpNode, CarpNode], forwards: str) -> None:
    for family in ("ipv4", "ipv6"):
        net.spaces.write("a", f"net/{family}/conf/{DEVICE}/forwarding", forwards)
    net.spaces.write("a", f"net/ipv4/conf/{DEVICE}/rp_filter", "1")
    pair[0].start().await_state("MASTER")

    def read(setting: str) -> str:
        return net.spaces.read_setting("a", f"net/{setting}")

    assert read(f"ipv4/conf/{NAME}/rp_filter") == "2"
    assert read(f"ipv4/conf/{NAME}/arp_ignore") == read(f"ipv4/conf/{DEVICE}/arp_ignore") == "1"
    assert read(f"ipv4/conf/{NAME}/arp_announce") == read(f"ipv4/conf/{DEVICE}/arp_announce") == "2"
    assert read(f"ipv4/conf/{NAME}/accept_local") == read(f"ipv4/conf/{DEVICE}/accept_local") == "0"
    assert read(f"ipv6/conf/{NAME}/accept_ra") == "0"
    assert {read(f"{family}/conf/{NAME}/forwarding") for family in ("ipv4", "ipv6")} == {forwards}
    assert net["a"].addresses(NAME) == {VIP, VIP6}  # no link-local one
    assert ping(net, VIP)


def test_what_it_asks_the_client_teaches_it_nothing_wrong(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """A question for the client's MAC in the name of the VIP would say that the VIP is at the device's own MAC."""
    serve(pair)
    assert ping(net, VIP)
    with Tap(net.client) as tap:
        net["a"].ip(f"neigh flush dev {DEVICE}")
        net["a"].run("ip", "route", "get", net.client.address, "from", VIP)
        assert ping(net, VIP)
        asked = until(
            lambda: [one for one in tap.packets() if one.ethertype == 0x0806 and one.frame[21] == 1], what="a question"
        )
    assert bytes((10, 99, 0, 100)) not in {one.frame[28:32] for one in asked if one.source_mac != MAC}
    assert neighbours(net)[VIP] == MAC


def test_a_device_that_cannot_carry_it_says_so_and_nothing_is_served(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """Never the device's MAC instead."""
    a, b = pair
    b.start()
    with net.spaces.asking("a") as requests:  # another program's, with our name
        index = int(net.spaces.python("a", f"import socket; print(socket.if_nametoindex('{DEVICE}'))"))
        other = rt.new_macvlan(NAME, index, bytes.fromhex("020000000077"))
        requests.ask(rt.RTM_NEWLINK, other, NLM_F_CREATE | NLM_F_EXCL)
    a.start()
    vip = a.await_report(lambda report: "cannot make" in report.vips[0].reason).vips[0]
    assert vip.state == "INIT"
    assert vip.reason.startswith(f"cannot make {NAME}, with the MAC of vhid 1 on {DEVICE}: file exists")
    assert "another program made it" in vip.reason
    b.await_state("MASTER")
    assert net.holders() == {"b"}
    assert device(a) == ("02:00:00:00:00:77", False)  # and is left alone


def test_a_member_of_a_bridge_cannot_carry_it(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    net["a"].ip("link add br9 type bridge")
    net["a"].ip(f"link set {DEVICE} master br9")
    a.start()
    vip = a.await_report(lambda report: "cannot make" in report.vips[0].reason).vips[0]
    assert (vip.state, "name the bridge or the bond" in vip.reason) == ("INIT", True)
    net["a"].ip(f"link set {DEVICE} nomaster")
    a.signal(signal.SIGTERM)  # it tries again after half a minute; a new one does at once
    a.wait()
    a.start().await_state("MASTER")


def test_one_that_cannot_be_switched_on_gives_way(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """The kernel says only then that another device on this host has the MAC: VRRP with the same id, say."""
    a, b = pair
    b.start()
    net["a"].ip(f"link add link {DEVICE} name vrrp.1 address {MAC} type macvlan mode private")
    net["a"].ip("link set vrrp.1 up")
    a.start()
    reason = a.await_report(lambda report: "cannot switch on" in report.vips[0].reason).vips[0].reason
    assert "VRRP with the same id" in reason
    assert a.await_state("INIT").reason == reason
    b.await_state("MASTER")
    until(lambda: net.holders() == {"b"}, what="b alone")
    a.end()
    assert device(a, "vrrp.1") == (MAC, True)  # keepalived's is none of ours


def test_what_an_earlier_process_left_is_removed(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    net["a"].ip(f"link add link {DEVICE} name vh9-eth0 address 00:00:5e:00:01:09 type macvlan mode bridge")
    net["a"].ip("addr add 10.99.0.200/24 dev vh9-eth0")
    net["a"].ip(f"link add link {DEVICE} name vh8-eth0 address 02:00:00:00:00:08 type macvlan mode bridge")
    a = pair[0].start()
    a.await_state("MASTER")
    assert device(a, "vh9-eth0") is None
    assert "removed what was left there: vh9-eth0" in a.text()
    assert device(a, "vh8-eth0") is not None


def test_it_comes_back_when_it_is_deleted_or_switched_off(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    net["a"].ip(f"link delete {NAME}")
    until(lambda: net.holders() == net.holders(VIP6) == {"a"} and device(a) == (MAC, True), what="it to be back")
    net["a"].ip(f"link set {NAME} down")
    until(lambda: net.holders() == net.holders(VIP6) == {"a"} and device(a) == (MAC, True), what="it to be on")
    assert ping(net, VIP)
    assert ping(net, VIP6)
    net["b"].ip(f"link delete {NAME}")
    until(lambda: device(b) == (MAC, False), what="it to be back in BACKUP, and off")
    net.spaces.unplug("a")
    assert a.await_state("INIT").reason == f"there is no device {DEVICE}"
    b.await_state("MASTER")
    net.spaces.plug("a")
    net.give(net["a"])
    a.await_state("MASTER")
    until(lambda: net.holders() == {"a"}, what="a to hold it on the new device")
    assert ping(net, VIP)


def test_with_named_peers_it_is_announced_each_second(net: Lab, short_tmp: Path) -> None:
    peers = (net["a"].address, net["b"].address)
    with carp_nodes(net, short_tmp, vips=(replace(VIRTUAL, unicast=peers),)) as pair, Tap(net.client) as tap:
        serve(pair)
        until(lambda: len(tap.announcements(VIP)) >= 5, what="announcements")
        assert {one.source_mac for one in tap.announcements(VIP)} == {MAC}
        assert port(net) == "a"


def test_the_setting_changes_while_it_serves(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    for vip, there in ((QUICK, False), (VIRTUAL, True)):
        for node in (a, b):
            node.apply(replace(node.settings, vips=(vip,)))
        until(lambda there=there: (device(a) is not None, device(b) is not None) == (there, there), what="both")  # type: ignore[misc]  # bound at once
        wanted = NAME if there else DEVICE
        until(lambda wanted=wanted: VIP in net["a"].addresses(wanted), what="the address")  # type: ignore[misc]  # bound at once
        assert ping(net, VIP)
        assert (neighbours(net)[VIP] == MAC) == there
    assert a.await_state("MASTER").transitions == 2
