"""Adverts to named nodes: from the configuration to the wire, in a network that carries no multicast."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.config.load import load
from syncsrv.core.carp.configure import settings_of
from syncsrv.failover import settings as files
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes, serve
from tests.support.carpcap import Tap, carp_frame, signed
from tests.support.lab import DEVICE, VIP, VIP6, Lab, command, lab
from tests.support.netns import Lab as Spaces
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab


@pytest.fixture
def net() -> Iterator[Lab]:
    """Three nodes, of which two are a group."""
    with lab(("a", "b", "c")) as made:
        yield made


def named(net: Lab, *names: str) -> tuple[str, ...]:
    """The list as cluster.yaml has it: the same on every node."""
    return tuple(one for name in names for one in (net[name].address, net[name].address6))


@pytest.fixture
def pair(net: Lab, short_tmp: Path) -> Iterator[tuple[CarpNode, CarpNode]]:
    with carp_nodes(net, short_tmp, vips=(replace(QUICK, unicast=named(net, "a", "b")),)) as nodes:
        yield nodes


def without_multicast(net: Lab) -> None:
    """As many clouds are: the network finds neighbours by itself, and passes nothing on that goes to a group."""
    for name, node in net.nodes.items():
        words = [*command("bridge"), "link", "set", "dev", name, "mcast_flood", "off"]
        done = net.spaces.run(Spaces.BRIDGE, words)
        assert done.returncode == 0, done.stderr
        for other in (*net.nodes.values(), net.client):
            if other is not node:
                mac = other.ip(f"-o link show {DEVICE}").partition("link/ether ")[2].split()[0]
                node.ip(f"-6 neigh replace {other.address6} lladdr {mac} dev {DEVICE} nud permanent")


def test_where_no_multicast_gets_through(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    without_multicast(net)
    a, b = pair
    with Tap(net["b"]) as tap, Tap(net["c"]) as other:
        serve((a, b))
        until(
            lambda: len({str(one.source) for one in tap.carp()} & {a.node.address, a.node.address6}) == 2, what="both"
        )
        came = [one for one in tap.carp() if str(one.source) == a.node.address6]
        assert {(one.frame[38:54], one.ttl) for one in came} == {(bytes.fromhex("fd99" + "00" * 13 + "02"), 255)}
        assert not other.carp()
        a.signal(signal.SIGKILL, a.agent_pid)
        assert b.await_state("MASTER").reason == f"a ({a.node.address}) said farewell"
        a.await_state("MASTER")  # its guardian started it again, and it is the better one
        net.pull("a")
        assert "no advert from a" in b.await_state("MASTER").reason
        until(lambda: net.holders() == net.holders(VIP6) == {"b"}, what="b to hold both")


def test_there_a_group_by_multicast_has_two_masters(net: Lab, short_tmp: Path) -> None:
    without_multicast(net)
    with carp_nodes(net, short_tmp) as nodes:  # what the test above is worth
        for node in nodes:
            node.start().await_state("MASTER")
        assert nodes[0].await_state("MASTER").counters["accepted"] == 0


def test_only_who_is_named_is_listened_to_and_hears_anything(
    net: Lab, pair: tuple[CarpNode, CarpNode], short_tmp: Path
) -> None:
    a, b = serve(pair)
    stranger = CarpNode(net, "c", short_tmp, advskew=1, vips=(replace(QUICK, unicast=named(net, "a", "b", "c")),))
    try:
        stranger.start().await_state("MASTER")  # better than both, with the same password, and deaf
        for node in (a, b):
            node.await_report(lambda report: report.devices[0].drops["badsource"] >= 4)
        assert (a.await_state("MASTER").transitions, b.await_state("BACKUP").transitions) == (2, 1)
        report = stranger.report()
        assert report is not None
        assert report.devices[0].received == 0
    finally:
        stranger.end()


def test_whoever_is_named_is_believed_with_any_ttl(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    _, b = serve(pair)
    with Tap(net["b"]) as tap:
        heard = until(lambda: tap.adverts(net["a"].address), what="an advert")[-1]
    better = signed(replace(heard, advskew=1, counter=heard.counter + 10**12), [VIP, VIP6], "secret")
    with Tap(net.client) as tap:
        for ttl, source in ((3, net["a"].address), (3, net["c"].address)):
            tap.send(carp_frame(better, source, ttl=ttl))
    drops = b.await_report(lambda report: report.devices[0].drops["replay"] > 0).devices[0].drops
    assert drops["badsource"] == 1  # a's next ones are older than what was believed to be from it; c's was not


def test_its_own_address_is_left_out(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    """Else what goes to nobody but itself would count as sent, and a node that nobody can hear would not know."""
    a, _ = pair
    daddr = f"ip daddr {net['b'].address}", f"ip6 daddr {net['b'].address6}"
    rules = [f"add rule inet t out {one} drop" for one in daddr]
    start = ["add table inet t", "add chain inet t out { type filter hook output priority 0; }"]
    net["a"].run("nft", "; ".join([*start, *rules]))
    a.start()
    report = a.await_report(lambda report: report.demotion_reasons == {f"send-errors:{DEVICE}": 240})
    assert report.devices[0].sent == 0


def test_a_node_that_names_itself_alone_serves_and_sends_nothing(net: Lab, short_tmp: Path) -> None:
    with carp_nodes(net, short_tmp, vips=(replace(QUICK, unicast=named(net, "a")),)) as (a, _), Tap(net["b"]) as tap:
        a.start().await_state("MASTER")
        report = a.await_report(lambda report: report.vips[0].held == QUICK.addresses)
        assert (report.devices[0].sent, report.devices[0].send_errors, report.demotion_total) == (0, 0, 0)
        a.signal(signal.SIGKILL, a.agent_pid)
        until(lambda: "its guardian has" in a.text(), what="the guardian")
        assert not tap.carp()


def test_adverts_come_from_the_address_that_is_named(net: Lab, pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = pair
    for address in (f"{a.node.address}/24", "10.99.0.7/24", f"{a.node.address}/24"):  # .7 is the device's first one now
        net.spaces.address("a", DEVICE, address, remove=net["a"].holds(address.partition("/")[0]))
    serve((a, b))
    report = b.report()
    assert report is not None
    assert report.vips[0].master_source == a.node.address
    assert report.devices[0].drops["badsource"] == 0


def test_from_the_configuration_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(
        f"node: fw1\nrole: master\nroot: {tmp_path}\nstate_dir: {tmp_path}/state\nrun_dir: {tmp_path}/run\n"
        "interfaces: {lan: eth0}\ncarp: {advskew: 1}\n"
    )
    (tmp_path / "cluster.yaml").write_text(
        "cluster: one\nvips:\n- {vhid: 7, interface: lan, addresses: [192.0.2.10/24, 2001:db8::10/64], password: x,\n"
        "   unicast: [192.0.2.1, 192.0.2.2, 2001:db8::1, 2001:db8::2], mac: virtual}\n"
    )
    config = load(tmp_path)
    (vip,) = files.decode(files.encode(settings_of(config, {}))).vips
    assert vip.unicast == ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
    assert (vip.vhid, vip.device, vip.virtual_mac) == (7, "eth0", True)
