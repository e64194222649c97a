"""conntrackd's configuration, to the letter, and that conntrackd takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync import conf
from syncsrv.failover.statesync.conf import NoPlaceError, Place
from syncsrv.failover.statesync.daemon import Daemon, NoAnswerError
from syncsrv.failover.statesync.stats import Stats
from tests.failover.kit import STATE_SYNC
from tests.support import netns
from tests.support.netns import needs_lab
from tests.support.testroot import TestRoot
from tests.support.wait import until

GOLDEN = Path(__file__).parent / "golden"
PLACE = Place(Path("/run/syncsrv"))
MULTICAST = replace(STATE_SYNC, links=(StateLink("eth2", "10.3.0.1", ""),))


@pytest.mark.parametrize(("name", "wanted"), [("unicast", STATE_SYNC), ("multicast", MULTICAST)])
def test_the_file_to_the_letter(name: str, wanted: StateSync) -> None:
    assert conf.text(wanted, PLACE, 262144) == (GOLDEN / f"{name}.conf").read_text()


def test_the_order_of_what_is_ignored_changes_nothing() -> None:
    turned = replace(STATE_SYNC, ignore=(*reversed(STATE_SYNC.ignore), "::1"))
    assert conf.text(turned, PLACE, 262144) == conf.text(STATE_SYNC, PLACE, 262144)


def test_protocols_without_names_are_not_named() -> None:
    known = conf.text(STATE_SYNC, PLACE, 1, [one for one in conf.PROTOCOLS if one != "DCCP"])
    assert "        Protocol Accept {\n            TCP\n            UDP\n            SCTP\n            ICMP\n" in known
    unknown = conf.text(STATE_SYNC, PLACE, 1, [])
    assert "Protocol" not in unknown
    assert "    Filter From Userspace {\n        Address Ignore {\n" in unknown


def test_each_multicast_link_has_a_port_of_its_own() -> None:
    two = replace(MULTICAST, links=(*MULTICAST.links, StateLink("eth3", "10.4.0.1", "")))
    assert "Multicast Default {\n        IPv4_address 225.0.0.50\n        Group 3780\n" in conf.text(two, PLACE, 1)
    assert "Multicast {\n        IPv4_address 225.0.0.50\n        Group 3781\n" in conf.text(two, PLACE, 1)


@needs_lab
@pytest.mark.parametrize("peers", [("10.3.0.2", "fd03::2"), ("", "")])
def test_conntrackd_itself_takes_it_with_two_links(peers: tuple[str, str], testroot: TestRoot, short_tmp: Path) -> None:
    second = "fd03::1" if peers[1] else "10.4.0.1"
    links = (StateLink("eth2", "10.3.0.1", peers[0]), StateLink("eth3", second, peers[1]))
    program = short_tmp / "conntrackd"
    program.write_text(f'#!/bin/sh\nexec {" ".join(testroot.outside("usr/sbin/conntrackd"))} "$@"\n')
    program.chmod(0o755)
    (short_tmp / conf.FILE).write_text(conf.text(replace(STATE_SYNC, links=links), Place(short_tmp), 1000))
    daemon = Daemon(short_tmp / conf.FILE, str(program))
    lab = netns.Lab("a")
    try:
        for link in links:
            lab.plug("a", link.device, f"a-{link.device}")
            lab.address("a", link.device, f"{link.address}/{64 if ':' in link.address else 24}")
        with lab.entered("a"):
            daemon.start()
            found = until(lambda: answered(daemon), what="conntrackd")
            assert found is not None
            assert found.link == "eth2"
            assert daemon.ended() is None
    finally:
        daemon.stop()
        lab.close()


def answered(daemon: Daemon) -> Stats | None:
    try:
        return daemon.stats()
    except NoAnswerError:
        assert daemon.ended() is None
        return None


@pytest.mark.parametrize("path", ["/run/" + "x" * 100, "/run/my node", "run"])
def test_a_directory_that_conntrackd_cannot_use_is_refused(path: str) -> None:
    with pytest.raises(NoPlaceError, match="cannot have conntrackd work in"):
        Place(Path(path))
