"""False failovers: nothing happens to the nodes, but processes that never wait want every processor that there is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import contenders
from bench.contenders import Contender, wait_for
from tests.support.lab import Prober, lab
from tests.support.speakers import Ours, Speaker
from tests.support.testroot import TestRoot

INTERVAL_S = 0.1
BUSY = 4

NO_REAL_TIME = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--")
"""Without that right neither SCHED_FIFO nor a lower niceness can be had."""

AT_LEAST_NICE = ("nice", "-n", "-20", *NO_REAL_TIME)
"""What an agent makes of itself where only real time is refused."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of it.

    Attributes:
        failovers: how often the other node took the address.
        outage_s: the client's longest time without an answer.
        two_s: how long both nodes had the address.
        timing: what our agents say of their scheduling.
    """

    who: str
    seconds: float
    failovers: int
    outage_s: float
    two_s: float
    timing: str


@contextmanager
def busy(count: int = BUSY) -> Iterator[None]:
    """Processes that never wait, of no priority, each in a session of its own as other people's programs are."""
    argv = [sys.executable, "-Ec", "while True: pass"]
    running = [subprocess.Popen(argv, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
        for one in running:
            one.wait()


@dataclass(slots=True)
class Pair:
    """Two nodes with an address between them, and a client that asks it each ten milliseconds."""

    who: str
    speakers: dict[str, Speaker]
    prober: Prober


@contextmanager
def pair(who: str, contender: Contender) -> Iterator[Pair]:
    """Started, and watched."""
    home = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp")).resolve()
    try:
        with lab() as found:
            speakers = {}
            for name in ("a", "b"):
                speakers[name] = contender.start(found, name, home / name)
                wait_for(contender, found, name, speakers[name])
            with Prober(found, interval_s=0.01) as prober:
                yield Pair(who, speakers, prober)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def rows(root: TestRoot, seconds: float) -> list[Row]:
    """Every way to run, all at the same time: what disturbs one disturbs all. Prints a line about each.

    They are started on a calm machine, which then is calm no more.
    """
    ways: list[tuple[str, Contender]] = [
        ("syncsrv, real time", contenders.syncsrv(INTERVAL_S)),
        ("syncsrv, real time refused, nice -20", contenders.syncsrv(INTERVAL_S, prefix=AT_LEAST_NICE)),
        ("syncsrv, real time and niceness refused", contenders.syncsrv(INTERVAL_S, prefix=NO_REAL_TIME)),
        ("keepalived", contenders.keepalived(root, INTERVAL_S)),
    ]
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair(who, contender)) for who, contender in ways]
        with busy():
            began_at = time.monotonic()
            time.sleep(seconds)
            timings = [
                " / ".join(one.report().timing for one in each.speakers.values() if isinstance(one, Ours))
                for each in pairs
            ]
            seen = [each.prober.end() for each in pairs]
    found = []
    for each, one, timing in zip(pairs, seen, timings, strict=True):
        holding = [who for _, to, who in one.holding() if to > began_at]
        taken = sum("b" in later and "b" not in earlier for earlier, later in pairwise(holding))
        row = Row(each.who, seconds, taken, one.outage_s(began_at), one.held_by_two_s(began_at), timing)
        found.append(row)
        print(
            f"{row.who:40} {row.seconds:6.0f} s  {row.failovers:3} false failovers"
            f"  longest outage {row.outage_s * 1000:7.1f} ms  two held it {row.two_s:6.3f} s  {row.timing}"
        )
    return found
