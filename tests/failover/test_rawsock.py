"""CARP packets on real devices: what goes out byte for byte, what comes in, and what is said when it cannot."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest

from syncsrv.carp.receive import Frame
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.netlink import KernelError
from syncsrv.failover.rawsock import RawWire
from tests.support.netns import Lab, needs_lab
from tests.support.testroot import TestRoot
from tests.support.wait import until

DATA = bytes(range(36))
A4, A6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
B4, B6 = ip_address("192.0.2.2"), ip_address("2001:db8::2")
ETH_P_ALL = 3

pytestmark = needs_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with contextlib.closing(Lab("a", "b")) as made:
        for name, last in (("a", 1), ("b", 2)):
            made.address(name, "eth0", f"192.0.2.{last}/24")
            made.address(name, "eth0", f"2001:db8::{last}/64")
        yield made


@contextlib.contextmanager
def opened(lab: Lab, name: str, device: str = "eth0") -> Iterator[RawWire]:
    with lab.entered(name):
        wire = RawWire(device)
    with contextlib.closing(wire):
        yield wire


@pytest.fixture
def a(lab: Lab) -> Iterator[RawWire]:
    with opened(lab, "a") as wire:
        yield wire


@pytest.fixture
def b(lab: Lab) -> Iterator[RawWire]:
    with opened(lab, "b") as wire:
        yield wire


@pytest.fixture
def capture(lab: Lab) -> Iterator[socket.socket]:
    """Everything that arrives at b's eth0, with its Ethernet header."""
    with lab.entered("b"):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
        one.bind(("eth0", ETH_P_ALL))
    with contextlib.closing(one):
        yield one


