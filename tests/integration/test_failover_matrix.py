"""Every event with every way to carry addresses: how long a client is without them, and that one node has them then."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from syncsrv.failover.intent import Intent
from tests.integration.failoverkit import PLAIN, PLAIN_SKEWS, QUICK, QUICK_SKEWS, Duo, settled
from tests.support.lab import VIP, VIP6, Prober
from tests.support.netns import needs_lab
from tests.support.speakers import Group

pytestmark = [needs_lab, pytest.mark.timeout(120)]

SLACK_S = 0.15
"""For two processors that other tests use too."""


def kill_agent(duo: Duo) -> None:
    child = duo.a.child()
    assert child is not None
    os.kill(child, signal.SIGKILL)


def kill_both(duo: Duo) -> None:
    child = duo.a.child()
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    for pid in (duo.a.process.pid, child):
        os.kill(pid, signal.SIGKILL)


EVENTS: dict[str, tuple[Callable[[Duo], None], bool]] = {
    "SIGTERM": (lambda duo: duo.a.process.terminate(), True),
    "switchover": (lambda duo: duo.a.apply(intent=Intent(switchover=True)), True),
    "maintenance": (lambda duo: duo.a.apply(intent=Intent(maintenance=True)), True),
    "disable": (lambda duo: duo.a.apply(intent=Intent(disabled=True)), True),
    "demotion": (lambda duo: duo.a.apply(intent=Intent(demotions={"proxy": 120})), True),
    "cable": (lambda duo: duo.lab.pull("a"), False),
    "kill -9 agent": (kill_agent, True),
    "kill -9 both": (kill_both, False),
}
"""Event -> what is done to ``a``, and whether ``b`` is told of it rather than missing adverts."""

FAMILIES = {"IPv4": (f"{VIP}/24",), "IPv6": (f"{VIP6}/64",), "both": (f"{VIP}/24", f"{VIP6}/64")}

MATRIX = [
    pytest.param(event, family, quick, own_mac, id=f"{event}-{family}-{'0.1s' if quick else '1s'}{'-mac' * own_mac}")
    for event, family, quick, own_mac in product(EVENTS, FAMILIES, (True, False), (False, True))
]


@pytest.mark.sample(4)
@pytest.mark.parametrize("event, family, quick, own_mac", MATRIX)
def test_a_client_is_served_on(short_tmp: Path, event: str, family: str, quick: bool, own_mac: bool) -> None:
    base, skews = (QUICK, QUICK_SKEWS) if quick else (PLAIN, PLAIN_SKEWS)
    group: Group = replace(base, addresses=FAMILIES[family], virtual_mac=own_mac)
    address = FAMILIES[family][-1].partition("/")[0]
    act, told = EVENTS[event]
    missed_s = 3 * 26 / 256 if quick else 3 + 100 / 256
    with settled(short_tmp, group, skews, address=address) as duo, Prober(duo.lab, address) as prober:
        began_at = time.monotonic()
        act(duo)
        if event != "kill -9 agent":  # its node is back before one can look
            duo.holds("b", address=address)
        seen = prober.end()
    limit_s = (0 if told else missed_s) + SLACK_S
    assert seen.outage_s(began_at) < limit_s
    assert seen.held_by_two_s(began_at, address) < (5.5 if event == "kill -9 both" else SLACK_S)
