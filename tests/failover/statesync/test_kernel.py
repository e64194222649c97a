"""What this node lacks for conntrackd, found before it is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync import conf, kernel
from syncsrv.failover.statesync.conf import Place
from tests.failover.kit import STATE_SYNC
from tests.support import netns
from tests.support.netns import needs_lab

pytestmark = needs_lab

WANTED = replace(STATE_SYNC, links=(StateLink("eth0", "10.3.0.1", "10.3.0.2"),))
MULTICAST = replace(WANTED, links=(StateLink("eth0", "10.3.0.1", ""),))


@pytest.fixture
def here() -> Iterator[netns.Lab]:
    lab = netns.Lab("a")
    try:
        lab.address("a", "eth0", "10.3.0.1/24")
        with lab.entered("a"):
            yield lab
    finally:
        lab.close()


def reason(wanted: StateSync) -> str:
    found = kernel.trouble(wanted)
    assert found is None or found.remedy
    return found.reason if found is not None else ""


def test_with_device_address_and_port_nothing_is_in_the_way(here: netns.Lab) -> None:
    assert reason(WANTED) == reason(MULTICAST) == ""
    assert kernel.indexes(WANTED) == (socket.if_nametoindex("eth0"),)
    assert kernel.table_most() > 0
    assert kernel.entries() >= 0


def test_protocols_that_have_no_name() -> None:
    assert "carp-of-nobody" not in kernel.named(["carp-of-nobody", *conf.PROTOCOLS])
    assert set(kernel.named(conf.PROTOCOLS)) in ({*conf.PROTOCOLS}, set())
    place = Place(Path("/run/syncsrv"))
    some = conf.text(WANTED, place, 1, [one for one in conf.PROTOCOLS if one != "DCCP"])
    assert "        Protocol Accept {\n            TCP\n            UDP\n            SCTP\n            ICMP\n" in some
    assert "    Filter From Userspace {\n        Address Ignore {\n" in conf.text(WANTED, place, 1, [])


def test_a_device_that_is_missing(here: netns.Lab) -> None:
    wanted = replace(WANTED, links=(*WANTED.links, StateLink("eth7", "10.4.0.1", "10.4.0.2")))
    assert reason(wanted) == "there is no device eth7"
    assert kernel.indexes(wanted)[1] == 0


def test_an_address_that_is_elsewhere(here: netns.Lab) -> None:
    wanted = replace(WANTED, links=(StateLink("eth0", "10.3.0.9", "10.3.0.2"),))
    assert reason(wanted) == "10.3.0.9 is not on this node, eth0 should have it"


@pytest.mark.parametrize(("wanted", "where"), [(WANTED, "10.3.0.1"), (WANTED, ""), (MULTICAST, "")])
def test_a_port_that_another_one_has_even_if_it_would_share_it(here: netns.Lab, wanted: StateSync, where: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((where, 3780))
        assert reason(wanted) == "UDP port 3780 is in use by another program"
    assert reason(wanted) == ""


def test_a_kernel_that_reports_nothing(here: netns.Lab) -> None:
    assert kernel.silent() is None
    here.write("a", "net/netfilter/nf_conntrack_events", "0")
    found = kernel.silent()
    assert found is not None
    assert "net.netfilter.nf_conntrack_events is 0" in found.reason