def captured(one: socket.socket) -> list[bytes]:
    """What the kernel took in, not what it sent."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, origin = one.recvfrom(4096)
            if origin[2] != socket.PACKET_OUTGOING:
                found.append(frame)
    return found


def carp_only(frames: list[bytes]) -> list[bytes]:
    four = [one for one in frames if one[12:14] == b"\x08\x00" and one[23] == 112]
    return four + [one for one in frames if one[12:14] == b"\x86\xdd" and one[20] == 112]


def test_one_packet_of_each_family_reaches_the_group(a: RawWire, b: RawWire) -> None:
    a.send(DATA, [A4, A6], ())
    assert b.receive() == [Frame(DATA, A4, 255), Frame(DATA, A6, 255)]
    assert b.receive() == []
    assert a.receive() == []  # not even what it said itself
    assert a.faults == b.faults == {}


def test_only_families_that_have_a_source_are_used(a: RawWire, b: RawWire) -> None:
    a.send(DATA, [A6], ())
    assert b.receive() == [Frame(DATA, A6, 255)]


def test_the_packet_on_the_cable_is_a_carp_packet(a: RawWire, capture: socket.socket) -> None:
    data = DATA[:6] + bytes(2) + DATA[8:]  # a checksum of nothing: who would fill it in must be seen
    captured(capture)
    a.send(data, [A4, A6], ())
    four, six = carp_only(captured(capture))
    assert four[:6].hex() == "01005e000012"
    assert four[14] == 0x45
    assert four[15] == 0xE0
    assert four[16:18] == (56).to_bytes(2, "big")
    assert four[20:22] == b"\x40\x00"  # do not fragment
    assert (four[22], four[23]) == (255, 112)
    assert four[26:34] == A4.packed + IPv4Address("224.0.0.18").packed
    assert four[34:] == data
    assert six[:6].hex() == "333300000012"
    assert six[14:18].hex().startswith("6e0")  # version and traffic class
    assert (six[20], six[21]) == (112, 255)
    assert six[22:54] == A6.packed + IPv6Address("ff02::12").packed
    assert six[54:] == data


def test_from_another_mac_it_is_the_same_packet(lab: Lab, capture: socket.socket, a: RawWire, b: RawWire) -> None:
    mac = bytes.fromhex("00005e00012a")
    captured(capture)
    a.send(DATA, [A4, A6], ())
    with lab.entered("a"):  # where its socket for frames is made
        a.send(DATA, [A4, A6], (), mac)
    plain4, four, plain6, six = carp_only(captured(capture))
    assert (four[6:12], six[6:12]) == (mac, mac)
    assert (four[:6], four[12:]) == (plain4[:6], plain4[12:])
    assert (six[:6], six[12:15], six[18:]) == (plain6[:6], plain6[12:15], plain6[18:])
    assert six[15] == 0 == plain6[15] & 0xF0  # the rest is the flow label
    assert b.receive() == [Frame(DATA, A4, 255), Frame(DATA, A4, 255), Frame(DATA, A6, 255), Frame(DATA, A6, 255)]


def test_unicast_goes_to_its_receivers_only(lab: Lab, a: RawWire, b: RawWire) -> None:
    near = next(ip_address(one) for one in local_addresses(lab, "b"))
    a.send(DATA, [A4, ip_address(local_addresses(lab, "a")[0]), A6], [B4, B6, near])
    got = b.receive()
    assert got[:2] == [Frame(DATA, A4, 255), Frame(DATA, A6, 255)]
    assert [one.source for one in got[2:]] == [ip_address(local_addresses(lab, "a")[0])]


def local_addresses(lab: Lab, name: str) -> list[str]:
    """Link-local ones, as the kernel lists them elsewhere than in netlink."""
    lines = [line.split()[0] for line in lab.read(name, "if_inet6").splitlines()]
    return [str(IPv6Address(bytes.fromhex(one))) for one in lines if one.startswith("fe80")]


def test_the_source_is_the_given_one_though_a_virtual_address_came_first(lab: Lab, b: RawWire) -> None:
    lab.address("a", "eth0", "192.0.2.1/24", remove=True)
    with lab.entered("a"), contextlib.closing(KernelAddresses()) as addresses, opened(lab, "a") as wire:
        lab.address("a", "eth0", "192.0.2.10/24")
        lab.address("a", "eth0", "192.0.2.1/24")
        wire.send(DATA, addresses.sources("eth0", [ip_interface("192.0.2.10/24")])[:1], ())
    assert [one.source for one in b.receive()] == [A4]


def test_a_device_hears_and_says_nothing_of_another(lab: Lab, a: RawWire, b: RawWire) -> None:
    lab.plug("a", "eth1", "a1")
    lab.address("a", "eth1", "192.0.2.3/24")
    with opened(lab, "a", "eth1") as second:
        b.send(DATA, [B4], ())
        assert len(a.receive()) == len(second.receive()) == 1  # one bridge, two cables to the same host
        lab.write("a", "net/ipv4/conf/all/arp_ignore", "1")
        b.send(DATA, [B4], [ip_address("192.0.2.3")])
        assert [one.source for one in until(second.receive)] == [B4]
        assert a.receive() == []
        lab.switch(lab.BRIDGE, "a1", up=False)
        b.send(DATA, [B4], ())
        assert len(a.receive()) == 1
        assert second.receive() == []


def test_groups_that_other_programs_joined_are_not_heard(lab: Lab, a: RawWire) -> None:
    four, six = ip_address("224.0.0.99"), ip_address("ff02::99")
    with lab.entered("a"):
        index = socket.if_nametoindex("eth0").to_bytes(4, sys.byteorder)
        other4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with other4, other6, opened(lab, "b") as b:
        other4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, four.packed + bytes(4) + index)
        other6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, six.packed + index)
        b.send(DATA, [B4, B6], [four, six, A4])
        assert a.receive() == [Frame(DATA, B4, 255)]  # the last one, to its own address


def test_a_burst_is_read_in_one_go(a: RawWire, b: RawWire) -> None:
    for _ in range(100):
        a.send(DATA, [A4, A6], ())
    assert len(b.receive()) == 200


def test_a_flood_does_not_hold_the_reader(a: RawWire, b: RawWire) -> None:
    for _ in range(300):
        a.send(DATA, [A4], ())
    assert len(b.receive()) < 300
    assert len(b.receive()) > 0


def test_a_short_packet_and_a_wrong_ttl_are_passed_on(lab: Lab, b: RawWire) -> None:
    with lab.entered("a"), socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as other:
        other.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
        other.sendto(b"x", (str(B4), 0))
        other.sendto(b"", (str(B4), 0))
    assert b.receive() == [Frame(b"x", A4, 7), Frame(b"", A4, 7)]


def test_a_device_without_link_or_address_is_a_send_error(lab: Lab, a: RawWire, b: RawWire) -> None:
    lab.switch("a", "eth0", up=False)
    with pytest.raises(KernelError, match=r"cannot send to 224\.0\.0\.18 from eth0: ") as caught:
        a.send(DATA, [A4], ())
    assert caught.value.errno in {errno.ENETDOWN, errno.ENETUNREACH, errno.EINVAL}
    assert caught.value.remedy
    with pytest.raises(KernelError, match="cannot send from eth0: it has no address of its own"):
        a.send(DATA, [], ())
    lab.switch("a", "eth0", up=True)
    with lab.entered("a"):
        a.reopen()
    a.send(DATA, [A4], ())
    assert [one.source for one in until(b.receive)] == [A4]
    assert a.faults == {}


def test_an_address_that_is_not_ours_cannot_be_the_source(a: RawWire) -> None:
    with pytest.raises(KernelError) as caught:
        a.send(DATA, [ip_address("192.0.2.99")], ())
    assert "an address of its own" in caught.value.remedy


def test_one_family_is_enough_and_the_other_ones_fault_is_kept(lab: Lab, a: RawWire, b: RawWire) -> None:
    lab.write("a", "net/ipv6/conf/eth0/disable_ipv6", "1")
    a.send(DATA, [A4, A6], ())
    assert [one.source for one in b.receive()] == [A4]
    assert list(a.faults) == [6]
    assert a.faults[6].startswith("cannot send to ff02::12 from eth0: ")
    lab.write("a", "net/ipv6/conf/eth0/disable_ipv6", "0")
    lab.address("a", "eth0", "2001:db8::1/64")
    with lab.entered("a"):
        a.reopen()
    a.send(DATA, [A4, A6], ())
    assert a.faults == {}


def test_the_own_firewall_is_named(lab: Lab, a: RawWire, b: RawWire, testroot: TestRoot) -> None:
    rules = "add table inet t; add chain inet t out {type filter hook output priority 0;}; "
    rules += "add rule inet t out ip protocol 112 drop; add rule inet t out ip6 nexthdr 112 drop"
    done = lab.run("a", testroot.argv("/usr/sbin/nft", rules))
    assert done.returncode == 0, done.stderr
    with pytest.raises(KernelError, match="operation not permitted") as caught:
        a.send(DATA, [A4, A6], ())
    assert caught.value.errno == errno.EPERM
    assert "firewall" in caught.value.remedy
    assert sorted(a.faults) == [4, 6]
    lab.run("a", testroot.argv("/usr/sbin/nft", "flush ruleset"))
    a.send(DATA, [A4, A6], ())
    assert a.faults == {}
    assert len(b.receive()) == 2


def test_a_device_that_is_made_again_is_followed(lab: Lab, a: RawWire, b: RawWire) -> None:
    lab.unplug("a")
    with pytest.raises(KernelError) as caught:
        a.send(DATA, [A4], ())
    assert caught.value.errno in {errno.ENODEV, errno.ENXIO, errno.ENETUNREACH, errno.EINVAL}
    assert a.receive() == []
    with lab.entered("a"):
        a.reopen()
    assert a.filenos() == ()
    assert a.faults[4].startswith("cannot open a socket for eth0: there is no such device")
    with pytest.raises(KernelError, match="there is no such device"):
        a.send(DATA, [A4], ())
    lab.plug("a", "eth1", "a1")  # so that it cannot get its old number back
    lab.plug("a")
    lab.address("a", "eth0", "192.0.2.1/24")
    with lab.entered("a"):
        a.reopen()
    assert len(a.filenos()) == 2
    a.send(DATA, [A4], ())
    assert [one.source for one in b.receive()] == [A4]
    b.send(DATA, [B4], ())
    assert [one.source for one in a.receive()] == [B4]


def test_a_device_that_is_not_there_yet_is_no_error(lab: Lab) -> None:
    with opened(lab, "a", "eth7") as wire:
        assert wire.filenos() == ()
        assert "there is no such device" in wire.faults[4]


def test_joining_again_is_reported_to_the_switches(lab: Lab, capture: socket.socket) -> None:
    lab.write("a", "net/ipv4/igmp_qrv", "1")  # each report is sent once, so that a second one has a reason of its own
    lab.plug("a", "eth1", "a1")  # a device takes that setting when it is made

    def reported() -> bool:
        return any(one[23] == 2 and IPv4Address("224.0.0.18").packed in one for one in captured(capture))

    with opened(lab, "a", "eth1") as wire:
        until(reported)
        assert not reported()
        with lab.entered("a"):
            wire.reopen()
        until(reported)


def test_membership_follows_the_wire(lab: Lab, a: RawWire) -> None:
    def member() -> tuple[bool, bool]:
        return "120000E0" in lab.read("a", "igmp"), "ff020000000000000000000000000012" in lab.read("a", "igmp6")

    assert member() == (True, True)
    with lab.entered("a"):
        for _ in range(3):
            a.reopen()
    assert member() == (True, True)
    a.close()
    assert member() == (False, False)
