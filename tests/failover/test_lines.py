"""The log of a process that may not wait for whoever reads it; in a process of its own, as it changes all logging."""

from __future__ import annotations

import os
import subprocess
import sys

LOGS = """
import logging
from syncsrv.failover.lines import WAITING_MOST, Lines
lines = Lines("carp")
for number in range({count}):
    logging.getLogger("x").info("line %d of %s", number, "\\n")
print("went on", flush=True)
input()
lines.close()
"""


def test_lines_are_written_in_order_and_escaped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS.format(count=3)], capture_output=True, text=True, check=True, input="\n"
    )
    said = [line.partition("carp: ")[2] for line in done.stderr.splitlines()]
    assert said == [f"INFO x: line {number} of \\n" for number in range(3)]


def test_who_reads_nothing_stops_nobody_and_hears_what_he_missed() -> None:
    reading, writing = os.pipe()
    argv = [sys.executable, "-c", LOGS.format(count=20_000)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing, text=True)
    os.close(writing)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "went on\n"
    child.stdin.write("\n")
    child.stdin.close()
    with os.fdopen(reading) as log:
        said = log.read()
    assert child.wait(10) == 0
    child.stdout.close()
    assert "lines were lost until now: nobody read them in time" in said


ENDS = """
import logging
from syncsrv.failover.lines import Lines, leave
lines = Lines("carp")
for number in range(2000):
    logging.getLogger("x").info("a line that nobody reads, and that is long enough to fill a pipe: %d", number)
lines.close()
leave(3)
"""


def test_it_ends_with_its_status_although_nobody_reads() -> None:
    reading, writing = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", ENDS], stderr=writing)
    os.close(writing)
    try:
        assert child.wait(20) == 3
    finally:
        child.kill()
        child.wait()
        os.close(reading)
