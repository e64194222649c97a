"""The program that holds the demo's namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from syncsrv.clock import SystemClock
from syncsrv.demo.network import Namespaces, SegmentError
from tests.support.wait import until


@pytest.fixture
def held() -> Iterator[Namespaces]:
    made = Namespaces(["fw1", "fw2"], SystemClock())
    if not made.inside:
        made.close()
        pytest.skip(made.why_not)
    yield made
    made.close()


def test_each_node_has_a_network_of_its_own_and_it_ends_with_its_holder(held: Namespaces) -> None:
    paths = [one.partition(":")[2] for one in held.inside.values()]
    networks = {os.stat(path).st_ino for path in paths}
    assert len(networks) == 2
    assert os.stat("/proc/self/ns/net").st_ino not in networks
    held.close()
    assert not any(os.path.exists(path) for path in paths)


def test_an_order_that_cannot_be_carried_out_says_why(held: Namespaces) -> None:
    with pytest.raises(SegmentError, match=r"cannot unplug fw9 in the demo's network: .*no interface"):
        held.unplug("fw9")
    held.unplug("fw1")
    held.plug("fw1")


def test_the_client_counts_what_is_answered(held: Namespaces) -> None:
    """Nobody has the virtual address yet."""
    held.watch()
    until(lambda: held.gap().longest_ms >= 20, what="a gap")
    held.watch()
    assert held.answers() == 0
