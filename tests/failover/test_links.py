"""The book of devices and addresses: what reports change in it, and which address is a device's own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from syncsrv.failover.links import Links
from syncsrv.failover.netlink import Message
from syncsrv.failover.rtmessages import (
    IFA_F_DADFAILED,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    IFF_LOWER_UP,
    IFF_UP,
    OURS,
    RTM_NEWADDR,
    RTM_NEWLINK,
    AddressReport,
    Assigned,
    ForwardingReport,
    Link,
    LinkReport,
    Report,
    parse,
)

ETH0 = Link(2, "eth0", IFF_UP | IFF_LOWER_UP, bytes.fromhex("020000000001"))
ETH1 = Link(3, "eth1", IFF_UP | IFF_LOWER_UP, bytes.fromhex("020000000002"))
VIP4, VIP6 = ip_interface("192.0.2.10/24"), ip_interface("2001:db8::10/64")


def assigned(text: str, *, flags: int = 0, mark: int = 0, valid_s: int | None = None, index: int = 2) -> Assigned:
    return Assigned(index, ip_interface(text), flags, valid_s, mark)


def book(*addresses: Assigned) -> Links:
    links = Links()
    links.take([LinkReport(ETH0, gone=False), LinkReport(ETH1, gone=False)])
    links.take(AddressReport(one, gone=False) for one in addresses)
    return links


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (IFF_UP | IFF_LOWER_UP, ""),
        (IFF_UP, "eth0 has no link"),
        (IFF_LOWER_UP, "eth0 is switched off"),
        (0, "eth0 is switched off"),
    ],
)
def test_the_trouble_of_a_device_is_said(flags: int, said: str) -> None:
    links = Links()
    links.take([LinkReport(replace(ETH0, flags=flags), gone=False)])
    assert links.trouble("eth0") == said
    assert links.trouble("eth9") == "there is no device eth9"


def test_a_device_made_again_has_another_number_and_nothing_of_the_old_one() -> None:
    links = book(assigned("192.0.2.1/24"))
    links.take([ForwardingReport(2, forwarding=True)])
    assert links.take([LinkReport(ETH0, gone=True)])
    assert links.link("eth0") is None
    assert links.assigned("eth0") == ()
    assert links.take([LinkReport(replace(ETH0, index=9), gone=False)])
    assert links.link("eth0") == replace(ETH0, index=9)
    assert links.assigned("eth0") == ()
    assert not links.forwards("eth0")


def test_a_renamed_device_is_found_by_its_new_name_only() -> None:
    links = book(assigned("192.0.2.1/24"))
    assert links.take([LinkReport(replace(ETH0, name="lan"), gone=False)])
    assert links.link("eth0") is None
    assert links.sources("lan", []) == (ip_address("192.0.2.1"),)


def test_only_a_difference_is_a_change() -> None:
    one = assigned("192.0.2.10/24", mark=OURS, valid_s=5)
    links = book(one)
    same: list[Report] = [LinkReport(ETH0, gone=False), AddressReport(replace(one, valid_s=4), gone=False)]
    assert not links.take(same)
    assert not links.take([AddressReport(assigned("192.0.2.99/24"), gone=True), LinkReport(Link(7, "x", 0, b""), True)])
    assert links.take([AddressReport(replace(one, valid_s=None), gone=False)])
    assert links.take([AddressReport(one, gone=True)])
    assert links.take([ForwardingReport(2, forwarding=True)])


def test_a_fresh_start_forgets_what_is_not_reported() -> None:
    links = book(assigned("192.0.2.1/24"), assigned("192.0.2.9/24"))
    reports = [LinkReport(ETH0, gone=False), LinkReport(ETH1, gone=False)]
    kept = [AddressReport(assigned("192.0.2.1/24"), gone=False)]
    assert links.restart([*reports, *kept])
    assert [str(one.interface) for one in links.assigned("eth0")] == ["192.0.2.1/24"]
    assert not links.restart([*reports, *kept])


def test_its_own_address_is_none_that_wanders() -> None:
    links = book(
        assigned("192.0.2.10/24"),
        assigned("192.0.2.20/24", mark=OURS),
        assigned("192.0.2.2/24", flags=IFA_F_SECONDARY),
        assigned("192.0.2.1/24"),
        assigned("2001:db8::10/64", mark=OURS),
        assigned("2001:db8::5/64", flags=IFA_F_TENTATIVE),
        assigned("2001:db8::6/64", flags=IFA_F_DADFAILED),
        assigned("2001:db8::1/64"),
        assigned("fe80::1/64"),
        assigned("192.0.2.0/24", index=3),
    )
    own = ("192.0.2.1", "fe80::1", "2001:db8::1")
    assert links.sources("eth0", [VIP4, VIP6]) == tuple(map(ip_address, own))
    assert links.sources("eth0", [ip_interface("192.0.2.10/32")])[0] == ip_address("192.0.2.1")
    assert links.sources("eth9", []) == ()
    assert links.sources("eth0", [])[0] == ip_address("192.0.2.10")


def test_all_hardware_addresses_are_ours_but_no_zeros() -> None:
    links = book()
    links.take([LinkReport(Link(1, "lo", IFF_UP, bytes(6)), gone=False)])
    assert links.macs() == {ETH0.mac, ETH1.mac}


def test_a_port_that_leaves_its_bridge_is_not_gone() -> None:
    assert parse(Message(17, 0, bytes([7]) + bytes(15))) is None  # family AF_BRIDGE


@pytest.mark.parametrize("kind", [RTM_NEWLINK, RTM_NEWADDR, 80, 24])
def test_what_is_too_short_or_of_another_kind_is_nothing(kind: int) -> None:
    assert parse(Message(kind, 0, b"\x02")) is None
