"""The demo's network segment, as the walk uses it: where the virtual address is, and who answers for it.

In network namespaces where the kernel lets us make some; else a directory stands for the segment (medium.py), and the
walk says so.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncsrv.clock import Clock
from syncsrv.demo import medium
from syncsrv.demo.programs import ENVIRONMENT
from syncsrv.errors import SyncsrvError

VIP = "192.0.2.10/24"
CLIENT = "192.0.2.100/24"
DEVICE = "eth0"

ANSWER_S = 10.0
ASK_S = 0.005


class SegmentError(SyncsrvError):
    """The segment does not do what it was told."""

    code = "demo"

    def __init__(self, order: str, why: str) -> None:
        super().__init__(f"cannot {order} in the demo's network: {why}")


@dataclass(frozen=True, slots=True)
class Gap:
    """What the client saw: the longest time without an answer, in milliseconds, and how many answers came."""

    longest_ms: int
    answers: int


class Segment(Protocol):
    """What the walk needs of either."""

    note: str
    """What is not as in a real network; empty where all is."""

    def through(self, node: str) -> list[str]:
        """What stands before the carp process's argv, so that it works here."""

    def unplug(self, node: str) -> None:
        """Pull a node's cable: its device has no carrier, and nobody is told."""

    def plug(self, node: str) -> None:
        """Put it back."""

    def watch(self) -> None:
        """A client asks the virtual address from now on, every few milliseconds."""

    def answers(self) -> int:
        """How many answers it has had since."""

    def gap(self) -> Gap:
        """It stops, and says how long it was without an answer."""

    def close(self) -> None:
        """Nothing is left. May be called again."""


def make(nodes: Sequence[str], directory: Path, clock: Clock) -> Segment:
    """A segment for these nodes.

    Args:
        nodes: their names.
        directory: for what a segment without namespaces needs; made where it is needed.
        clock: tells the time.
    """
    namespaces = Namespaces(nodes, clock)
    if namespaces.inside:
        return namespaces
    namespaces.close()
    return Folder(nodes, directory, clock, namespaces.why_not)


class Folder:
    """A directory for a segment; a thread is the client, and asks the files.

    Args:
        why: why there are no namespaces.
    """

    def __init__(self, nodes: Sequence[str], directory: Path, clock: Clock, why: str) -> None:
        directory.mkdir(mode=0o700)
        self._directory = directory
        self._nodes = tuple(nodes)
        self._clock = clock
        self._ends = threading.Event()
        self._client: threading.Thread | None = None
        self._answers = 0
        self._longest_s = 0.0
        self.note = f"{why}; so {medium.SAID}"

    def through(self, node: str) -> list[str]:
        source = f"192.0.2.{self._nodes.index(node) + 1}"
        return [sys.executable, "-Es", "-m", "syncsrv.demo.medium", str(self._directory), node, source]

    def unplug(self, node: str) -> None:
        medium.pulled(self._directory, node).touch()

    def plug(self, node: str) -> None:
        medium.pulled(self._directory, node).unlink()

    def watch(self) -> None:
        self._answers, self._longest_s = 0, 0.0
        self._ends.clear()
        self._client = threading.Thread(target=self._ask, name="client", daemon=True)
        self._client.start()

    def answers(self) -> int:
        return self._answers

    def gap(self) -> Gap:
        self._stop()
        return Gap(round(self._longest_s * 1000), self._answers)

    def close(self) -> None:
        self._stop()

    def _stop(self) -> None:
        self._ends.set()
        if self._client is not None:
            self._client.join()
            self._client = None

    def _ask(self) -> None:
        answered_at = self._clock.monotonic()
        while not self._ends.wait(ASK_S):
            now = self._clock.monotonic()
            if any(self._serves(node) for node in self._nodes):
                self._answers += 1
                answered_at = now
            self._longest_s = max(self._longest_s, now - answered_at)

    def _serves(self, node: str) -> bool:
        try:
            held = medium.holds(self._directory, node).read_text().split()
        except OSError:
            return False
        return VIP in held and not medium.pulled(self._directory, node).exists()


class Namespaces:
    """Namespaces for the nodes, held by a program of ours; see segment.py.

    Args:
        nodes: their names.
        clock: tells the time.

    Attributes:
        inside: per node the namespaces of its carp process; empty where this kernel lets us make none.
        why_not: the reason then.
    """

    note = ""

    def __init__(self, nodes: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        addresses = [f"{name}=192.0.2.{number}/24" for number, name in enumerate(nodes, 1)]
        self._child = subprocess.Popen(
            [sys.executable, "-Es", "-m", "syncsrv.demo.segment", VIP, CLIENT, *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        said = self._line("start")
        self.inside = dict(zip(nodes, said.split(), strict=True)) if ":" in said and "/proc/" in said else {}
        self.why_not = "" if self.inside else said or "its program ended"

    def through(self, node: str) -> list[str]:
        return [sys.executable, "-Es", "-m", "syncsrv.demo.inside", self.inside[node]]

    def unplug(self, node: str) -> None:
        self._order(f"unplug {node}")

    def plug(self, node: str) -> None:
        self._order(f"plug {node}")

    def watch(self) -> None:
        self._order("watch")

    def answers(self) -> int:
        return int(self._order("answers", wanted=""))

    def gap(self) -> Gap:
        longest, _, answers = self._order("gap", wanted="").partition(" ")
        return Gap(int(longest), int(answers))

    def close(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _order(self, order: str, wanted: str = "done") -> str:
        assert self._child.stdin is not None
        try:
            os.write(self._child.stdin.fileno(), f"{order}\n".encode())
        except OSError as error:
            raise SegmentError(order, error.strerror or str(error)) from error
        said = self._line(order)
        if not said or (wanted and said != wanted):
            raise SegmentError(order, said or "its program ended")
        return said

    def _line(self, order: str) -> str:
        """What the program says; empty where it has ended."""
        assert self._child.stdout is not None
        handle = self._child.stdout.fileno()
        ends_at = self._clock.monotonic() + ANSWER_S
        data = b""
        while not data.endswith(b"\n"):
            left_s = ends_at - self._clock.monotonic()
            if left_s <= 0 or not select.select([handle], [], [], left_s)[0]:
                raise SegmentError(order, f"no answer within {ANSWER_S:g} s")
            more = os.read(handle, 4096)
            if not more:
                break
            data += more
        return data.decode("utf-8", "replace").strip()
