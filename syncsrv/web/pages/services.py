"""The services of both nodes: how they are, and start, stop, restart, reload. They never move configuration."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from syncsrv.clock import rfc3339
from syncsrv.control.shapes import JobReply, JobRequest, JobStarted, Status
from syncsrv.control.shapes_services import ServicesReply, ServicesRequest
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.views import services as views

blueprint = Blueprint("services", __name__)

JOBS_READ = 12
"""Jobs that are looked at for what came of the last action."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked to be asked: an action, a service (empty for all) and a node."""

    action: str
    name: str
    node: str

    @property
    def says(self) -> str:
        """The action with its object, as its button has it."""
        if self.action == "restart-all":
            return f"Restart all services on {self.node}"
        return f"{self.action.capitalize()} {self.name} on {self.node}"


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a service's log, read when the page was made; ``why`` where it was not."""

    name: str
    node: str
    text: str
    why: str = ""


@blueprint.get("/services")
@needs("viewer")
def services() -> str:
    """Both nodes side by side; ``?ask=ACTION:SERVICE:NODE`` unfolds the question, ``?log=SERVICE:NODE`` the log."""
    status = access.status()
    return render_template(
        "services.html",
        status=status,
        heading=views.heading(status),
        boards=views.boards(status, views.outcomes(_jobs(status)), rfc3339(access.clock().utc())),
        asked=_question(status, request.args.get("ask", "")),
        log=None if access.polls() else _log(status, request.args.get("log", "")),
        will=views.WILL,
        running=[job for job in status.jobs if job.state == "running"],
    )


@blueprint.post("/services")
@needs("operator")
def act() -> Response:
    """Let core do it, as a job; the page that follows shows its steps."""
    action = request.form.get("action", "")
    names = tuple(name for name in request.form.getlist("name") if name)
    if action not in views.WILL:
        raise UsageError("cannot do this with a service: no such action", f"it is one of {', '.join(views.WILL)}")
    started: JobStarted = access.ask("act", ServicesRequest(request.form.get("node", ""), action, names))
    return redirect(f"/jobs/{started.job}", 303)


def _jobs(status: Status) -> list[tuple[str, JobReply]]:
    """The newest jobs with their steps: kept in core's memory, so this asks no disk and no peer."""
    found = []
    for job in [job for job in status.jobs if job.state != "running"][:JOBS_READ]:
        with contextlib.suppress(UsageError):  # core was restarted since: it remembers none from before
            found.append((job.at, access.ask("job", JobRequest(job.job))))
    return found


def _log(status: Status, text: str) -> Log | None:
    """The log that was asked for; a poll never reads one, for the page keeps what it has."""
    name, _, node = text.rpartition(":")
    if not _has(status, name, node):
        return None
    try:
        reply: ServicesReply = access.ask("services", ServicesRequest(node, "log", (name,)))
    except SyncsrvError as error:
        return Log(name, node, "", error.message)
    return Log(name, node, next((one.log for one in reply.services if one.name == name), ""))


def _has(status: Status, name: str, node: str) -> bool:
    known = status.services if node == status.node else getattr(status.peers.get(node), "services", ())
    return any(one.name == name for one in known)


def _question(status: Status, text: str) -> Question | None:
    """A question that makes sense now, else none."""
    action, _, rest = text.partition(":")
    name, _, node = rest.rpartition(":")
    if action not in views.WILL or node not in {status.node, *status.peers}:
        return None
    if action == "restart-all":
        return Question(action, "", node)
    return Question(action, name, node) if _has(status, name, node) else None
