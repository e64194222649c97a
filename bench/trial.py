"""One trial: a fresh lab, two nodes with one address between them, an event, and what a client saw of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender, switch_over, wait_for
from tests.support.lab import Lab, Prober, lab
from tests.support.speakers import Speaker

PAIR_S = 1.0
"""How long both nodes run undisturbed before the event, at least."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen.

    Attributes:
        outage_s: the longest time without an answer, from the event on.
        before_s: the same before the event: what the measuring itself costs.
        stall_s: the longest time from the event on in which the client itself did not ask.
        two_s: how long both nodes had the address, from the event on.
        two_for_ever: whether they had it still when the watching ended.
        moved: whether the other node had the address at the end.
    """

    contender: str
    interval_s: float
    event: str
    outage_s: float
    before_s: float
    stall_s: float
    two_s: float
    two_for_ever: bool
    moved: bool


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def kill_both(lab: Lab, speaker: Speaker) -> None:
    """At once: the child stands still before it can see its parent die."""
    child = speaker.child()
    if child is not None:
        os.kill(child, signal.SIGSTOP)
    os.kill(speaker.process.pid, signal.SIGKILL)
    if child is not None:
        os.kill(child, signal.SIGKILL)


EVENTS: dict[str, Callable[[Lab, Speaker], None]] = {
    "no event": lambda lab, speaker: None,
    "cable pull": lambda lab, speaker: lab.pull("a"),
    "silent cut": lambda lab, speaker: lab.cut("a"),
    "SIGTERM": lambda lab, speaker: speaker.process.send_signal(signal.SIGTERM),
    "switchover": lambda lab, speaker: switch_over(speaker),
    "kill -9 child": lambda lab, speaker: kill(speaker.child()),
    "kill -9 parent": lambda lab, speaker: kill(speaker.process.pid),
    "kill -9 both": kill_both,
}

WITH_CHILD = {"kill -9 child", "kill -9 parent"}


def watch_s(contender: Contender, event: str) -> float:
    """How long the client goes on after the event: until the address came back, and may have moved back."""
    return 9.0 if event == "kill -9 both" else max(2.5, 8 * contender.interval_s)


def trial(contender: Contender, event: str, dice: random.Random) -> Outcome:
    """Run one."""
    home = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp")).resolve()
    try:
        with lab() as found:
            speakers = {}
            for name in ("a", "b"):
                speakers[name] = contender.start(found, name, home / name)
                wait_for(contender, found, name, speakers[name])
            with Prober(found) as prober:
                time.sleep(PAIR_S + dice.uniform(0, 2 * contender.interval_s))  # any moment between two adverts
                wait_for(contender, found, "b", speakers["b"])
                began_at = time.monotonic()
                EVENTS[event](found, speakers["a"])
                time.sleep(watch_s(contender, event))
                seen = prober.end()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return Outcome(
        contender=contender.name,
        interval_s=contender.interval_s,
        event=event,
        outage_s=seen.outage_s(began_at),
        before_s=seen.outage_s(0, began_at),
        stall_s=seen.stall_s(began_at),
        two_s=seen.held_by_two_s(began_at),
        two_for_ever=seen.held_by_two_at_the_end(),
        moved="b" in seen.holding()[-1][2],
    )


def line(outcomes: list[Outcome], rivals: dict[str, float]) -> str:
    """One row of the table; ``rivals`` has the median outage of each other contender."""
    first = outcomes[0]
    outages = sorted(one.outage_s * 1000 for one in outcomes)
    two = [one.two_s for one in outcomes]
    text = (
        f"{first.interval_s:5g} s  {first.event:15} {first.contender:12} {len(outcomes):3}"
        f"  {statistics.median(outages):7.1f} {outages[0]:7.1f} {outages[-1]:7.1f}  {max(two):8.3f}"
    )
    text += " for ever" if any(one.two_for_ever for one in outcomes) else "         "
    stall_ms = max(one.stall_s for one in outcomes) * 1000
    text += f"  {stall_ms:7.1f}"
    mine = statistics.median(outages)
    return text + "".join(f"  {mine / other:6.2f} x {name}" for name, other in rivals.items() if other)


HEADER = (
    "interval event           who            n   median     min     max ms  two hold it, s     stall ms  ours / theirs"
)
