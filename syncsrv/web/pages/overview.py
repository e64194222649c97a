"""The overview: how the nodes stand to each other, in one sentence and then row by row."""

from __future__ import annotations

from flask import Blueprint, current_app, render_template

from syncsrv.clock import rfc3339
from syncsrv.control.shapes import Status
from syncsrv.control.shapes_history import LogEntry, LogRequest
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.plan.words import listed
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.views import failover, holders, latest, line, nodes, verdict

blueprint = Blueprint("overview", __name__)

READ = 60
"""Commits of the master that the overview looks at."""

SHOWN = 8
"""Waiting commits that it lists."""


@blueprint.get("/")
@needs("viewer")
def overview() -> str:
    """The first page: what an operator at two in the morning must know."""
    status = access.status()
    at = access.clock().utc()
    now = rfc3339(at)
    power = access.current().role
    failing = holders.standing(status, at)
    entries = _history(status)
    waiting = _waiting(entries) if status.role == verdict.MASTER else ()
    return render_template(
        "overview.html",
        status=status,
        answer=holders.lead(verdict.answer(status, power), failing, status, power),
        failing=failing,
        pairs=failover.beside(nodes.pairs(status, now), failover.outlooks(status, now)),
        points=line.line(status, entries),
        words=failover.WORDS,
        waiting=waiting[:SHOWN],
        lacking=[(name, listed(one.lacks)) for name, one in status.peers.items() if one.lacks and one.reachable],
        more=max(0, len(waiting) - SHOWN),
        events=latest.latest(status.jobs, entries[:SHOWN]),
        lone=nodes.own(status, now) if not status.peers else None,
    )


def _history(status: Status) -> tuple[LogEntry, ...]:
    """The master's, as far as this node knows it: none where it was never fetched."""
    master = verdict.master_of(status)
    if status.role != verdict.MASTER and not master:
        return ()
    asked = LogRequest(limit=READ, node="" if status.role == verdict.MASTER else master)
    try:
        found: tuple[LogEntry, ...] = access.ask("log", asked).commits
    except UsageError as error:
        current_app.logger.debug("no history of %s: %s", master, error)
        return ()
    except SyncsrvError as error:
        if error.exit_status != 3:
            raise
        return ()
    return found


def _waiting(entries: tuple[LogEntry, ...]) -> tuple[LogEntry, ...]:
    """Those since the last tag."""
    last = next((at for at, entry in enumerate(entries) if entry.tags), len(entries))
    return entries[:last]
