"""What others on the segment do, by mistake or on purpose, and what the real process carp makes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.carp.packet import FAREWELL, Advert, encode
from tests.integration.failoverkit import PLAIN, PLAIN_SKEWS, QUICK, Duo, drops, says, settled, two_nodes
from tests.support.carpcap import Tap, carp_frame, ip_frame, signed
from tests.support.lab import VIP, VIP6
from tests.support.netns import needs_lab
from tests.support.speakers import PASSWORD, VHID, Keepalived, Ours, end
from tests.support.testroot import TestRoot
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(180)]

CIDR = f"{VIP}/24"
STRANGER = "10.99.0.66"


def heard_from(duo: Duo, tap: Tap, name: str) -> Advert:
    """The latest IPv4 advert of a node that passed the client."""
    source = duo.lab[name].address
    return until(lambda: tap.adverts(source), what=f"an advert of {name}")[-1]


def adds_up(one: Ours) -> bool:
    """Whether everything that came in was counted once."""
    device = one.report().devices[0]
    return device.received == device.accepted + sum(device.drops.values())


def test_another_password_makes_two_masters_and_both_say_whose(short_tmp: Path) -> None:
    with two_nodes(short_tmp) as duo:
        a, b = duo.start("a"), duo.start("b", password="secreT")
        duo.are(a="MASTER", b="MASTER")
        for mine, theirs in ((a, "10.99.0.2"), (b, "10.99.0.1")):
            wanted = f"{theirs} vhid {VHID}"
            until(lambda mine=mine, wanted=wanted: wanted in mine.report().devices[0].badauth, what=wanted)  # type: ignore[misc]  # its defaults bind the loop's values
            assert mine.vip().counters["badauth"] > 0
            assert adds_up(mine)
        b.apply(replace(b.settings, vips=a.settings.vips))
        duo.settle()
        assert a.vip().transitions == 2


def one_master(duo: Duo) -> str:
    """Wait until one is MASTER and the other is not, and for three adverts more; who it is."""
    until(lambda: {duo.a.state(), duo.b.state()} == {"MASTER", "BACKUP"}, 20, "one MASTER")
    name = "a" if duo.a.state() == "MASTER" else "b"
    sent = duo.nodes[name].report().devices[0].sent
    until(lambda: duo.nodes[name].report().devices[0].sent >= sent + 3, what="three adverts")
    assert {duo.a.state(), duo.b.state()} == {"MASTER", "BACKUP"}
    duo.holds(name)
    return name


def test_equal_nodes_of_ours_find_one_master_by_name(short_tmp: Path) -> None:
    with two_nodes(short_tmp, QUICK, {"a": 25, "b": 25}) as duo:
        duo.start("a")
        duo.start("b")
        one_master(duo)
        for _ in range(4):  # whoever speaks first after the mending is heard first
            duo.lab.cut("a")
            duo.are(a="MASTER", b="MASTER")
            before = duo.a.vip().transitions
            duo.lab.mend("a")
            assert one_master(duo) == "a"
            assert duo.a.vip().transitions == before
        says(duo.b, r"MASTER -> BACKUP: a \(\S+\) is MASTER with the same .*, and its name comes first")


def test_equal_nodes_that_do_not_know_each_other_find_one_master(short_tmp: Path) -> None:
    with two_nodes(short_tmp, PLAIN, {"a": 0, "b": 0}) as duo:
        duo.start("a")
        duo.start("b")
        one_master(duo)


def test_an_older_advert_of_ours_counts_for_nothing(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Tap(duo.lab.client) as tap:
        old = heard_from(duo, tap, "a")
        tap.forget()
        heard_from(duo, tap, "a")
        for forged in (old, replace(old, advbase=FAREWELL, advskew=FAREWELL), replace(old, advskew=240)):
            tap.send(carp_frame(forged, duo.lab["a"].address))
        until(lambda: drops(duo.b)["replay"] >= 3, what="three replays")
        duo.adverts(4)
        assert duo.b.vip().state == "BACKUP"
        assert duo.b.vip().transitions == 1
        assert adds_up(duo.b)


def test_a_forged_farewell_moves_a_foreign_group_once(short_tmp: Path) -> None:
    """The digest covers neither advskew nor advbase, and only nodes of ours have counters that tell old from new."""
    with settled(short_tmp, PLAIN, PLAIN_SKEWS) as duo, Tap(duo.lab.client) as tap:
        forged = replace(heard_from(duo, tap, "a"), advbase=FAREWELL, advskew=FAREWELL)
        tap.send(carp_frame(forged, duo.lab["a"].address))
        says(duo.b, r"BACKUP -> MASTER: 10\.99\.0\.1 said farewell")
        duo.are(a="MASTER", b="BACKUP")
        says(duo.b, r"the farewell of 10\.99\.0\.1 was not its own: no farewell counts for 10 s")
        duo.holds("a")
        tap.send(carp_frame(forged, duo.lab["a"].address))
        duo.adverts(2)
        assert duo.b.vip().state == "BACKUP"
        assert duo.b.vip().transitions == 3
        assert duo.a.vip().transitions == 2


def test_forged_packets_are_counted_by_what_is_wrong_with_them(short_tmp: Path) -> None:
    with settled(short_tmp) as duo, Tap(duo.lab.client) as tap:
        base = Advert(vhid=VHID, advskew=0, advbase=0, demotion=0, counter=1, digest=bytes(20))
        good = signed(base, [VIP], PASSWORD)
        data = encode(good)
        wrong = {
            "badauth": carp_frame(signed(base, [VIP], "guessed"), STRANGER),
            "badttl": carp_frame(good, STRANGER, ttl=254),
            "badsum": ip_frame(data[:-1] + bytes([data[-1] ^ 1]), STRANGER),
            "badvhid": carp_frame(replace(good, vhid=9), STRANGER),
            "badlen": ip_frame(data + b"\0", STRANGER),
            "badver": ip_frame(b"\x41" + data[1:], STRANGER),
            "badtype": ip_frame(b"\x22" + data[1:], STRANGER),
        }
        for frame in wrong.values():
            tap.send(frame)
        for one in (duo.a, duo.b):
            until(lambda one=one: {name for name, count in drops(one).items() if count} == set(wrong), what="drops")  # type: ignore[misc]  # its default binds the loop's value
            assert adds_up(one)
        device = duo.a.report().devices[0]
        assert device.badauth == (f"{STRANGER} vhid {VHID}",)
        assert f"{STRANGER} vhid 9" in device.foreign
        duo.adverts(3)
        assert (duo.a.state(), duo.b.state()) == ("MASTER", "BACKUP")
        assert (duo.a.vip().transitions, duo.b.vip().transitions) == (2, 1)


def test_own_packets_that_come_back(short_tmp: Path) -> None:
    """A switch that mirrors, a team of cards: FreeBSD's MASTER steps down at its own echo."""
    with settled(short_tmp) as duo, Tap(duo.lab.client) as tap:
        mine = heard_from(duo, tap, "a")
        for source in (duo.lab["a"].address, STRANGER):
            tap.send(carp_frame(mine, source))
        six = until(lambda: [one for one in tap.carp() if one.source.version == 6], what="one over IPv6")[-1]
        tap.send(six.frame)
        until(lambda: drops(duo.a)["looped"] >= 1 and drops(duo.a)["own"] >= 1, what="looped and own")
        duo.adverts(3)
        assert duo.a.vip().transitions == 2
        assert adds_up(duo.a)


