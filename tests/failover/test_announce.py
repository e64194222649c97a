"""Announcements and conflict probes between real neighbours: their caches change, and others answer."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

import pytest

from syncsrv.failover import frames
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.announce import KernelAnnouncer
from syncsrv.failover.netlink import KernelError
from syncsrv.failover.probe import LISTEN_S, Prober
from tests.support.netns import Lab, needs_lab
from tests.support.wait import until

VIP4, VIP6 = IPv4Interface("192.0.2.10/24"), IPv6Interface("2001:db8::10/64")
PORT = 4242

pytestmark = needs_lab


class Node:
    """What the agent has of one namespace."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        with lab.entered(name):
            self.addresses = KernelAddresses()
            self.announcer = KernelAnnouncer(self.addresses.links)

    @property
    def mac(self) -> bytes:
        link = self.addresses.links.link("eth0")
        assert link is not None
        return link.mac

    def probe(self, *vips: IPv4Interface | IPv6Interface) -> None:
        with self.lab.entered(self.name):
            self.announcer.probe("eth0", vips)

    def answered(self, deadline_s: float = 5.0) -> bool:
        return bool(select.select(self.announcer.filenos(), [], [], deadline_s)[0])

    def close(self) -> None:
        self.announcer.close()
        self.addresses.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with contextlib.closing(Lab("a", "b", "c")) as made:
        for name, last in (("a", 1), ("b", 2), ("c", 3)):
            made.address(name, "eth0", f"192.0.2.{last}/24")
            made.address(name, "eth0", f"2001:db8::{last}/64")
        yield made


@pytest.fixture
def nodes(lab: Lab) -> Iterator[tuple[Node, Node]]:
    """a and b; c is their client."""
    a, b = Node(lab, "a"), Node(lab, "b")
    with contextlib.closing(a), contextlib.closing(b):
        yield a, b


@pytest.fixture
def capture(lab: Lab) -> Iterator[socket.socket]:
    with lab.entered("c"):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        one.bind(("eth0", 3))
    one.settimeout(5)
    with contextlib.closing(one):
        yield one


def listening(lab: Lab, name: str, family: int) -> socket.socket:
    with lab.entered(name):
        one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind(("", PORT))
    one.setblocking(False)
    return one


def got(one: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return one.recv(100)
    return b""


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["IPv4", "IPv6"])
def test_a_client_follows_an_announced_address(
    lab: Lab, nodes: tuple[Node, Node], vip: IPv4Interface | IPv6Interface
) -> None:
    a, b = nodes
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    with lab.entered("c"):
        client = socket.socket(family, socket.SOCK_DGRAM)
    at_a, at_b = listening(lab, "a", family), listening(lab, "b", family)
    with contextlib.closing(client), contextlib.closing(at_a), contextlib.closing(at_b):
        a.addresses.hold("eth0", [vip], 30)
        client.sendto(b"first", (str(vip.ip), PORT))
        assert until(lambda: got(at_a)) == b"first"
        a.addresses.release("eth0", [vip])
        b.addresses.hold("eth0", [vip], 30)
        client.sendto(b"lost: c still knows a's MAC", (str(vip.ip), PORT))
        b.announcer.announce("eth0", [vip])

        def arrives() -> bool:
            client.sendto(b"second", (str(vip.ip), PORT))
            return got(at_b) == b"second"

        until(arrives, deadline_s=3)  # less than the time after which c would look for it by itself
        assert got(at_a) == b""


def frame_of(capture: socket.socket, protocol: int, mac: bytes, kind: bytes = b"") -> bytes:
    while True:
        frame = capture.recv(2048)
        if frame[6:14] == mac + protocol.to_bytes(2, "big") and (not kind or frame[54:55] == kind):
            return frame


def test_both_families_are_announced_as_the_builders_say(nodes: tuple[Node, Node], capture: socket.socket) -> None:
    a, _ = nodes
    a.announcer.announce("eth0", [VIP4, VIP6])
    assert frame_of(capture, 0x0806, a.mac) == frames.gratuitous_arp(a.mac, VIP4.ip)
    assert frame_of(capture, 0x86DD, a.mac, b"\x88") == frames.unsolicited_na(a.mac, VIP6.ip, router=False)


