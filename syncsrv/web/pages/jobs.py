"""Jobs: what runs and what ran, each with its steps as they happen, what came of it, and how to stop it."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from syncsrv.control.shapes import JobReply, JobRequest
from syncsrv.control.shapes_history import LogRequest, ShowReply, ShowRequest, Slice
from syncsrv.control.shapes_page import AuditReply, AuditRequest
from syncsrv.errors import SyncsrvError
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.views import jobs as views
from syncsrv.web.views.times import moment

blueprint = Blueprint("jobs", __name__)

RECEIPTS = 50
"""On one page of the list."""


@blueprint.get("/jobs")
@needs("viewer")
def jobs() -> str:
    """All jobs: those that run, then by age; ``?before=RECEIPT`` goes on further back."""
    before = request.args.get("before") or None
    status = access.status()
    trail: AuditReply = access.ask("audit", AuditRequest(limit=RECEIPTS, before=before))
    lines = views.lines(() if before else status.jobs, trail.receipts, status.node)
    return render_template("jobs.html", lines=lines, trail=trail, before=before, node=status.node)


@blueprint.get("/jobs/<job>")
@needs("viewer")
def one(job: str) -> str:
    """One job, live while it runs."""
    reply: JobReply = access.ask("job", JobRequest(job))
    status = access.status()
    brought = views.brought(reply, status)
    known: tuple[str, ...] = access.ask("log", LogRequest(limit=1)).areas if brought else ()
    view = views.view(reply, status.node, brought, known)
    return render_template(
        "job.html",
        job=reply,
        view=view,
        took_s=_took_s(reply),
        tagged=_tagged(reply.tag) if not view.running else "",
        again={node.node: _again(node, reply) for node in view.ended},
        nexts=views.nexts(reply, status),
        status=status,
    )


@blueprint.post("/jobs/<job>/abort")
@needs("operator")
def abort(job: str) -> Response:
    """Ask the job to stop before its next step."""
    access.ask("abort", JobRequest(job), deadline_s=30.0)
    return redirect(f"/jobs/{job}", 303)


def _took_s(job: JobReply) -> float | None:
    """From the order to the end; None while it runs."""
    began, ended = moment(job.at), moment(job.ended_at)
    return max(0.0, (ended - began).total_seconds()) if began is not None and ended is not None else None


def _tagged(tag: str | None) -> str:
    """The commit that a tag names, for the link to it; empty where this node has no such tag."""
    if not tag:
        return ""
    try:
        found: ShowReply = access.ask("show", ShowRequest(tag, patch=False, part=Slice(limit=1)))
    except SyncsrvError:
        return ""
    return found.commit.commit


def _again(ended: views.Ended, job: JobReply) -> str:
    """Where the same can be ordered again, with the guards before one's eyes."""
    if job.kind == "rollback":
        commit = job.subject.removeprefix("to ").split(":")[0].split(" ")[0]
        return "/changes?" + urlencode({"rollback": commit, "reason": job.reason})
    return "/changes?" + urlencode({"node": ended.node, "reason": job.reason})
