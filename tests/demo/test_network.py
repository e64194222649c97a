"""The demo's segment, with real namespaces and without: real carp processes on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.demo.inside import InsideError, enter
from syncsrv.demo.medium import SAID
from syncsrv.demo.network import DEVICE, VIP, Folder, Namespaces, Segment
from syncsrv.failover import settings as configs
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.messages import Report
from syncsrv.failover.settings import Settings, VipSettings
from tests.support.wait import until

NODES = {"fw1": "192.0.2.1", "fw2": "192.0.2.2"}


def namespaces(place: Path) -> Segment:
    made = Namespaces(list(NODES), SystemClock())
    if not made.inside:
        made.close()
        pytest.skip(made.why_not)
    return made


def folder(place: Path) -> Segment:
    return Folder(list(NODES), place / "segment", SystemClock(), "no namespaces in this test")


@pytest.fixture(params=[namespaces, folder])
def segment(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Segment]:
    make: Callable[[Path], Segment] = request.param
    made = make(short_tmp)
    yield made
    made.close()


class Carp:
    """One node's carp process, as serve starts it."""

    def __init__(self, segment: Segment, name: str, skew: int, place: Path) -> None:
        self.run_dir = place / f"{name}-run"
        state_dir = place / f"{name}-state"
        (state_dir / "carp").mkdir(parents=True)
        vip = VipSettings(1, "lan", DEVICE, 0, (VIP,), "demo")
        peers = {other: (address,) for other, address in NODES.items() if other != name}
        told = Settings(name, skew, "always", 0.0, 0.0, 0.0, str(self.run_dir), (vip,), (DEVICE,), peers)
        self.log = place / f"{name}.log"
        (state_dir / configs.FILE).write_bytes(configs.encode(told))
        argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(state_dir)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*segment.through(name), *argv, "--life-fd", "0", "carp"], stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def report(self) -> Report | None:
        try:
            with Client(self.run_dir) as client:
                return client.report()
        except CarpAwayError:
            return None

    def state(self) -> str:
        report = self.report()
        return report.vips[0].state if report is not None else ""

    def close(self) -> None:
        """By the end of its life's pipe, as when serve dies."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0, self.log.read_text()


@pytest.fixture
def pair(segment: Segment, short_tmp: Path) -> Iterator[tuple[Carp, Carp]]:
    both = Carp(segment, "fw1", 20, short_tmp), Carp(segment, "fw2", 40, short_tmp)
    yield both
    for one in both:
        one.close()


def test_a_pulled_cable_is_seen_by_node_peer_and_client(segment: Segment, pair: tuple[Carp, Carp]) -> None:
    fw1, fw2 = pair
    until(lambda: (fw1.state(), fw2.state()) == ("MASTER", "BACKUP"), 20, "fw1 to serve")
    report = fw1.report()
    assert report is not None
    assert report.vips[0].held == (VIP,)
    segment.watch()
    until(lambda: segment.answers() > 10, what="answers")
    segment.unplug("fw1")
    until(lambda: (fw1.state(), fw2.state()) == ("INIT", "MASTER"), 20, "fw2 to take over")
    before = segment.answers()
    until(lambda: segment.answers() > before, what="answers of fw2")
    gap = segment.gap()
    assert gap.longest_ms > 100, "fw2 must have waited for fw1's adverts"
    assert gap.answers > before
    segment.plug("fw1")
    until(lambda: (fw1.state(), fw2.state()) == ("MASTER", "BACKUP"), 20, "fw1 to serve again")


def test_without_namespaces_it_is_said(tmp_path: Path) -> None:
    made = Folder(list(NODES), tmp_path / "segment", SystemClock(), "user namespaces are off")
    assert made.note == f"user namespaces are off; so {SAID}"
    made.watch()
    assert made.gap().answers == 0
    made.close()


@pytest.mark.parametrize("where", ["-:/nonexistent", "/nonexistent:/proc/self/ns/net", "-:/dev/null"])
def test_a_namespace_that_cannot_be_entered_is_named(where: str) -> None:
    with pytest.raises(InsideError, match=r"cannot enter the namespace /(nonexistent|dev/null): "):
        enter(where)
