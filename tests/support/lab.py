"""A client and some nodes on one bridge, each a network namespace: cables can be pulled, or cut unnoticed.

client --- br0 --- a, b, ...
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.netns import Namespace, bridge, namespace, veth

DEVICE = "eth0"
VIP = "10.99.0.100"
VIP6 = "fd99::100"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine.

    Attributes:
        name: also that of its port on the bridge.
        net: its network.
        address: its own IPv4 address; address6 its IPv6 one.
    """

    name: str
    net: Namespace
    address: str
    address6: str

    def holds(self, address: str = VIP) -> bool:
        """Whether this address is on one of its devices now."""
        return address in self.addresses()

    def addresses(self) -> set[str]:
        """All that are on its devices now."""
        return {one["local"] for device in self.net.json("addr show") for one in device.get("addr_info", ())}


@dataclass(frozen=True, slots=True)
class Lab:
    """The machines; `client` is the one that only asks."""

    switch: Namespace
    client: Node
    nodes: dict[str, Node]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def pull(self, name: str) -> None:
        """Pull the cable: the node sees that its device has no carrier."""
        self.switch.ip(f"link set dev {name} down")

    def plug(self, name: str) -> None:
        """Put the cable in again."""
        self.switch.ip(f"link set dev {name} up")

    def cut(self, name: str) -> None:
        """Let nothing through from now on, either way; the node's carrier stays."""
        self.switch.run("bridge", "link", "set", "dev", name, "state", "0")

    def mend(self, name: str) -> None:
        """Let everything through again."""
        self.switch.run("bridge", "link", "set", "dev", name, "state", "3")

    def connect(self, node: Node) -> None:
        """Give a node its device, with its addresses, and plug it in."""
        veth(node.net, DEVICE, self.switch, node.name)
        self.switch.ip(f"link set dev {node.name} master br0 up")
        node.net.ip(f"addr add {node.address}/24 dev {DEVICE}")
        node.net.ip(f"addr add {node.address6}/64 dev {DEVICE} nodad")
        node.net.ip(f"link set dev {DEVICE} up")

    def holders(self, address: str = VIP) -> set[str]:
        """Which nodes have this address now."""
        return {name for name, node in self.nodes.items() if node.holds(address)}


@contextmanager
def lab(names: Sequence[str] = ("a", "b")) -> Iterator[Lab]:
    """The client is .10, the nodes are .1, .2 and so on, of 10.99.0.0/24 and fd99::/64; what runs there is killed."""
    with ExitStack() as stack:
        switch = stack.enter_context(namespace())
        bridge(switch)
        hosts = {"client": 10} | {name: number for number, name in enumerate(names, 1)}
        made = {}
        for name, number in hosts.items():
            net = stack.enter_context(namespace())
            made[name] = Node(name, net, f"10.99.0.{number}", f"fd99::{number:x}")
            stack.callback(kill_all, net)
        client = made.pop("client")
        found = Lab(switch, client, made)
        for node in (client, *made.values()):
            found.connect(node)
        yield found


def kill_all(net: Namespace) -> None:
    """Kill every process of a namespace; nobody restarts another then, for all die at once or are looked for again."""
    while pids := net.pids():
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
        nodes = [f"{name}={node.net.path}" for name, node in lab.nodes.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-Es", program, lab.client.net.path, address, str(interval_s), *nodes],
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
