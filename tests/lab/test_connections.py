"""Open connections live on through whatever moves the addresses: a transfer, 500 that idle, and a stream over UDP.

All of it goes through the pair's NAT, which lets nothing through that is in the middle of a connection that it does not
know. What is asserted is that nothing is reset, lost or out of order; how long the path was away and how long the
transfer stood still is measured, and shown at the end of `make lab`. The path is away for as long as no packet of the
stream comes back, one being sent every 10 ms; the transfer stands still for longer, as TCP waits twice as long for each
next repetition of a lost packet.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncsrv.carp import timing
from tests.lab.conftest import Figure
from tests.support import edge
from tests.support.edge import SERVER, SKEWS, UP_S, Edge, Firewall
from tests.support.testroot import TestRoot
from tests.support.traffic import Asked, Seen, Traffic
from tests.support.wait import until

IDLE = 500
MORE = 100
DETECTION_S = timing.master_down_s(0, SKEWS["fw2"], timing.interval_s(0, SKEWS["fw1"]))
MOVED_S = 0.1
"""What is left for the takeover itself."""
REPEATED = 5

Act = Callable[[Edge], object]


def kill_the_agent(pair: Edge) -> None:
    pair.fw1.run("pkill", "-KILL", "-f", "syncsrv.failover.agent")


def switch_over(pair: Edge) -> None:
    pair.fw1.do("vip", "switchover")


@dataclass(frozen=True, slots=True)
class Event:
    """What takes the addresses from fw1, and what makes it come back; nothing where it does by itself."""

    strike: Act
    heal: Act | None


EVENTS = {
    "cable pull": Event(lambda pair: pair.pull("fw1", "lan"), lambda pair: pair.plug("fw1", "lan")),
    "kill -9 of the agent": Event(kill_the_agent, None),
    "power-off": Event(lambda pair: pair.fw1.kill(), lambda pair: pair.fw1.boot()),
    "planned switchover": Event(switch_over, switch_over),
}


@dataclass(frozen=True, slots=True)
class Passed:
    """What both halves of an event did: the takeover, then the fail-back.

    Attributes:
        asked: the idle connections after the takeover, and after the fail-back with those that were opened meanwhile.
        split_at: between the two halves.
    """

    asked: tuple[Asked, Asked]
    seen: Seen
    since: float
    split_at: float

    def whole(self) -> bool:
        return not self.seen.broken and not any(asked.silent or asked.broken for asked in self.asked)

    def __str__(self) -> str:
        return f"idle: {self.asked[0]}, after the fail-back: {self.asked[1]}; transfer: {self.seen.broken or 'whole'}"

    def figures(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The path's outage and the transfer's stall, of the takeover and of the fail-back."""
        halves = ((self.since, self.split_at), (self.split_at, float("inf")))
        takeover, failback = ((self.seen.outage_s(*half), self.seen.stall_s(*half)) for half in halves)
        return takeover, failback


def knows(node: Firewall, count: int) -> bool:
    """Whether a node's kernel has so many established connections to the server."""
    options = ("-p", "tcp", "--state", "ESTABLISHED", "--orig-dst", SERVER)
    return len(node.run("conntrack", "-L", *options, check=False).stdout.splitlines()) >= count


def pass_through(pair: Edge, event: Event) -> Passed:
    """Traffic, the event, the fail-back, and what became of the traffic."""
    with Traffic(pair.spaces) as traffic:
        assert traffic.open(IDLE).answered == IDLE
        until(lambda: knows(pair.fw2, IDLE + 1), what="fw2 to know the connections")
        pair.settle()
        since = time.monotonic()
        event.strike(pair)
        until(pair.fw2.serves, UP_S, "fw2 to serve")
        first = traffic.ask()
        traffic.flow()
        if event.heal:
            traffic.open(MORE)  # counted when they are asked after the fail-back
            until(lambda: not pair.fw1.running or knows(pair.fw1, IDLE + MORE + 1), what="fw1 to know the new ones")
            until(lambda: not pair.fw1.running or not pair.fw1.awaits_table(), what="fw1 to be as good as fw2")
        split_at = time.monotonic()
        if event.heal:
            event.heal(pair)
        pair.settle()
        second = traffic.ask()
        traffic.flow()
        return Passed((first, second), traffic.end(), since, split_at)


def shown(outage_s: float, stall_s: float) -> str:
    return f"path away {outage_s * 1000:4.0f} ms, transfer still {stall_s * 1000:4.0f} ms"


@pytest.mark.parametrize("name", EVENTS)
def test_connections_live_on(pair: Edge, figure: Figure, name: str) -> None:
    passed = pass_through(pair, EVENTS[name])
    takeover, failback = passed.figures()
    figure(f"{name} (detection {DETECTION_S * 1000:.0f} ms)", shown(*takeover))
    figure("... and fail-back", shown(*failback))
    assert passed.whole(), f"{passed}\n{pair.said()}"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", EVENTS)
def test_connections_live_on_each_time(pair: Edge, figure: Figure, name: str) -> None:
    all_passed = [pass_through(pair, EVENTS[name]) for _ in range(REPEATED)]
    whole = sum(passed.whole() for passed in all_passed)
    halves = list(zip(*(passed.figures() for passed in all_passed), strict=True))
    for what, half in zip((name, "... and fail-back"), halves, strict=True):
        outages, stalls = ([row[place] * 1000 for row in half] for place in (0, 1))
        spread = [f"{statistics.median(one):.0f} ({min(one):.0f}-{max(one):.0f}) ms" for one in (outages, stalls)]
        figure(what, f"{whole} of {REPEATED} whole; path away {spread[0]}, transfer still {spread[1]}")
    assert whole == REPEATED, "\n".join(map(str, all_passed)) + pair.said()
    for half in halves:
        assert statistics.median(outage for outage, _ in half) <= DETECTION_S + MOVED_S


@pytest.fixture(scope="module")
def apart(testroot: TestRoot, layer: Path) -> Iterator[Edge]:
    """The same pair, and nothing that carries connections from one to the other."""
    with edge.running(testroot, [layer]) as found:
        yield found


def test_without_state_sync_they_break(apart: Edge, figure: Figure) -> None:
    with Traffic(apart.spaces) as traffic:
        assert traffic.open(IDLE).answered == IDLE
        apart.pull("fw1", "lan")
        until(apart.fw2.serves, UP_S, "fw2 to serve")
        before = traffic.seen().records
        asked = traffic.ask(wait_s=3)
        figure("idle connections without state sync", str(asked))
        assert asked.answered == 0
        assert traffic.open(1).answered == 1  # new ones have a way
        after = traffic.seen()
        assert after.broken or after.records == before
