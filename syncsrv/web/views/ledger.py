"""The demotions as a ledger: a line for each reason that was looked at, zeros too, and a column for each node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncsrv.control.shapes_failover import UNREPORTED
from syncsrv.failover.orders import RESERVED
from syncsrv.plan.words import listed
from syncsrv.web.views.members import Member

KINDS: dict[str, tuple[str, str]] = {
    "link": ("link", "a network device without a link, or without an address of its own"),
    "send-errors": ("send errors", "advertisements that the kernel did not take"),
    "addresses": ("addresses", "virtual addresses that the kernel did not take"),
    "service": ("service health", "a service that has to run on whoever serves"),
    "unproven": ("unproven sync", "a synchronization that is not over, or was not confirmed"),
    "not-ready": ("not ready", "after a start, until services are well"),
    "maintenance": ("maintenance", "ordered by an operator"),
    "switchover": ("switchover", "the addresses were given away on request, until it is MASTER again"),
}
"""Reason, up to its first colon, to what it is called and what it is; each is always looked at."""

MORE: dict[str, tuple[str, str]] = {
    "orders-unreadable": ("orders", "what operators ordered earlier cannot be read"),
    "diverged": ("diverged", "changed on both nodes since they were the same"),
    "split-brain": ("split brain", "several nodes were MASTER"),
    "state-sync": ("state table", "the connections of the other node are not all here, or none come"),
}
"""Reasons that are shown where they count; that of the state table also where there is one."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a reason weighs on a node; ``text`` is ``?`` where it is not known; ``lost``: only last known."""

    node: str
    text: str
    lost: bool
    heavy: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One reason; ``own``: an operator gave it, under this name."""

    label: str
    note: str
    amounts: tuple[Amount, ...]
    own: str = ""


def ledger(nodes: Sequence[Member]) -> tuple[Entry, ...]:
    """Every reason, and the total last."""
    seen = dict.fromkeys(name for node in nodes for name in node.demotion.reasons if name != UNREPORTED)
    entries = [_entry(kind, *KINDS[kind], nodes) for kind in KINDS]
    looked_at = {*seen, *(("state-sync",) if any(node.state_sync.engine != "none" for node in nodes) else ())}
    entries += [_entry(kind, *MORE[kind], nodes) for kind in MORE if kind in looked_at]
    entries += [
        Entry(name, "given by an operator", tuple(_amount(node, [name]) for node in nodes), name)
        for name in seen
        if is_own(name)
    ]
    others = [name for name in seen if ":" in name and name.partition(":")[0] not in KINDS]
    entries += [Entry(name, "", tuple(_amount(node, [name]) for node in nodes)) for name in others]
    entries.append(Entry("Total", "", tuple(_total(node) for node in nodes)))
    return tuple(entries)


def is_own(name: str) -> bool:
    """Whether a reason is one that an operator gave, and can take."""
    return ":" not in name and name not in RESERVED


def own_reasons(node: Member) -> tuple[str, ...]:
    """Those of a node."""
    return tuple(name for name, weight in node.demotion.reasons.items() if weight and is_own(name))


def _entry(kind: str, label: str, note: str, nodes: Sequence[Member]) -> Entry:
    amounts = []
    about = []
    for node in nodes:
        names = [name for name in node.demotion.reasons if name.partition(":")[0] == kind]
        amounts.append(_amount(node, names))
        detail = [name.partition(":")[2] for name in names if ":" in name and node.demotion.reasons[name]]
        about += [f"{listed(detail)} on {node.name}"] if detail else []
    if kind == "link" and not about:
        note = _links(nodes) or note
    return Entry(label, "; ".join(about) or note, tuple(amounts))


def _links(nodes: Sequence[Member]) -> str:
    """``eth0, eth1 up on fw1 and fw2``, of those whose devices are known."""
    up: dict[str, list[str]] = {}
    for node in nodes:
        if node.told and node.failover.devices:
            up.setdefault(listed(one.device for one in node.failover.devices if one.up), []).append(node.name)
    return "; ".join(f"{devices} up on {' and '.join(names)}" for devices, names in up.items() if devices)


def _amount(node: Member, names: Iterable[str]) -> Amount:
    weight = sum(node.demotion.reasons.get(name, 0) for name in names)
    return _said(node, weight)


def _total(node: Member) -> Amount:
    return _said(node, node.demotion.total)


def _said(node: Member, weight: int) -> Amount:
    """What is ordered is known also of a node whose carp process is silent; that nothing else demotes it is not."""
    known = node.seen_at is not None and node.failover.configured and (node.demotion.known or weight > 0)
    return Amount(node.name, str(weight) if known else "?", node.lost, known and weight > 0)
