"""If we failed over now: what a backup would serve, from what is known. Pure; what is not known is said to be so."""

from __future__ import annotations

from dataclasses import dataclass

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan.words import counted, listed
from syncsrv.web.views import vipfacts, well
from syncsrv.web.views.cells import Fact
from syncsrv.web.views.nodes import Column, Pair, own, peer
from syncsrv.web.views.place import place
from syncsrv.web.views.verdict import MASTER, brief, master_of, sentence, silent_master, word


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would happen if this node had to take over: the sum, and what it is made of."""

    node: str
    kind: str
    icon: str
    sum: str
    facts: tuple[Fact, ...]


ORDER = ("bad", "warn", "off", "todo", "ok")
ICONS = {"bad": "bad", "warn": "warn", "off": "unknown", "todo": "up", "ok": "ok"}
WORDS = {"bad": "Wrong", "warn": "Attention", "off": "Not known", "todo": "Waiting", "ok": "Good"}


LAST = {"failed": "failed and changed nothing", "rolled_back": "was rolled back"}
"""State words that are about the last attempt, not about what is there now."""


def outlooks(status: Status, now: str) -> tuple[Outlook, ...]:
    """One for each node that would have to take over, as far as this one knows it; on a backup for itself."""
    return tuple(outlook_of(status, name, now) for name in _behind(status, now))


def _behind(status: Status, now: str) -> list[str]:
    """The nodes that would have to take over: those behind whoever serves, else those behind the master."""
    serving = vipfacts.serving(status, now)
    backups = [name for name, one in status.peers.items() if one.role != MASTER]
    if status.role != MASTER and status.peers:
        return [master_of(status) or status.node] if status.node in serving else [status.node]
    if serving and status.node not in serving:
        return [status.node, *(name for name in backups if name not in serving)]
    return backups


def outlook_of(status: Status, name: str, now: str) -> Outlook:
    """What this node or a peer would serve if it took over, whatever its role."""
    one = own(status, now) if name == status.node else peer(name, status.peers[name], status)
    return _outlook(one, status, now)


def beside(pairs: tuple[Pair, ...], found: tuple[Outlook, ...]) -> tuple[tuple[Pair, tuple[Outlook, ...]], ...]:
    """Each pair of nodes with the outlook of one of them; each outlook stands beside one pair only."""
    left = list(found)
    placed = []
    for pair in pairs:
        here = tuple(one for one in left if one.node in {pair.left.name, pair.right.name})
        left = [one for one in left if one not in here]
        placed.append((pair, here))
    return tuple(placed)


def _outlook(one: Column, status: Status, now: str) -> Outlook:
    vips = list(vipfacts.facts(status, one.name, now))
    if one.lost:
        claim = f"{one.name} does not answer" if one.seen_at else f"{one.name} was not heard since this node started"
        facts = [Fact("off", "broken", claim, sentence(one.reason))]
        if one.applied_tag:
            facts.append(Fact("off", "unknown", f"It had {one.applied_tag}", "As last known."))
        facts += [fact for fact in vips if fact.kind == "bad"]
        return Outlook(
            one.name, "bad", "broken", f"Do not count on {one.name}: what it runs is not known.", tuple(facts)
        )
    facts = [*vips, _configuration(one, status), *_services(one, status), *_version(one, status)]
    facts.sort(key=lambda fact: ORDER.index(fact.kind))
    kind = next((fact.kind for fact in facts if fact.icon != "later"), "off")
    return Outlook(one.name, kind, ICONS[kind], _sum(one, facts), tuple(facts))


def _configuration(one: Column, status: Status) -> Fact:
    """What its files are, whatever the state word is about."""
    if one.role == MASTER:
        return Fact("ok", "ok", f"{one.name} would run its own files", "Changes are made there.")
    reason = brief(one.reason)
    if not one.applied_tag:
        kind = "warn" if one.state == "syncing" else "bad"
        return Fact(kind, ICONS[kind], f"{one.name} has nothing from its master", reason)
    has = f"{one.name} would run {place(one.applied_tag, one.areas, one.lacks).partly or one.applied_tag}"
    lacks = f"It lacks {counted(one.behind, 'change')}. " if one.behind else ""
    if one.state == "in_sync":
        silent = silent_master(status)
        if silent is not None:
            return Fact("off", "unknown", has, "Whether its master has anything newer is not known.")
        return Fact("ok", "ok", f"{one.name} would run what {master_of(status)} runs", f"Equal to {one.applied_tag}.")
    if one.state == "changes_pending":
        return Fact("todo", "up", has, lacks.rstrip() or reason)
    if one.state == "syncing":
        return Fact("warn", "running", f"{one.name} is being changed right now", reason)
    if one.drift:
        differ = f"{len(one.drift)} {'differs' if len(one.drift) == 1 else 'differ'} from {one.applied_tag}"
        kind = "bad" if one.state in {"diverged", "blocked"} else "warn"
        return Fact(kind, ICONS[kind], f"{one.name} would run its own files: {differ}", lacks + reason)
    if one.state in LAST:
        good = ", its known-good files" if one.known_good else ""
        return Fact("warn", "warn", has + good, f"{lacks}The last synchronization {LAST[one.state]}: {reason}")
    kind = "bad" if one.state in {"diverged", "blocked"} else "warn"
    return Fact(kind, ICONS[kind], f"{has}; it is {word(one.state)}", lacks + reason)


def _services(one: Column, status: Status) -> list[Fact]:
    if not one.services:
        return [Fact("off", "unknown", f"No services of {one.name} are known", "None is configured in cluster.yaml.")]
    master = master_of(status)
    leading = status.services if master == status.node else status.peers[master].services if master else ()
    running = {s.name for s in leading if s.state == "running"}
    ill = well.unwell(one.services)
    found = [_ill(one, service, running, master) for service in ill]
    found += [
        Fact(
            "warn", "again", f"{s.name} would serve an old configuration", sentence(s.pending_why or "restart pending")
        )
        for s in well.stale(one.services)
        if s not in ill
    ]
    set_so = [s.name for s in one.services if well.as_set(s)]
    if set_so:
        evidence = "Not on every node is it meant to run: its `run_on` says so."
        found.append(Fact("off", "later", f"Stopped on {one.name}, as set: {listed(set_so)}", evidence))
    runs = [s for s in one.services if s not in ill and s.name not in set_so]
    if runs and len(runs) == len(one.services) and not found:
        number = "Its service runs" if len(one.services) == 1 else f"All {len(one.services)} services run"
        found.append(Fact("ok", "ok", number, listed(s.name for s in one.services) + "."))
    return found


def _ill(one: Column, service: ServiceInfo, running: set[str], master: str) -> Fact:
    if service.state not in well.IDLE:
        return Fact(
            "bad", "bad", f"{service.name} would not serve", sentence(service.reason or f"it is {service.state}")
        )
    where = f"on {master} it runs" if service.name in running else "nor does it run on the other node"
    where = "whether it runs elsewhere is not looked at" if one.name == master else where
    return Fact("warn", "pause", f"{service.name} is {service.state} on {one.name}", sentence(service.reason or where))


def _version(one: Column, status: Status) -> list[Fact]:
    master = master_of(status)
    theirs = status.version if master == status.node else status.peers[master].version if master else None
    if theirs is None or one.version is None or theirs == one.version:
        return []
    claim = f"{one.name} runs syncsrv {one.version}, {master} {theirs}"
    return [Fact("warn", "warn", claim, "Install the same version on both.")]


def _sum(one: Column, facts: list[Fact]) -> str:
    bad = [fact for fact in facts if fact.kind in {"bad", "warn"}]
    if bad:
        return f"{one.name}: {bad[0].claim}." if one.name not in bad[0].claim else f"{bad[0].claim}."
    if any(fact.kind == "todo" for fact in facts):
        missing = counted(one.behind, "change") + " short" if one.behind else "without the newest change"
        return f"{one.name} would serve, {missing}."
    if any(fact.kind == "off" and fact.icon != "later" for fact in facts):
        return f"{one.name} would serve, as far as it is known."
    return f"{one.name} would serve the same configuration."
