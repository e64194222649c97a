"""Two real agents on one bridge: who serves, what happens on each end of one, and what is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.asking import Client
from syncsrv.failover.intent import Intent
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes
from tests.support.lab import VIP, VIP6, Lab, lab
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def pair(net: Lab, short_tmp: Path) -> Iterator[tuple[CarpNode, CarpNode]]:
    with carp_nodes(net, short_tmp) as nodes:
        yield nodes


def serve(pair: tuple[CarpNode, CarpNode]) -> tuple[CarpNode, CarpNode]:
    """Both started, ``a`` MASTER and ``b`` BACKUP that has heard it."""
    a, b = pair
    a.start()
    b.start()
    a.await_state("MASTER")
    b.await_report(lambda report: report.vips[0].state == "BACKUP" and report.vips[0].master_peer == "a")
    return a, b


def test_the_better_one_serves_and_the_other_knows_it(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    until(lambda: a.lab.holders() == {"a"} and a.lab.holders(VIP6) == {"a"}, what="one holder")
    one, other = a.report(), b.report()
    assert one is not None
    assert other is not None
    assert one.vips[0].held == QUICK.addresses
    assert other.vips[0].held == ()
    assert (other.vips[0].master_peer, other.vips[0].master_advskew) == ("a", 10)
    assert one.guardian_pid == a.pid
    assert one.devices[0].sources[0] == a.node.address
    assert one.settings_digest == a.settings.digest
    assert one.troubles == ()
