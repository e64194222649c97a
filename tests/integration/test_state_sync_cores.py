"""Two cores with their real processes carp and the real conntrackd: from cluster.yaml to what status says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_statesync import StateSyncInfo
from syncsrv.core.carp.statewatch import StateWatch
from tests.core.carp.carpkit import two_nodes
from tests.core.corekit import Node, Pair
from tests.integration.test_failover_orders import VIPS
from tests.support.lab import Lab, lab
from tests.support.netns import needs_lab
from tests.support.speakers import carp_argv, end, start_in
from tests.support.testroot import TestRoot
from tests.support.wait import until

pytestmark = [needs_lab, pytest.mark.timeout(120)]

STATE_SYNC = "state_sync: {engine: conntrackd, interface: lan, timeout: 30s}\n"


@dataclass
class Two:
    """Both nodes in their networks."""

    pair: Pair
    lab: Lab
    watches: dict[str, StateWatch]
    root: TestRoot

    def look(self) -> None:
        """What cores do each second, and each few seconds; where a node's own devices are to be seen."""
        for name, node in self.pair.nodes.items():
            with self.lab.spaces.entered(name):
                self.watches[name].look()
            node.hear()

    def says(self, node: Node) -> StateSyncInfo:
        found = node.ask("status")
        assert isinstance(found, Status)
        assert isinstance(found.state_sync, StateSyncInfo)
        return found.state_sync

    def seen(self, node: Node) -> str:
        """Each node's word, as this one's status has it."""
        self.look()
        found = node.ask("status")
        assert isinstance(found, Status)
        return " ".join(
            one.word if isinstance(one, StateSyncInfo) else one.engine
            for one in (found.state_sync, *(peer.state_sync for peer in found.peers.values()))
        )

    def logs(self) -> str:
        return "".join((node.home / "carp.log").read_text() for node in self.pair.nodes.values())

    def await_words(self, words: str) -> None:
        """Wait until fw1's status has these words of fw1 and fw2."""
        try:
            until(lambda: self.seen(self.pair.fw1) == words, 30, words)
        except AssertionError as error:
            said = [self.says(node) for node in self.pair.nodes.values()]
            raise AssertionError(f"{error}\n{said}\n{self.logs()}") from None


@pytest.fixture
def two(testroot: TestRoot, short_tmp: Path) -> Iterator[Two]:
    program = short_tmp / "bin/conntrackd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(testroot.outside("usr/sbin/conntrackd"))} "$@"\n')
    program.chmod(0o755)
    path = f"PATH={program.parent}:{os.environ['PATH']}"
    with lab(("fw1", "fw2")) as net, two_nodes(short_tmp, VIPS + STATE_SYNC, (25, 26)) as pair, ExitStack() as started:
        watches = {}
        for name, node in pair.nodes.items():
            watches[name] = StateWatch(node.core.carp, lambda node=node: node.core.book.now(), node.clock, lasts_s=0.0)  # type: ignore[misc]  # bound now
            with net.spaces.entered(name):
                node.core.carp.start()
                node.core.carp.follow_devices()
            argv = ["env", path, *carp_argv(node.state)]
            started.callback(end, start_in(net[name].path, argv, node.home / "carp.log"))
        yield Two(pair, net, watches, testroot)


def test_from_cluster_yaml_to_what_status_says(two: Two) -> None:
    two.await_words("ready ready")
    fw1, fw2 = two.pair.fw1, two.pair.fw2
    written = fw1.core.carp.settings
    assert written.state_sync is not None
    assert [(one.device, one.address, one.peer) for one in written.state_sync.links] == [("eth0", "10.99.0.1", "")]

    connection = "-I -p tcp -s 192.0.2.7 -d 198.51.100.7 --sport 4711 --dport 80 --state ESTABLISHED -t 600 -u ASSURED"
    done = two.lab.spaces.run("fw1", two.root.outside("usr/sbin/conntrack", *connection.split()))
    assert done.returncode == 0, done.stderr
    until(lambda: (two.says(fw2).received or 0) > 0, 15, "the connection on fw2")
    assert two.says(fw2).peer == "heard"
    assert fw1.core.carp.info().troubles == ()

    two.lab.cut("fw2")
    until(lambda: two.says(fw1).word == "alone", 30, "fw1 to hear nobody")
    two.look()
    troubles = [one for one in fw1.core.carp.info().troubles if "conntrackd" in one]
    assert len(troubles) == 1, "both cores still hear each other"
    assert "the conntrackd of one node does not hear the other's" in troubles[0]
    assert "let UDP port 3780 through on lan (eth0) of both" in troubles[0]
    two.lab.mend("fw2")
    two.await_words("ready ready")
