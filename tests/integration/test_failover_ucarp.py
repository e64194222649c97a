"""A group of one of our nodes and a real ucarp, each in both roles, and what tcpdump's own decoder says of our adverts.

ucarp hears packets at whole seconds only (it opens pcap with a timeout of 1000 ms), so what it does may come a second
late; and it knows one IPv4 address a vhid.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.failoverkit import PLAIN, PLAIN_SKEWS, Duo, says, settled, two_nodes
from tests.support.carpcap import CARP, Tap, write_pcap
from tests.support.lab import VIP, VIP6
from tests.support.netns import needs_lab
from tests.support.speakers import PASSWORD, VHID, Ucarp, end
from tests.support.testroot import TestRoot
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(180)]

CIDR = f"{VIP}/24"


@contextmanager
def ucarp_on(
    duo: Duo, testroot: TestRoot, name: str, advskew: int, *, password: str = PASSWORD, preempt: bool = True
) -> Iterator[Ucarp]:
    """A ucarp on a node of the lab."""
    node = duo.lab[name]
    home = duo.home / f"{name}-ucarp-{len(os.listdir(duo.home))}"
    one = Ucarp(testroot, node.path, node.address, CIDR, home, advskew=advskew, password=password, preempt=preempt)
    try:
        yield one
    finally:
        end(one.process)


def became(one: Ucarp, state: str, deadline_s: float = 15) -> None:
    until(lambda: one.said().rpartition("Switching to state: ")[2].startswith(state), deadline_s, f"ucarp {state}")


def test_ucarp_is_master_dies_and_comes_back(short_tmp: Path, testroot: TestRoot) -> None:
    with two_nodes(short_tmp, PLAIN, PLAIN_SKEWS) as duo:
        with ucarp_on(duo, testroot, "a", advskew=0) as theirs:
            became(theirs, "MASTER")
            b = duo.start("b")
            duo.are(b="BACKUP")
            until(lambda: b.vip().master_source == duo.lab["a"].address, what="its advert")
            assert b.vip().master_advskew == 0
            assert duo.lab.holders() == {"a"}
            os.kill(theirs.process.pid, signal.SIGKILL)
            duo.are(b="MASTER", deadline_s=6)
            says(b, r"BACKUP -> MASTER: no advert from 10\.99\.0\.1 for 3\.\d+ s")
            says(b, rf"\S+ answers for {re.escape(VIP)} on eth0 too")
        duo.lab["a"].ip(f"addr del {CIDR} dev eth0")  # it leaves its address behind
        duo.holds("b")
        with ucarp_on(duo, testroot, "a", advskew=0) as theirs:
            became(theirs, "MASTER")
            duo.are(b="BACKUP")
            says(b, r"MASTER -> BACKUP: 10\.99\.0\.1 is MASTER with advbase 1 advskew 0, better than advskew 100")
            duo.holds("a")
            assert not [name for name, count in b.vip().counters.items() if count and name.startswith("bad")]


def test_ucarp_is_backup_and_takes_over_at_our_farewell(short_tmp: Path, testroot: TestRoot) -> None:
    with two_nodes(short_tmp, PLAIN, PLAIN_SKEWS) as duo:
        a = duo.start("a")
        duo.are(a="MASTER")
        with ucarp_on(duo, testroot, "b", advskew=100, preempt=False) as theirs, Tap(duo.lab.client) as tap:
            became(theirs, "BACKUP")
            heard = a.report().devices[0].sent + 6  # longer than it waits for a MASTER
            until(lambda: a.report().devices[0].sent >= heard, 15, "our adverts")
            assert duo.lab.holders() == {"a"}
            assert "MASTER" not in theirs.said()
            tap.forget()
            a.process.terminate()
            became(theirs, "MASTER", deadline_s=2)  # without a farewell it waits for 3.4 s
            duo.holds("b")
            assert a.process.wait(5) == 0
            assert [one.advskew for one in tap.adverts(duo.lab["a"].address) if one.is_farewell]
            assert "going to time out" in theirs.said()


def test_a_wrong_password_makes_two_masters_and_says_whose(short_tmp: Path, testroot: TestRoot) -> None:
    with (
        two_nodes(short_tmp, PLAIN, PLAIN_SKEWS) as duo,
        ucarp_on(duo, testroot, "b", 100, password="secreT") as theirs,
    ):
        a = duo.start("a")
        became(theirs, "MASTER")
        duo.are(a="MASTER")
        until(lambda: a.report().devices[0].badauth, what="badauth")
        assert a.report().devices[0].badauth == (f"{duo.lab['b'].address} vhid {VHID}",)
        assert a.vip().counters["badauth"] >= 1
        until(lambda: "Bad digest" in theirs.said(), what="ucarp says the same of us")
        group = replace(PLAIN, password="secreT")
        a.apply(group.settings("a", short_tmp / "a" / "run", PLAIN_SKEWS["a"]))
        became(theirs, "BACKUP")
        duo.holds("a")
        assert a.vip().state == "MASTER"


def decoded(testroot: TestRoot, home: Path, tap: Tap, version: int) -> str:
    """What tcpdump says of the adverts of one family that were seen."""
    path = home / f"v{version}.pcap"
    write_pcap(path, [one for one in tap.carp() if one.source.version == version])
    return testroot.run("tcpdump", "-nvvr", path, "-T", "carp", binds=[home]).stdout


def test_tcpdump_understands_our_adverts(short_tmp: Path, testroot: TestRoot) -> None:
    group = replace(PLAIN, addresses=(CIDR, f"{VIP6}/64"))
    with settled(short_tmp, group, PLAIN_SKEWS) as duo, Tap(duo.lab.client) as tap:
        until(lambda: len({one.source.version for one in tap.carp()}) == 2, what="adverts of both families")
        a = duo.lab["a"]
        four = decoded(testroot, short_tmp, tap, 4)
        said = f"CARPv2-advertise 36: vhid={VHID} advbase=1 advskew=0 authlen=7"
        assert f"{a.address} > 224.0.0.18: {said}" in four
        assert re.search(r"tos 0xe0, ttl 255, id \d+, offset 0, flags \[DF\], proto VRRP \(112\), length 56", four)
        six = decoded(testroot, short_tmp, tap, 6)
        assert re.search(
            rf"fe80::\S+ > ff02::12: .*CARPv2-advertise 36: vhid={VHID} advbase=1 advskew=0 authlen=7", six
        )
        assert re.search(r"class 0xe0, .*hlim 255, next-header VRRP \(112\) payload length: 36", six)
        for text in (four, six):
            assert "bad" not in text
            assert "VRRPv" not in text
            assert re.search(r"counter=\d+", text)
        assert {one.ttl for one in tap.packets() if one.protocol == CARP} == {255}
