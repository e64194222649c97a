"""Which services of a node are not as they should be, in words that fit into a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan.words import listed

MASTER = "master"
ALWAYS = "always"
IDLE = ("stopped", "masked")

ORDER = ("bad", "warn")

_SAYS: Mapping[str, tuple[str, str]] = {
    "failed": ("has failed on {node}", "have failed on {node}"),
    "missing": ("is missing on {node}", "are missing on {node}"),
    "failing": ("is not healthy on {node}", "are not healthy on {node}"),
    "unknown": ("cannot be read on {node}", "cannot be read on {node}"),
    "stopped": ("is stopped on {node}", "are stopped on {node}"),
    "masked": ("is masked on {node}", "are masked on {node}"),
    "pending": ("on {node} must be restarted to load its files", "on {node} must be restarted to load their files"),
}
"""What is wrong with one, and with several; the worst first."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Services of one node that lack the same.

    Attributes:
        kind: bad or warn.
        names: of the services.
        says: what is wrong and where, after the names.
        old: they serve, only with older files.
    """

    kind: str
    names: tuple[str, ...]
    says: str
    old: bool = False

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return f"{listed(self.names)} {self.says}"


def word(one: ServiceInfo) -> str:
    """What is wrong with a service; empty where it is as it should be."""
    if one.state in {"failed", "missing"}:
        return one.state
    if one.health == "failing":
        return "failing"
    if one.state in IDLE:
        return one.state if one.run_on == ALWAYS else ""
    if one.state == "unknown":
        return one.state
    return "pending" if one.restart_pending else ""


def as_set(one: ServiceInfo) -> bool:
    """Whether it does not run, and is not meant to run always."""
    return one.state in IDLE and one.run_on != ALWAYS


def unwell(services: tuple[ServiceInfo, ...]) -> tuple[ServiceInfo, ...]:
    """Services that should run, and do not or not well."""
    return tuple(one for one in services if word(one) not in {"", "pending"})


def stale(services: tuple[ServiceInfo, ...]) -> tuple[ServiceInfo, ...]:
    """Services that run with an older configuration than their files."""
    return tuple(one for one in services if one.restart_pending)


def troubles(node: str, role: str, services: tuple[ServiceInfo, ...]) -> tuple[Trouble, ...]:
    """What is wrong on one node, the worst first."""
    found = []
    for what, (one, several) in _SAYS.items():
        names = tuple(service.name for service in services if word(service) == what)
        if names:
            bad = role == MASTER if what in IDLE else what != "pending"
            says = (several if len(names) > 1 else one).format(node=node)
            found.append(Trouble("bad" if bad else "warn", names, says, what == "pending"))
    return tuple(sorted(found, key=lambda trouble: ORDER.index(trouble.kind)))


def everywhere(status: Status) -> tuple[Trouble, ...]:
    """What is wrong on this node and on every peer that answers: the worst first, the master's before others'."""
    nodes = [(status.node, status.role, status.services)]
    nodes += [(name, one.role or "", one.services) for name, one in status.peers.items() if one.reachable]
    nodes.sort(key=lambda node: node[1] != MASTER)
    found = [trouble for node in nodes for trouble in troubles(*node)]
    return tuple(sorted(found, key=lambda trouble: ORDER.index(trouble.kind)))