def test_a_router_says_that_it_is_one(lab: Lab, nodes: tuple[Node, Node], capture: socket.socket) -> None:
    a, _ = nodes
    lab.write("a", "net/ipv6/conf/eth0/forwarding", "1")
    a.addresses.changed()
    a.announcer.announce("eth0", [VIP6])
    assert frame_of(capture, 0x86DD, a.mac, b"\x88") == frames.unsolicited_na(a.mac, VIP6.ip, router=True)


def test_a_device_that_is_gone_is_an_error_with_its_name(lab: Lab, nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    with pytest.raises(KernelError, match=r"cannot announce 192\.0\.2\.10/24 on eth9: there is no such device"):
        a.announcer.announce("eth9", [VIP4])
    with pytest.raises(KernelError, match=r"cannot probe 2001:db8::10/64 on eth9: there is no such device"):
        a.announcer.probe("eth9", [VIP6])
    lab.switch("a", "eth0", up=False)
    with pytest.raises(KernelError, match="network is down"):
        a.announcer.announce("eth0", [VIP4])


def test_another_machine_with_the_address_answers(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.addresses.hold("eth0", [VIP4, VIP6], 30)
    a.addresses.hold("eth0", [VIP4, VIP6], 30)
    a.probe(VIP4, VIP6)
    found: set[tuple[str, object, str]] = set()

    def both() -> bool:
        found.update(a.announcer.conflicts())
        return len(found) == 2

    assert a.answered()
    until(both)
    assert found == {("eth0", vip.ip, frames.mac_text(b.mac)) for vip in (VIP4, VIP6)}


def test_nobody_answers_for_an_address_of_our_own(lab: Lab, nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    lab.plug("a", "eth1", "a1")  # on the same bridge: Linux answers there too for an address of eth0
    a.addresses.changed()
    a.addresses.hold("eth0", [VIP4, VIP6], 30)
    a.probe(VIP4, VIP6)
    assert a.answered(), "the host's other device answers"
    assert list(a.announcer.conflicts()) == []


def test_an_answer_for_an_address_that_nobody_asked_about_is_none(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.probe(VIP4)
    b.announcer.announce("eth0", [ip_interface("192.0.2.11/24"), VIP4])
    assert a.answered()
    assert until(lambda: list(a.announcer.conflicts())) == [("eth0", VIP4.ip, frames.mac_text(b.mac))]


def test_an_answer_counts_only_for_its_time_and_then_nothing_listens(lab: Lab, nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    now = [100.0]
    prober = Prober(a.addresses.links, monotonic=lambda: now[0])
    b.addresses.hold("eth0", [VIP4], 30)

    def ask(vips: Sequence[IPv4Interface]) -> None:
        with lab.entered("a"):
            prober.probe("eth0", vips)

    with contextlib.closing(prober):
        ask([VIP4])
        assert select.select([prober], [], [], 5)[0]
        now[0] += LISTEN_S
        assert prober.conflicts() == []
        b.announcer.announce("eth0", [VIP4])
        assert not select.select([prober], [], [], 0)[0]
        ask([VIP4])  # and it can be asked again
        assert until(prober.conflicts)


def test_the_traffic_of_a_router_wakes_nobody(lab: Lab, nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.probe(VIP6)
    at_a = listening(lab, "a", socket.AF_INET6)
    with lab.entered("c"):
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with contextlib.closing(at_a), contextlib.closing(client):
        local = until(lambda: [one for one in a.addresses.sources("eth0", []) if one.version == 6])[-1]
        client.sendto(b"x", (str(local), PORT))
        until(lambda: got(at_a))
        list(a.announcer.conflicts())  # an advertisement for the client's own question may have come by
        for _ in range(20):
            client.sendto(b"x", (str(local), PORT))
            until(lambda: got(at_a))
        for _ in range(20):
            b.announcer.announce("eth0", [VIP4])  # which a does not ask about
        assert not a.answered(0)
