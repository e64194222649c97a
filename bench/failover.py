"""How long a client is without the virtual address: syncsrv beside ucarp and keepalived, in the same run.

    .venv/bin/python bench/failover.py [--n N] [--jobs N] [--only WORD]... [--json FILE]
    .venv/bin/python bench/failover.py --load SECONDS [--json FILE]

Needs root. Each trial has namespaces of its own, and its event comes at a random moment between two adverts. A client
asks the address each millisecond. Asserts nothing: a figure is as good as the machine is calm.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from bench import busy, contenders, trial  # noqa: E402  # the checkout is found first
from bench.contenders import Contender  # noqa: E402
from bench.trial import EVENTS, HEADER, WITH_CHILD, Outcome  # noqa: E402
from syncsrv.errors import SyncsrvError  # noqa: E402
from tests.support.testroot import ensure  # noqa: E402

INTERVALS = (1.0, 0.1, 0.05)

Job = tuple[Contender, str]


def jobs_of(only: list[str]) -> list[Job]:
    """Every contender at every interval that it can, in every event that it has; ours first."""
    root = ensure()
    found: list[Job] = []
    for interval_s in INTERVALS:
        rivals = [contenders.keepalived(root, interval_s)]
        if interval_s == 1.0:
            rivals.append(contenders.ucarp(root))
        for event in EVENTS:
            for contender in (contenders.syncsrv(interval_s), *rivals):
                alone = contender.name == "ucarp"
                if event == "switchover" and contender.name != "syncsrv":
                    continue  # theirs is the SIGTERM
                if not (alone and event in WITH_CHILD):
                    found.append((contender, event))
    return [job for job in found if all(word in name_of(job) for word in only)]


def name_of(job: Job) -> str:
    contender, event = job
    return f"{contender.name} {contender.interval_s:g}s {event}"


def run(jobs: list[Job], n: int, at_once: int, seed: int) -> list[Outcome]:
    """Every job n times, round by round, so that what disturbs the machine for a while disturbs all."""
    found: list[Outcome] = []

    def once(job: Job, number: int) -> None:
        try:
            outcome = trial.trial(*job, random.Random(f"{seed} {name_of(job)} {number}"))
        except (AssertionError, SyncsrvError) as error:
            print(f"{name_of(job)}: no figure: {error}", file=sys.stderr, flush=True)
            return
        found.append(outcome)
        print(
            f"{name_of(job)}: {outcome.outage_s * 1000:.1f} ms, the client stood {outcome.stall_s * 1000:.1f} ms",
            file=sys.stderr,
            flush=True,
        )

    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(once, job, number) for number in range(n) for job in jobs]
        try:
            for one in running:
                one.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)  # what was measured until now is shown
    return found


def table(jobs: list[Job], found: list[Outcome]) -> None:
    """Each job's row; of ours also how it compares."""
    rows: dict[tuple[float, str, str], list[Outcome]] = {}
    for one in found:
        rows.setdefault((one.interval_s, one.event, one.contender), []).append(one)
    print(HEADER)
    for contender, event in jobs:
        outcomes = rows.get((contender.interval_s, event, contender.name))
        if not outcomes:
            print(f"{contender.interval_s:5g} s  {event:15} {contender.name:12}   0")
            continue
        rivals = {}
        if contender.name == "syncsrv":
            planned = "SIGTERM" if event == "switchover" else event
            for name in ("ucarp", "keepalived"):
                theirs = rows.get((contender.interval_s, planned, name))
                if theirs:
                    rivals[name] = statistics.median(one.outage_s * 1000 for one in theirs)
        print(trial.line(outcomes, rivals))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5, help="trials of each; default: 5")
    parser.add_argument("--jobs", type=int, default=1, help="trials at once; default: 1, as figures want it")
    parser.add_argument("--only", action="append", default=[], help="trials in whose name this stands, such as 0.1s")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the moments of the events")
    parser.add_argument("--load", type=float, metavar="SECONDS", help="false failovers under load instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything measured, as data")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # what runs is ended, also in the background
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; seed {options.seed}", flush=True)
    began_at = time.monotonic()
    if options.load is not None:
        found: list[object] = [asdict(one) for one in busy.rows(ensure(), options.load)]
    else:
        jobs = jobs_of(options.only)
        outcomes = run(jobs, options.n, options.jobs, options.seed)
        table(jobs, outcomes)
        found = [asdict(one) for one in outcomes]
    print(f"{time.monotonic() - began_at:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
