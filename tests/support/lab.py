"""A client and some nodes on one bridge, each a network namespace: cables can be pulled, or cut unnoticed.

client --- br0 --- a, b, ...
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support import netns
from tests.support.testroot import ensure

DEVICE = "eth0"
VIP = "10.99.0.100"
VIP6 = "fd99::100"
SBIN = "/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine.

    Attributes:
        name: also that of its port on the bridge.
        address: its own IPv4 address; address6 its IPv6 one.
    """

    name: str
    spaces: netns.Lab
    address: str
    address6: str

    @property
    def path(self) -> str:
        """Its network namespace, for other programs."""
        return self.spaces.path(self.name)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of iproute2 or nftables in its network to its end; what it printed.

        Raises:
            AssertionError: it failed; with all that it said.
        """
        done = self.spaces.run(self.name, [*command(program), *arguments])
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def ip(self, words: str) -> str:
        """``ip`` with these words."""
        return self.run("ip", *words.split())

    def addresses(self, device: str = "") -> set[str]:
        """All that are on its devices now, or on one of them."""
        devices = json.loads(self.run("ip", "-json", "addr", "show", *([device] if device else [])))
        return {one["local"] for device in devices for one in device.get("addr_info", ())}

    def holds(self, address: str = VIP) -> bool:
        """Whether this address is on one of its devices now."""
        return address in self.addresses()


@dataclass(frozen=True, slots=True)
class Lab:
    """The machines; ``client`` is the one that only asks."""

    spaces: netns.Lab
    client: Node
    nodes: dict[str, Node]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def pull(self, name: str) -> None:
        """Pull the cable: the node sees that its device has no carrier."""
        self.spaces.switch(netns.Lab.BRIDGE, name, up=False)

    def plug(self, name: str) -> None:
        """Put the cable in again."""
        self.spaces.switch(netns.Lab.BRIDGE, name, up=True)

    def cut(self, name: str) -> None:
        """Let nothing through from now on, either way; the node's carrier stays."""
        self._port_state(name, "0")

    def mend(self, name: str) -> None:
        """Let everything through again."""
        self._port_state(name, "3")

    def _port_state(self, name: str, state: str) -> None:
        words = [*command("bridge"), "link", "set", "dev", name, "state", state]
        done = self.spaces.run(netns.Lab.BRIDGE, words)
        assert done.returncode == 0, done.stderr

    def sources(self) -> dict[str, tuple[str, ...]]:
        """Where each node's packets may come from, link-local addresses too: what nodes tell each other over SSH."""
        return {name: tuple(sorted(node.addresses(DEVICE) - {VIP, VIP6})) for name, node in self.nodes.items()}

    def give(self, node: Node) -> None:
        """Give a node its own addresses."""
        self.spaces.address(node.name, DEVICE, f"{node.address}/24")
        self.spaces.address(node.name, DEVICE, f"{node.address6}/64")

    def holders(self, address: str = VIP) -> set[str]:
        """Which nodes have this address now."""
        return {name for name, node in self.nodes.items() if node.holds(address)}


@contextmanager
def lab(names: Sequence[str] = ("a", "b")) -> Iterator[Lab]:
    """The client is .10, the nodes are .1, .2 and so on, of 10.99.0.0/24 and fd99::/64; what runs there is killed."""
    hosts = {"client": 10} | {name: number for number, name in enumerate(names, 1)}
    spaces = netns.Lab(*hosts)
    try:
        made = {name: Node(name, spaces, f"10.99.0.{number}", f"fd99::{number:x}") for name, number in hosts.items()}
        client = made.pop("client")
        found = Lab(spaces, client, made)
        for node in (client, *made.values()):
            found.give(node)
        yield found
    finally:
        for name in hosts:
            kill_all(spaces, name)
        spaces.close()


def command(program: str) -> list[str]:
    """How a program of iproute2 or nftables is run here: this machine's, or the test root's where it has none."""
    found = shutil.which(program) or shutil.which(program, path=SBIN)
    if found is not None:
        return [found]
    root = ensure()
    there = [folder for folder in ("usr/sbin", "usr/bin") if (root.path / folder / program).is_file()]
    real = [
        folder for folder in there if not (root.path / folder / program).is_symlink()
    ]  # a link would lead out of it
    return root.outside(f"{real[0]}/{program}")


def kill_all(spaces: netns.Lab, name: str) -> None:
    """Kill every process of a namespace, and those that they start meanwhile."""
    while pids := spaces.pids(name):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a prober saw; times are CLOCK_MONOTONIC seconds.

    Attributes:
        timing: real-time or best effort.
        sent: when each request went out.
        answers: (number of the request, when) of each answer.
        changes: (when, node, whether it holds it from then on, address).
    """

    timing: str
    sent: list[float]
    answers: list[tuple[int, float]]
    changes: list[tuple[float, str, bool, str]]

    def outage_s(self, since: float, until: float = float("inf")) -> float:
        """The longest time between two answers that follow each other, of which the second came in this time."""
        came = [at for _, at in self.answers]
        came.append(self.sent[-1])  # the end of watching ends an outage too
        gaps = [(later - before) for before, later in pairwise(came) if since <= later < until]
        return max(gaps, default=0.0)

    def stall_s(self, since: float) -> float:
        """The longest time in which the client itself did not ask: no outage can be told from it."""
        return max((later - before for before, later in pairwise(self.sent) if later >= since), default=0.0)

    def holding(self, address: str = VIP) -> list[tuple[float, float, frozenset[str]]]:
        """(from, to, who held the address) over the whole time."""
        now: frozenset[str] = frozenset()
        found, began_at = [], self.sent[0]
        for at, node, holds, which in sorted(self.changes):
            if which != address or (node in now) == holds:
                continue
            found.append((began_at, at, now))
            began_at, now = at, now | {node} if holds else now - {node}
        return [*found, (began_at, self.sent[-1], now)]

    def held_by_two_s(self, since: float, address: str = VIP) -> float:
        """How long more than one node held the address."""
        return sum(max(0.0, to - max(start, since)) for start, to, who in self.holding(address) if len(who) > 1)

    def held_by_two_at_the_end(self, address: str = VIP) -> bool:
        return len(self.holding(address)[-1][2]) > 1


class Prober:
    """A client that asks an address at an interval, in a process of its own."""

    def __init__(self, lab: Lab, address: str = VIP, interval_s: float = 0.001) -> None:
        program = Path(__file__).with_name("prober.py")
        nodes = [f"{name}={node.path}" for name, node in lab.nodes.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-Es", program, lab.client.path, address, str(interval_s), *nodes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> Seen:
        """Have it end, and say what it saw."""
        out, _ = self._process.communicate(timeout=60)
        found: dict[str, Any] = json.loads(out)
        return Seen(**found)

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
