"""The services of the nodes side by side, with what can be asked of each and what came of it last. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncsrv.control.shapes import JobReply, Status
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan.words import counted, sized
from syncsrv.web.views import well

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "running": ("restart", "reload", "stop"),
    "starting": ("restart", "stop"),
    "failed": ("start", "restart"),
    "stopped": ("start",),
    "unknown": ("restart", "start", "stop"),
}
"""State of a service to what may be asked of it, the usual one first."""

HEADED = 3
"""Troubles that the heading says."""

WILL: Mapping[str, tuple[str, ...]] = {
    "start": ("Start it with its files as they are", "Read back: it runs, and its health check is content"),
    "stop": ("Stop it; it serves nothing until somebody starts it", "Read back: it does not run"),
    "restart": (
        "Stop it and start it with its files as they are; it serves nothing in between",
        "Read back: it runs, and its health check is content",
    ),
    "reload": ("Tell it to read its files again; it goes on serving", "Read back: its health check is content"),
    "restart-all": (
        "Restart, in the order of `after:`, each service that runs or has failed",
        "List what is stopped, masked or runs elsewhere as skipped, with the reason",
        "Read back each one before the next",
    ),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the last action on a service: which, how it ended, in which job, when."""

    action: str
    result: str
    said: str
    job: str
    at: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A service on one node; ``actions`` is empty where nothing can be asked, ``why`` says why.

    ``facts``: its process, memory, restarts, and whether it starts at boot, as far as they are known.
    """

    service: ServiceInfo
    facts: tuple[str, ...]
    actions: tuple[str, ...]
    why: str
    last: Outcome | None


@dataclass(frozen=True, slots=True)
class Host:
    """One node: ``lost`` where what is shown is only last known."""

    name: str
    role: str
    here: bool
    lost: bool
    seen_at: str | None
    readings: Mapping[str, Reading]


@dataclass(frozen=True, slots=True)
class Board:
    """Up to two nodes side by side, with the names of all services of either."""

    hosts: tuple[Host, ...]
    names: tuple[str, ...]

    def logs_of(self, name: str) -> list[tuple[str, str]]:
        """The ends of the logs of a service that came along since it failed: on which node, and what it said."""
        found = [(host.name, host.readings[name].service.log) for host in self.hosts if name in host.readings]
        return [(host, log) for host, log in found if log]


def boards(status: Status, outcomes: Mapping[tuple[str, str], Outcome], now: str) -> tuple[Board, ...]:
    """This node and its peers, two by two.

    Args:
        status: this node's.
        outcomes: node and service to what came of the last action.
        now: when the status was read.
    """
    hosts = [_host(status.node, status.role, True, False, now, status.services, outcomes)]
    hosts += [
        _host(name, one.role or "", False, not one.reachable, one.seen_at, one.services, outcomes)
        for name, one in status.peers.items()
    ]
    hosts.sort(key=lambda host: host.role != "master")
    return tuple(_board(tuple(hosts[at : at + 2])) for at in range(0, len(hosts), 2))


def outcomes(jobs: Sequence[tuple[str, JobReply]]) -> Mapping[tuple[str, str], Outcome]:
    """What jobs did to services: those of a person and those of a sync.

    Args:
        jobs: when each was asked for, and the job; the newest first.
    """
    found: dict[tuple[str, str], Outcome] = {}
    for at, job in jobs:
        for node, step in reversed(job.steps):
            action, _, name = step.name.partition(" ")
            if action in WILL and name and step.result != "running":
                found.setdefault((node, name), Outcome(action, step.result, step.output, job.job, at))
    return found


def facts(one: ServiceInfo) -> tuple[str, ...]:
    """What is known of a service beside its state, a few words each."""
    known = [f"pid {one.pid}" if one.pid else ""]
    if one.memory is not None:
        known.append(sized(one.memory) + (" in its main process" if one.memory_of == "process" else ""))
    if one.restarts and one.state == "running":  # of one that failed its reason says it
        known.append(f"started again {counted(one.restarts, 'time')} by itself")
    known.append(one.enabled or "")
    return tuple(fact for fact in known if fact)


def _board(hosts: tuple[Host, ...]) -> Board:
    names: dict[str, None] = {}
    for host in hosts:
        names.update(dict.fromkeys(host.readings))
    return Board(hosts, tuple(names))


def _host(
    name: str,
    role: str,
    here: bool,
    lost: bool,
    seen_at: str | None,
    services: tuple[ServiceInfo, ...],
    results: Mapping[tuple[str, str], Outcome],
) -> Host:
    readings = {}
    for one in services:
        actions = () if lost else ACTIONS.get(one.state, ())
        why = f"{name} does not answer" if lost else "" if actions else one.reason or f"it is {one.state}"
        readings[one.name] = Reading(one, facts(one), actions, why, results.get((name, one.name)))
    return Host(name, role, here, lost, seen_at, readings)


def heading(status: Status) -> tuple[str, bool]:
    """The page's sentence, what is not well first; and whether anything is not."""
    ill = well.everywhere(status)
    silent = [name for name, one in status.peers.items() if not one.reachable]
    if ill:
        said = "; ".join(one.sentence for one in ill[:HEADED])
        more = sum(len(one.names) for one in ill[HEADED:])
        return f"{said}{f'; and {more} more' if more else ''}.", True
    if not status.services and not any(one.services for one in status.peers.values()):
        return "No service is configured.", False
    where = f" on {status.node}" if silent else ""
    return f"Every service{where} is as it should be, with its newest files.", False
