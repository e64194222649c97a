"""Traffic from the client to the server of a lab, by ``flows.py``, and what a failover did to it.

with Traffic(spaces) as traffic:
    traffic.open(500)
    since = time.monotonic()
    ...                             the failover
    asked = traffic.ask()           .answered is 500
    seen = traffic.end()            .broken is empty, .outage_s(since), .stall_s(since)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from tests.support import flows, netns
from tests.support.wait import until

PROGRAM = Path(flows.__file__)


@dataclass(frozen=True, slots=True)
class Asked:
    """How many of the idle connections echoed, and what became of the others.

    Attributes:
        silent: neither an answer nor an error came in time.
        broken: of each other one, what the kernel said when it gave it up, or what else is wrong.
    """

    answered: int
    silent: int
    broken: list[str]

    def __str__(self) -> str:
        others = [f"{number} {why}" for why, number in Counter(self.broken).items()]
        return ", ".join([f"{self.answered} answered", *others, *([f"{self.silent} silent"] if self.silent else [])])


@dataclass(frozen=True, slots=True)
class Seen:
    """What both ends saw; times are CLOCK_MONOTONIC seconds.

    Attributes:
        sent: when each packet over UDP went out.
        answers: (number of the packet, when) of each echo.
        gaps: (from, to) of each silence of the transfer that one of both ends noticed.
        records: that were sent and came, both ways together.
        broken: what is wrong with the transfer, a sentence for each thing; empty where it is whole.
    """

    sent: list[float]
    answers: list[tuple[int, float]]
    gaps: list[tuple[float, float]]
    records: int
    broken: list[str]

    def outage_s(self, since: float, until: float = float("inf")) -> float:
        """The longest time between two echoes over UDP, of which the second came in this time."""
        came = [*(at for _, at in self.answers), self.sent[-1]]  # the end of watching ends an outage too
        return max((later - before for before, later in pairwise(came) if since <= later < until), default=0.0)

    def stall_s(self, since: float, until: float = float("inf")) -> float:
        """The longest time in which nothing of the transfer came at one of its ends."""
        return max((later - before for before, later in self.gaps if since <= later < until), default=0.0)

    def own_stall_s(self, since: float, until: float = float("inf")) -> float:
        """The longest time in which the client itself did not ask: no outage can be told from it."""
        return max((later - before for before, later in pairwise(self.sent) if since <= later < until), default=0.0)


class Traffic:
    """A transfer, a stream over UDP, and as many idle connections as are opened; from ``client`` to ``server``."""

    def __init__(self, spaces: netns.Lab, address: str = "10.2.0.10") -> None:
        self._ends: list[subprocess.Popen[str]] = []
        try:
            for name in ("server", "client"):
                self._ends.append(spaces.start(name, [sys.executable, "-Es", str(PROGRAM), name, address]))
                assert self._line(self._ends[-1]) == "ready"
        except BaseException:
            self.close()
            raise
        self._server, self._client = self._ends

    @staticmethod
    def _line(end: subprocess.Popen[str]) -> str:
        assert end.stdout is not None
        assert end.stderr is not None
        line = end.stdout.readline()
        assert line, f"it ended: {end.stderr.read()}"
        return line.strip()

    def _told(self, end: subprocess.Popen[str], order: str) -> Any:
        assert end.stdin is not None
        end.stdin.write(f"{order}\n")
        end.stdin.flush()
        return json.loads(self._line(end))

    def open(self, count: int) -> Asked:
        """So many connections more; what their first echo came to."""
        return Asked(**self._told(self._client, f"open {count}"))

    def ask(self, wait_s: int = 10) -> Asked:
        """Have each of the idle connections echo, which takes TCP longer than an outage was."""
        return Asked(**self._told(self._client, f"ask {wait_s}"))

    def flow(self) -> None:
        """Wait until something of the transfer has come at both ends since now, or it is broken."""
        before = [self._told(end, "came") for end in self._ends]
        until(
            lambda: (
                all(self._told(end, "came") > was for end, was in zip(self._ends, before, strict=True))
                or self.seen().broken
            ),
            what="the transfer to go on",
        )

    def seen(self) -> Seen:
        """What there is to see until now."""
        client, server = self._told(self._client, "seen"), self._told(self._server, "seen")
        near, far = client["transfer"], server["transfer"]
        broken = [f"{end}: {one['error']}" for end, one in (("client", near), ("server", far)) if one["error"]]
        broken += [f"server: {why}" for why in server["lost"]]
        gaps = sorted((start, end) for one in (near, far) for start, end in one["gaps"])
        return Seen(client["sent"], client["answers"], gaps, near["came"] + far["came"], broken)

    def end(self) -> Seen:
        """Bring the transfer to its end: all that was sent has to come."""
        near = self._told(self._client, "end")
        seen = self.seen()
        far = self._told(self._server, "seen")["transfer"]
        if not seen.broken and not (near["whole"] and far["whole"]):
            seen.broken.append("its last record did not come")
        if not seen.broken and (near["sent"], near["came"]) != (far["came"], far["sent"]):
            seen.broken.append(f"client sent {near['sent']}, got {near['came']}; server {far['sent']}, {far['came']}")
        return seen

    def close(self) -> None:
        """End both programs."""
        for end in self._ends:
            end.kill()
            with contextlib.suppress(ValueError):  # a pipe was closed with something in it
                end.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