def test_blocked_ipv6_makes_no_second_master(short_tmp: Path) -> None:
    """FreeBSD has a timer for each family, and flaps for ever."""
    group = replace(QUICK, addresses=(CIDR, f"{VIP6}/64"))
    with settled(short_tmp, group) as duo:
        block = "add rule inet test input ip6 nexthdr 112 counter drop"
        for words in ("add table inet test", "add chain inet test input { type filter hook input priority 0; }", block):
            duo.lab["b"].run("nft", words)
        duo.adverts(10)
        listed = duo.lab["b"].run("nft", "list ruleset")
        counted = re.search(r"counter packets (\d+)", listed)
        assert counted is not None, listed
        assert int(counted[1]) >= 9
        assert duo.b.state() == "BACKUP"
        assert duo.b.vip().transitions == 1
        duo.lab["b"].run("nft", "add rule inet test input ip protocol 112 drop")
        duo.are(a="MASTER", b="MASTER")  # b is deaf
        duo.holds("a", "b", address=VIP6)
        heard = duo.a.report().devices[0].accepted
        until(lambda: duo.a.report().devices[0].accepted > heard, what="a hears b")
        duo.lab["b"].run("nft", "delete table inet test")
        duo.settle()
        duo.holds("a", address=VIP6)
        assert duo.a.vip().transitions == 2


