"""What Prometheus is told of failover. Nothing is 0 that is not known to be.

A node that does not answer, or whose carp process does not, has one sample of ``syncsrv_carp_state``, that of UNKNOWN,
and no counters and no demotion. So `sum by (vhid, interface) (syncsrv_carp_state{state="MASTER"}) == 0` is true only
where every node that is counted says that it is not MASTER; beside it, alert on
``syncsrv_carp_state{state="UNKNOWN"} == 1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import UNKNOWN, Demotion, FailoverInfo, VipInfo

STATES = ("INIT", "BACKUP", "MASTER")

Samples = dict[tuple[str, ...], float]


Metric = TypeVar("Metric", covariant=True)


class Family(Protocol[Metric]):
    """Makes a metric: its name, what it is about, the samples by their labels, and the labels' names."""

    def __call__(
        self, name: str, about: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()
    ) -> Metric: ...


@dataclass(frozen=True, slots=True)
class _Node:
    """What a node said of failover; ``told``: it holds now."""

    told: bool
    vips: tuple[VipInfo, ...]
    demotion: Demotion
    failover: FailoverInfo
    age_s: float | None


def families(status: Status, gauge: Family[Metric], counter: Family[Metric]) -> Iterator[Metric]:
    """All of it, of this node and of each peer that has virtual addresses."""
    nodes = {name: node for name, node in _nodes(status).items() if node.failover.configured or node.vips}
    told = {name: node for name, node in nodes.items() if node.told}
    vip = ("node", "vhid", "interface")

    yield gauge("maintenance", "Whether this node is in maintenance.", {(): float(status.maintenance)})
    yield gauge("carp_running", "Whether a node's carp process answers.", _running(status, nodes), ("node",))
    ages: Samples = {(name,): node.age_s for name, node in nodes.items() if node.age_s is not None}
    yield gauge("carp_reading_age_seconds", "Seconds since a node's carp process was heard.", ages, ("node",))
    yield gauge("carp_state", "1 for the CARP state of a VIP, and for UNKNOWN.", _states(nodes), (*vip, "state"))
    masters = {key: float(one.state == "MASTER") for key, one in _vips(told).items()}
    yield gauge("vip_master", "Whether a node is MASTER of a virtual address.", masters, vip)
    yield counter("carp_transitions", "Changes of CARP state since its process started.", _transitions(told), vip)
    yield counter("carp_adverts_sent", "Advertisements sent.", _counted(told, "sent"), vip)
    yield counter(
        "carp_adverts_accepted", "Advertisements of others that were believed.", _counted(told, "accepted"), vip
    )

    known = {name: node.demotion for name, node in told.items() if node.demotion.known}
    totals: Samples = {(name,): one.total for name, one in known.items()}
    yield gauge("demotion", "How far a node has lowered its own rank.", totals, ("node",))
    reasons: Samples = {(name, why): weight for name, one in known.items() for why, weight in one.reasons.items()}
    yield gauge("carp_demotion", "The same by reason.", reasons, ("node", "reason"))

    yield from _devices(told, gauge, counter)


def _nodes(status: Status) -> dict[str, _Node]:
    own = status.failover
    nodes = {status.node: _Node(own.running, status.vips, status.demotion, own, own.age_s)}
    for name, one in status.peers.items():
        nodes[name] = _Node(
            one.reachable and one.age_s is not None and one.failover.running,
            one.vips,
            one.demotion,
            one.failover,
            one.failover.age_s,
        )
    return nodes


def _running(status: Status, nodes: Mapping[str, _Node]) -> Samples:
    """Of a node that does not answer it is not known."""
    silent = {name for name, one in status.peers.items() if not one.reachable}
    return {(name,): float(node.told) for name, node in nodes.items() if name not in silent}


def _vips(nodes: Mapping[str, _Node]) -> dict[tuple[str, ...], VipInfo]:
    return {
        (name, str(one.vhid), one.interface): one
        for name, node in nodes.items()
        for one in node.vips
        if not (node.told and one.state == UNKNOWN)
    }


def _states(nodes: Mapping[str, _Node]) -> Samples:
    found: Samples = {}
    for name, node in nodes.items():
        for one in node.vips:
            key = (name, str(one.vhid), one.interface)
            unknown = not node.told or one.state == UNKNOWN
            found[*key, UNKNOWN] = float(unknown)
            if not unknown:
                found |= {(*key, state): float(state == one.state) for state in STATES}
    return found


def _transitions(told: Mapping[str, _Node]) -> Samples:
    return {key: one.transitions for key, one in _vips(told).items()}


def _counted(told: Mapping[str, _Node], name: str) -> Samples:
    return {key: one.counters[name] for key, one in _vips(told).items() if name in one.counters}


def _devices(told: Mapping[str, _Node], gauge: Family[Metric], counter: Family[Metric]) -> Iterator[Metric]:
    labels = ("node", "device")
    found = {(name, one.device): one for name, node in told.items() for one in node.failover.devices}
    up: Samples = {key: float(one.up) for key, one in found.items()}
    yield gauge("carp_link_up", "Whether a network device has a link.", up, labels)
    received: Samples = {key: one.received for key, one in found.items()}
    yield counter("carp_packets_received", "CARP packets that came in.", received, labels)
    drops: Samples = {(*key, why): number for key, one in found.items() for why, number in one.drops.items()}
    yield counter("carp_packets_dropped", "Those that were not believed, by reason.", drops, (*labels, "reason"))
    errors: Samples = {key: one.send_errors for key, one in found.items()}
    yield counter("carp_send_errors", "Advertisements that the kernel did not take.", errors, labels)
