"""Who holds the address in a trial: syncsrv, ucarp and keepalived, two nodes each, started alike."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncsrv.failover.intent import Intent
from tests.support.lab import VIP, VIP6, Lab
from tests.support.speakers import Group, Keepalived, Ours, Speaker, Ucarp
from tests.support.testroot import TestRoot
from tests.support.wait import until

CIDR = f"{VIP}/24"
SKEWS = {1.0: (1, 0, 100), 0.1: (0, 25, 26), 0.05: (0, 12, 13), 0.01: (0, 2, 3)}
"""Interval in seconds -> advbase, the serving node's advskew, the other's: syncsrv's word for it."""

PRIORITIES = {"a": 200, "b": 100}


@dataclass(frozen=True, slots=True)
class Contender:
    """One program at one interval.

    Attributes:
        name: of the program, and what is special about how it runs.
        start: starts it on a node of a lab (its name), with a folder for its files.
        serves: whether that node's program says that it is MASTER or BACKUP; the other one waits for it.
    """

    name: str
    interval_s: float
    start: Callable[[Lab, str, Path], Speaker]
    settled: Callable[[Lab, str, Speaker], bool]
    dual: bool = False


def syncsrv(interval_s: float, *, prefix: tuple[str, ...] = (), both_families: bool = False) -> Contender:
    """Ours; ``prefix`` is a command before it that changes how it is scheduled."""
    advbase, *skews = SKEWS[interval_s]

    def start(lab: Lab, name: str, home: Path) -> Ours:
        addresses = (CIDR, f"{VIP6}/64") if both_families else (CIDR,)
        group = Group(addresses=addresses, advbase=advbase, own_peers=lab.sources())
        advskew = skews[name != "a"]
        return Ours(lab[name].path, home, group.settings(name, home / "run", advskew), prefix=prefix)

    def settled(lab: Lab, name: str, speaker: Speaker) -> bool:
        assert isinstance(speaker, Ours)
        return speaker.state() == ("MASTER" if name == "a" else "BACKUP")

    return Contender("syncsrv", interval_s, start, settled)


def ucarp(root: TestRoot) -> Contender:
    """A real ucarp; below a second both of its nodes hold the address at times, before anything has happened."""

    def start(lab: Lab, name: str, home: Path) -> Ucarp:
        node = lab[name]
        return Ucarp(root, node.path, node.address, CIDR, home, advskew={"a": 0, "b": 100}[name])

    def settled(lab: Lab, name: str, speaker: Speaker) -> bool:
        assert isinstance(speaker, Ucarp)
        return ("Switching to state: MASTER" if name == "a" else "Switching to state: BACKUP") in speaker.said()

    return Contender("ucarp", 1.0, start, settled)


def keepalived(root: TestRoot, interval_s: float) -> Contender:
    """A real keepalived, VRRPv3."""

    def start(lab: Lab, name: str, home: Path) -> Keepalived:
        return Keepalived(root, lab[name].path, CIDR, home, priority=PRIORITIES[name], interval_s=interval_s)

    def settled(lab: Lab, name: str, speaker: Speaker) -> bool:
        assert isinstance(speaker, Keepalived)
        return ("Entering MASTER STATE" if name == "a" else "Entering BACKUP STATE") in speaker.said()

    return Contender("keepalived", interval_s, start, settled)


def switch_over(speaker: Speaker) -> None:
    """What its operator does: ours is told to, the others are ended."""
    if isinstance(speaker, Ours):
        speaker.apply(intent=Intent(switchover=True))
    else:
        speaker.process.send_signal(signal.SIGTERM)


def wait_for(contender: Contender, lab: Lab, name: str, speaker: Speaker) -> None:
    """Until a node's program is what it is to be, ``a`` MASTER and ``b`` BACKUP."""
    what = f"{contender.name} at {contender.interval_s:g} s on {name}"
    try:
        until(lambda: contender.settled(lab, name, speaker), deadline_s=20, what=what)
        until(lambda: lab.holders() == {"a"}, deadline_s=5, what=f"{what}: one holder")
    except AssertionError as error:
        raise AssertionError(f"{error}; it said:\n{speaker.said()[-2000:]}") from error