@pytest.mark.parametrize("version", [2, 3])
def test_a_vrrp_router_with_the_same_id(short_tmp: Path, testroot: TestRoot, version: int) -> None:
    with settled(short_tmp, names=("a", "b", "c")) as duo:
        other = Keepalived(
            testroot, duo.lab["c"].path, "10.99.0.200/24", duo.home / "c", interval_s=1.0, vhid=VHID, version=version
        )
        try:
            for one in (duo.a, duo.b):
                until(lambda one=one: one.report().devices[0].vrrp_ids == (VHID,), 20, "VRRP is heard")  # type: ignore[misc]  # its default binds the loop's value
                assert drops(one)["vrrp"] > 0
                assert adds_up(one)
            assert (duo.a.state(), duo.b.state()) == ("MASTER", "BACKUP")
            assert (duo.a.vip().transitions, duo.b.vip().transitions) == (2, 1)
        finally:
            end(other.process)


def test_another_machine_has_the_address(short_tmp: Path) -> None:
    with two_nodes(short_tmp) as duo:
        duo.lab.client.ip(f"addr add {CIDR} dev eth0")
        mac = re.search(r"link/ether (\S+)", duo.lab.client.ip("link show eth0"))
        assert mac is not None
        duo.start("a")
        duo.are(a="MASTER")
        says(duo.a, rf"vhid {VHID} on eth0: {mac[1]} answers for 10\.99\.0\.100 on eth0 too")
        assert duo.a.vip().conflicts == (f"{mac[1]} answers for {VIP} on eth0 too",)


def stepped(testroot: TestRoot, file: Path) -> tuple[str, ...]:
    """The beginning of a command whose clock of the day is as many seconds off as the file says, from then on."""
    library = next(testroot.path.glob("usr/lib/*/faketime/libfaketime.so.1"))
    told = {"FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": 1, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    return ("env", f"LD_PRELOAD={library}", *(f"{name}={value}" for name, value in told.items()))


def test_a_clock_that_is_stepped(short_tmp: Path, testroot: TestRoot) -> None:
    """ucarp counts by the clock of the day. Here each node has such a clock of its own."""
    file = short_tmp / "step"
    file.write_text("+0")
    with two_nodes(short_tmp) as duo, Tap(duo.lab.client) as tap:
        duo.start("a", prefix=stepped(testroot, file))
        duo.are(a="MASTER")
        duo.start("b")
        duo.settle()
        for step in ("+86400", "-86400"):
            file.write_text(step)
            duo.adverts(6)
            assert (duo.a.vip().transitions, duo.b.vip().transitions) == (2, 1)
        counters = [one.counter for one in tap.adverts(duo.lab["a"].address)]
        assert counters == sorted(set(counters))
        duo.a.process.terminate()
        duo.are(b="MASTER")
        duo.start("a", prefix=stepped(testroot, file))  # its counters are a day behind now
        duo.settle()
        assert duo.a.said().count("-> MASTER") == 2
