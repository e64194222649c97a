"""Virtual addresses on real devices: what is decided, what the kernel then has, and that nothing else changes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.failover.addresses import KernelAddresses, Plan, Step, decide
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL, KernelError, attribute
from syncsrv.failover.rtmessages import (
    IFA_F_DEPRECATED,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    OURS,
    RTM_DELLINK,
    RTM_NEWLINK,
    Assigned,
    link_flags,
    new_macvlan,
    old_link,
)
from tests.support.netns import Lab, needs_lab
from tests.support.wait import until

VIP4, OTHER4, VIP6 = ip_interface("192.0.2.10/24"), ip_interface("192.0.2.11/24"), ip_interface("2001:db8::10/64")
FAR4, FAR6 = ip_interface("198.51.100.10/24"), ip_interface("2001:db8:ffff::10/64")
OWN4, OWN6 = Assigned(2, ip_interface("192.0.2.1/24"), 0), Assigned(2, ip_interface("2001:db8::1/64"), 0)
LIFETIME_S = 30.0
_IFLA_IFNAME = 3


def ours(text: str, flags: int = 0, mark: int = OURS) -> Assigned:
    return Assigned(2, ip_interface(text), flags, 5, mark)


# --- what is decided


def test_what_is_missing_is_added_without_the_route_that_the_device_has() -> None:
    plan = decide([VIP4, VIP6, FAR4], [OWN4, OWN6], ())
    assert plan == Plan(add=(Step(VIP4, False), Step(VIP6, False), Step(FAR4, True)))


def test_another_virtual_address_brings_no_prefix() -> None:
    marked = ours("192.0.2.11/24", IFA_F_SECONDARY)
    assert decide([VIP4, OTHER4], [marked], ()).add == (Step(VIP4, True),)
    unmarked = ours("192.0.2.11/24", mark=0)
    assert decide([VIP4, OTHER4], [unmarked], [OTHER4]).add == (Step(VIP4, True),)


def test_what_is_there_is_renewed() -> None:
    present = [OWN4, OWN6, ours("192.0.2.10/24", IFA_F_SECONDARY | IFA_F_NOPREFIXROUTE), ours("2001:db8::10/64")]
    assert decide([VIP4, VIP6], present, ()) == Plan(renew=(Step(VIP4, False), Step(VIP6, False)))


def test_what_came_before_the_devices_own_address_goes_behind_it() -> None:
    assert decide([VIP4], [ours("192.0.2.10/24"), OWN4], ()) == Plan(again=(Step(VIP4, False),))
    assert decide([VIP6], [ours("2001:db8::10/64"), OWN6], ()).again == ()


def test_what_lost_its_route_with_the_devices_own_address_gets_one() -> None:
    assert decide([VIP4], [ours("192.0.2.10/24", IFA_F_NOPREFIXROUTE)], ()) == Plan(again=(Step(VIP4, True),))


def test_what_is_ours_and_not_wanted_is_removed_and_nothing_else() -> None:
    present = [OWN4, ours("192.0.2.10/24"), ours("192.0.2.11/24", mark=0), ours("198.51.100.10/24", mark=0)]
    assert decide([], present, [OTHER4]) == Plan(remove=(VIP4, OTHER4))


@given(st.data())
def test_each_address_gets_exactly_one_treatment(data: st.DataObject) -> None:
    pool = [VIP4, OTHER4, VIP6, FAR4, FAR6]
    wanted = data.draw(st.lists(st.sampled_from(pool)))
    asked = data.draw(st.sets(st.sampled_from(pool)))
    flags = st.sampled_from([0, IFA_F_SECONDARY, IFA_F_NOPREFIXROUTE])
    there = data.draw(st.dictionaries(st.sampled_from(pool), st.tuples(flags, st.sampled_from([0, OURS]))))
    present = [OWN4, *(Assigned(2, one, flag, 5, mark) for one, (flag, mark) in there.items())]
    plan = decide(wanted, present, asked)
    put = [step.interface for step in (*plan.add, *plan.renew, *plan.again)]
    assert sorted(put, key=str) == sorted(set(wanted), key=str)
    assert set(plan.remove) == {one for one in there if one in asked or there[one][1] == OURS} - set(wanted)
    assert {step.interface for step in plan.add} == set(wanted) - set(there)


# --- and done


@pytest.fixture
def lab() -> Iterator[Lab]:
    with contextlib.closing(Lab("a")) as made:
        yield made


@pytest.fixture
def addresses(lab: Lab) -> Iterator[KernelAddresses]:
    with lab.entered("a"):
        made = KernelAddresses()
    with contextlib.closing(made):
        yield made


def own(lab: Lab) -> None:
    lab.address("a", "eth0", "192.0.2.1/24")
    lab.address("a", "eth0", "2001:db8::1/64")


def routes(lab: Lab) -> set[tuple[str, ...]]:
    """All routes of eth0 as the kernel lists them, lifetimes and flags with them, without counters."""
    four = [tuple(line.split()) for line in lab.read("a", "route").splitlines()[1:]]
    six = [tuple(line.split()) for line in lab.read("a", "ipv6_route").splitlines()]
    return {(*one[:4], *one[6:8]) for one in four} | {
        (*one[:6], one[8]) for one in six if one[9] == "eth0" and one[0][:2] != "ff"
    }


def plain(lab: Lab) -> set[str]:
    """The addresses of eth0, told by the kernel in another way than by netlink."""
    six = {line.split()[0] for line in lab.read("a", "if_inet6").splitlines() if line.endswith(" eth0")}
    trie = lab.read("a", "fib_trie").splitlines()
    four = {up.split()[-1] for up, line in itertools.pairwise(trie) if "/32 host LOCAL" in line}
    return {one for one in six if not one.startswith("fe80")} | {one for one in four if not one.startswith("127")}


PLAIN4, PLAIN6 = "192.0.2.10", VIP6.ip.exploded.replace(":", "")
PLAIN_OWN = {"192.0.2.1", OWN6.interface.ip.exploded.replace(":", "")}


@needs_lab
def test_addresses_come_and_go_and_the_devices_routes_stay(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    before = routes(lab)
    addresses.hold("eth0", [VIP4, OTHER4, VIP6], LIFETIME_S)
    assert plain(lab) == PLAIN_OWN | {PLAIN4, PLAIN6, "192.0.2.11"}
    assert addresses.held("eth0") == {VIP4, OTHER4, VIP6}
    for lifetime_s in (LIFETIME_S, 5):
        addresses.hold("eth0", [VIP4, OTHER4, VIP6], lifetime_s)
    # An address's own /128 is no route of the prefix.
    assert {one for one in routes(lab) if one[0] != PLAIN6} == before
    addresses.release("eth0", [VIP4, VIP6])
    assert addresses.held("eth0") == {OTHER4}
    addresses.release("eth0", [VIP4, VIP6, OTHER4])
    assert plain(lab) == PLAIN_OWN
    assert routes(lab) == before


@needs_lab
def test_a_prefix_that_the_device_has_not_gets_its_route(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    before = routes(lab)
    addresses.hold("eth0", [FAR4, FAR6], LIFETIME_S)
    new = {one[:2] for one in routes(lab) - before}
    assert ("eth0", "006433C6") in new
    assert ("20010db8ffff00000000000000000000", "40") in new
    addresses.release("eth0", [FAR4, FAR6])
    assert "006433C6" not in {one[1] for one in routes(lab)}


@needs_lab
def test_an_own_address_that_comes_later_keeps_its_route_for_ever(lab: Lab, addresses: KernelAddresses) -> None:
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    assert plain(lab) == PLAIN_OWN | {PLAIN4, PLAIN6}
    addresses.changed()
    flags = {one.interface: one.flags for one in addresses.links.assigned("eth0")}
    assert flags[VIP4] & IFA_F_SECONDARY
    assert not flags[OWN4.interface] & IFA_F_SECONDARY
    addresses.release("eth0", [VIP4, VIP6])
    after = routes(lab)
    lab.address("a", "eth0", "192.0.2.1/24", remove=True)
    lab.address("a", "eth0", "2001:db8::1/64", remove=True)
    own(lab)
    assert plain(lab) == PLAIN_OWN
    assert {one for one in after if one[0] != PLAIN6} == routes(lab)  # as if no other had ever been there


@needs_lab
@pytest.mark.parametrize("promote", ["0", "1"])
def test_the_first_of_a_prefix_takes_no_other_along(lab: Lab, addresses: KernelAddresses, promote: str) -> None:
    lab.write("a", "net/ipv4/conf/eth0/promote_secondaries", promote)
    addresses.hold("eth0", [VIP4], LIFETIME_S)
    lab.address("a", "eth0", "192.0.2.1/24")
    addresses.release("eth0", [VIP4])
    assert plain(lab) == {"192.0.2.1"}
    assert lab.read_setting("a", "net/ipv4/conf/eth0/promote_secondaries") == promote


@needs_lab
def test_what_something_else_removed_comes_back(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    assert addresses.changed()
    assert not addresses.changed()
    for one in (VIP4, VIP6):
        lab.address("a", "eth0", str(one), remove=True)
        assert addresses.changed()
    assert addresses.held("eth0") == set()
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    assert plain(lab) == PLAIN_OWN | {PLAIN4, PLAIN6}


@needs_lab
def test_the_own_address_may_go_and_take_them_along(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    addresses.hold("eth0", [VIP4], LIFETIME_S)
    lab.address("a", "eth0", "192.0.2.1/24", remove=True)
    assert addresses.held("eth0") == set()
    addresses.hold("eth0", [VIP4], LIFETIME_S)
    assert addresses.held("eth0") == {VIP4}


@needs_lab
def test_renewing_is_no_change(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    addresses.changed()
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S - 10)
    assert not addresses.changed()


@needs_lab
def test_an_address_is_usable_at_once_and_only_for_its_lifetime(lab: Lab, addresses: KernelAddresses) -> None:
    lab.write("a", "net/ipv6/conf/eth0/accept_dad", "1")
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6], 12.2)
    addresses.changed()
    found = {one.interface: one for one in addresses.links.assigned("eth0")}
    assert not found[VIP6].flags & IFA_F_TENTATIVE
    assert found[VIP6].flags & IFA_F_NODAD
    assert found[VIP4].flags & found[VIP6].flags & IFA_F_NOPREFIXROUTE
    assert found[VIP6].flags & IFA_F_DEPRECATED  # the host itself sends from its own
    assert {found[VIP4].valid_s, found[VIP6].valid_s} <= {12, 13}
    assert {found[VIP4].mark, found[VIP6].mark} == {OURS}
    assert found[OWN4.interface].valid_s is None


@needs_lab
def test_the_kernel_removes_what_nobody_renews(lab: Lab, addresses: KernelAddresses) -> None:
    lab.address("a", "eth0", "192.0.2.1/24", valid_s=1000)
    lab.address(
        "a", "eth0", "2001:db8::1/64", valid_s=1000
    )  # as from a router's advertisement: its route has an end too
    before = routes(lab)
    addresses.hold("eth0", [VIP4, VIP6], 1)
    addresses.close()
    until(lambda: plain(lab) == PLAIN_OWN, what="both virtual addresses to end")
    assert routes(lab) == before


@needs_lab
def test_a_later_process_knows_what_was_left_behind(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6, FAR4], LIFETIME_S)
    with lab.entered("a"):
        later = KernelAddresses()
    with contextlib.closing(later):
        assert later.held("eth0") == {VIP4, VIP6, FAR4}
        assert later.sweep("eth0", keep=[FAR4]) == {VIP4, VIP6}
        assert later.held("eth0") == {FAR4}
        assert later.sweep("eth0", keep=[FAR4]) == set()
    assert plain(lab) == PLAIN_OWN | {"198.51.100.10"}


@needs_lab
def test_taking_away_what_is_not_there_is_done(addresses: KernelAddresses) -> None:
    addresses.release("eth0", [VIP4, VIP6])
    addresses.release("eth9", [VIP4])
    assert addresses.held("eth9") == set()


@needs_lab
def test_a_refusal_names_address_device_and_remedy_and_the_others_are_there(
    lab: Lab, addresses: KernelAddresses
) -> None:
    own(lab)
    lab.write("a", "net/ipv6/conf/eth0/disable_ipv6", "1")
    with pytest.raises(KernelError) as caught:
        addresses.hold("eth0", [VIP6, VIP4], LIFETIME_S)
    assert caught.value.errno == errno.EACCES
    assert caught.value.message.startswith("cannot put 2001:db8::10/64 on eth0: permission denied")
    assert "net.ipv6.conf.eth0.disable_ipv6" in caught.value.remedy
    assert addresses.held("eth0") == {VIP4}
    with pytest.raises(KernelError, match=r"cannot put 192\.0\.2\.10/24 on eth9: there is no such device") as missing:
        addresses.hold("eth9", [VIP4], LIFETIME_S)
    assert "node.yaml" in missing.value.remedy


@needs_lab
def test_a_device_that_is_made_again_is_the_same_to_us(lab: Lab, addresses: KernelAddresses) -> None:
    addresses.hold("eth0", [VIP4], LIFETIME_S)
    lab.unplug("a")
    assert addresses.link("eth0") == "there is no device eth0"
    assert addresses.held("eth0") == set()
    lab.plug("a", "eth1", "other")  # so that it cannot have the same number again
    lab.plug("a")
    until(lambda: addresses.link("eth0") == "")
    addresses.hold("eth0", [VIP4], LIFETIME_S)
    assert plain(lab) == {PLAIN4}


@needs_lab
def test_from_a_device_that_was_renamed_they_are_taken_all_the_same(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    addresses.hold("eth0", [VIP4, VIP6], LIFETIME_S)
    with lab.asking("a") as requests:
        index = socket.if_nametoindex("eth0")
        requests.ask(RTM_NEWLINK, link_flags(index, up=False))
        requests.ask(RTM_NEWLINK, link_flags(index, up=False) + attribute(_IFLA_IFNAME, b"eth9" + bytes(1)))
    assert addresses.link("eth0") == "there is no device eth0"
    assert PLAIN4 in plain(lab)
    addresses.release("eth0", [VIP4, VIP6])
    assert PLAIN4 not in plain(lab)


@needs_lab
def test_link_follows_cable_and_switch(lab: Lab, addresses: KernelAddresses) -> None:
    until(lambda: addresses.link("eth0") == "")
    addresses.changed()
    lab.switch(lab.BRIDGE, "a", up=False)
    until(addresses.changed)
    assert addresses.link("eth0") == "eth0 has no link"
    lab.switch(lab.BRIDGE, "a", up=True)
    until(lambda: addresses.link("eth0") == "")
    lab.switch("a", "eth0", up=False)
    assert addresses.link("eth0") == "eth0 is switched off"


def test_on_a_macvlan_the_routes_of_the_device_below_are_enough() -> None:
    plan = decide([VIP4, VIP6, FAR4], [], (), [OWN4, OWN6])
    assert plan == Plan(add=(Step(VIP4, False), Step(VIP6, False), Step(FAR4, True)))
    there = [ours("192.0.2.10/24", IFA_F_NOPREFIXROUTE), ours(str(FAR4))]
    assert decide([VIP4, FAR4], there, (), [OWN4]) == Plan(renew=(Step(VIP4, False), Step(FAR4, True)))
    assert decide([VIP4], [ours("192.0.2.10/24")], (), [OWN4]) == Plan(again=(Step(VIP4, False),))
    assert decide([VIP4], there[:1], (), []) == Plan(again=(Step(VIP4, True),))


@needs_lab
def test_a_device_with_the_groups_mac_can_be_made_and_removed(lab: Lab, addresses: KernelAddresses) -> None:
    mac = bytes.fromhex("00005e00012a")
    parent = addresses.links.link("eth0")
    assert parent is not None
    with lab.asking("a") as requests:
        requests.ask(RTM_NEWLINK, new_macvlan("vip42", parent.index, mac), NLM_F_CREATE | NLM_F_EXCL)
        addresses.changed()
        made = addresses.links.link("vip42")
        assert made is not None
        assert (made.mac, made.kind) == (mac, "macvlan")
        assert addresses.link("vip42") == "vip42 is switched off"
        requests.ask(RTM_NEWLINK, link_flags(made.index, up=True))
        until(lambda: addresses.link("vip42") == "")
        addresses.hold("vip42", [VIP4], LIFETIME_S)
        assert plain(lab) == {PLAIN4}
        requests.ask(RTM_DELLINK, old_link(made.index))
    assert addresses.link("vip42") == "there is no device vip42"


@needs_lab
def test_lost_reports_are_made_up_for(lab: Lab) -> None:
    with lab.entered("a"):
        addresses = KernelAddresses(queue_bytes=2048)
    with contextlib.closing(addresses):
        own(lab)
        assert addresses.changed()
        for number in range(20, 90):
            lab.address("a", "eth0", f"192.0.2.{number}/24")
        lab.address("a", "eth0", "192.0.2.20/24", remove=True)
        assert addresses.changed()
        assert addresses.resyncs == 1
        found = {str(one.interface) for one in addresses.links.assigned("eth0") if one.interface.version == 4}
        assert found == {"192.0.2.1/24", *(f"192.0.2.{number}/24" for number in range(21, 90))}


@needs_lab
def test_whether_the_host_forwards_is_followed(lab: Lab, addresses: KernelAddresses) -> None:
    assert not addresses.links.forwards("eth0")
    lab.write("a", "net/ipv6/conf/eth0/forwarding", "1")
    assert addresses.changed()
    assert addresses.links.forwards("eth0")


@needs_lab
def test_one_address_takes_less_than_a_millisecond(lab: Lab, addresses: KernelAddresses) -> None:
    own(lab)
    took = []
    for _ in range(20):  # the quickest: what it costs, not what else the machine does
        began = time.monotonic()
        addresses.hold("eth0", [VIP4], LIFETIME_S)
        took.append(time.monotonic() - began)
        addresses.release("eth0", [VIP4])
    assert min(took) < 0.001
