"""Two nodes of one vhid in a lab, each with the real process carp, and what a test wants to know of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.lab import VIP, Lab, lab
from tests.support.speakers import Group, Ours, end
from tests.support.wait import until

QUICK = Group(advbase=0)
"""Only for nodes of ours: an advert each 0.1 s, so that a MASTER is missed after 0.3 s."""

QUICK_SKEWS = {"a": 25, "b": 26}
PLAIN = Group()
"""As any implementation of CARP has it: an advert each second."""

PLAIN_SKEWS = {"a": 0, "b": 100}


@dataclass(slots=True)
class Duo:
    """The two; ``a`` is the better one."""

    lab: Lab
    home: Path
    group: Group
    skews: Mapping[str, int]
    nodes: dict[str, Ours] = field(default_factory=dict)

    @property
    def a(self) -> Ours:
        return self.nodes["a"]

    @property
    def b(self) -> Ours:
        return self.nodes["b"]

    def start(self, name: str, *, prefix: Sequence[str] = (), **changed: object) -> Ours:
        """Start a node's process, with some of the group as it alone has it; again, where it has ended."""
        if name in self.nodes:
            self.nodes[name].process.wait(5)
        home = self.home / name
        peers = self.lab.sources() if self.group.advbase == 0 else {}
        settings = replace(self.group, own_peers=peers, **changed).settings(name, home / "run", self.skews[name])  # type: ignore[arg-type]  # any field of Group
        self.nodes[name] = Ours(self.lab[name].path, home, settings, prefix=prefix)
        return self.nodes[name]

    def settle(self, address: str = VIP) -> None:
        """Until both are what they are in peace."""
        self.are(a="MASTER", b="BACKUP")
        until(lambda: self.b.vip().master_advskew == self.skews["a"], what="b hears a")
        self.holds("a", address=address)

    def are(self, deadline_s: float = 10, **states: str) -> None:
        """Wait until these nodes have these states."""
        try:
            until(lambda: {name: self.nodes[name].state() for name in states} == states, deadline_s, f"{states}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from error

    def holds(self, *names: str, address: str = VIP, deadline_s: float = 10) -> None:
        """Wait until exactly these nodes have the address."""
        try:
            until(lambda: self.lab.holders(address) == set(names), deadline_s, f"{address} on {names}")
        except AssertionError as error:
            raise AssertionError(f"{error}: it is on {self.lab.holders(address)}\n{self.said()}") from error

    def said(self) -> str:
        """All that both wrote."""
        return "".join(f"--- {name} ---\n{one.said()}" for name, one in self.nodes.items())

    def adverts(self, count: int) -> None:
        """Wait until ``a`` has sent so many more adverts: the test's clock, where nothing is to happen."""
        wanted = self.a.report().devices[0].sent + count
        until(lambda: self.a.report().devices[0].sent >= wanted, 20, f"{count} adverts")


@contextmanager
def two_nodes(
    home: Path, group: Group = QUICK, skews: Mapping[str, int] = QUICK_SKEWS, names: tuple[str, ...] = ("a", "b")
) -> Iterator[Duo]:
    """The lab, with nothing started."""
    with lab(names) as found:
        duo = Duo(found, home, group, skews)
        try:
            yield duo
        finally:
            for one in duo.nodes.values():
                end(one.process)


@contextmanager
def settled(
    home: Path,
    group: Group = QUICK,
    skews: Mapping[str, int] = QUICK_SKEWS,
    names: tuple[str, ...] = ("a", "b"),
    address: str = VIP,
) -> Iterator[Duo]:
    """Both started: ``a`` is MASTER, ``b`` hears it."""
    with two_nodes(home, group, skews, names) as duo:
        duo.start("a")
        duo.are(a="MASTER")
        duo.start("b")
        duo.settle(address)
        yield duo


def says(ours: Ours, pattern: str, deadline_s: float = 10) -> str:
    """Wait until a line of its log matches; that line."""

    def line() -> str:
        return next((one for one in ours.said().splitlines() if re.search(pattern, one)), "")

    try:
        return until(line, deadline_s, f"a line like {pattern!r}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{ours.said()}") from error


def drops(ours: Ours) -> Mapping[str, int]:
    """What its first device received and did not use."""
    return ours.report().devices[0].drops
