"""Drift: how the nodes stand in what no synchronization brought."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from flask import Blueprint, render_template, request

from syncsrv.control.shapes_history import DiffReply, DiffRequest, NodeDiff, Slice
from syncsrv.errors import SyncsrvError
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.views import drift as views
from syncsrv.web.views.filediff import FileView, Manner, history_link, shown
from syncsrv.web.views.verdict import MASTER, master_of

blueprint = Blueprint("standing", __name__)

UNKNOWN = "unknown-revision"
"""Core's code for a name that means no commit here."""

LOOK_S = 30.0
"""Within which core must have compared; it waits for no peer."""

SHOWN = 50
"""Files of a node whose difference is shown; the others are named."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What a node drifted from, file by file; ``problem``: why it is not shown; ``rest``: what is named only."""

    node: views.Drifted
    files: tuple[FileView, ...]
    problem: str
    rest: tuple[str, ...] = ()


@blueprint.get("/drift")
@needs("viewer")
def drift() -> str:
    """What was changed on backups since they were synchronized; asks no peer, and for a script compares nothing."""
    status = access.status()
    drifted = views.drifted(status)
    full = request.args.get("full", "")
    return render_template(
        "drift.html",
        status=status,
        found=tuple(Differences(one, (), "") if access.polls() else _differences(one, full) for one in drifted),
        calm=views.calm(status),
        master=master_of(status),
        is_master=status.role == MASTER,
    )


def _differences(one: views.Drifted, full: str) -> Differences:
    """Between the tag that was applied and what is live, as this node knows it: its own main, or a peer's."""
    if not one.base:
        return Differences(one, (), "no tag is applied there")
    try:
        found = _between(one, one.paths[:SHOWN])
        alone = _between(one, (full,)).files if full in one.paths[:SHOWN] else ()
    except SyncsrvError as error:
        if error.exit_status not in {2, 3}:
            raise
        unknown = error.code == UNKNOWN and bool(one.live)
        why = f"what is live on {one.node} has not been fetched yet" if unknown else error.message
        return Differences(one, (), why)
    files = [next((other for other in alone if other.path == file.path), file) for file in found.files]
    how = Manner(full=full, link=history_link(found.base, found.target), more=_whole)
    seen = {file.path for file in files}
    return Differences(one, tuple(shown(files, how)), "", tuple(path for path in one.paths if path not in seen))


def _between(one: views.Drifted, paths: tuple[str, ...]) -> NodeDiff:
    part = Slice(paths=paths, texts=True)
    order = DiffRequest(revs=(one.base, one.live or "main"), part=part, cached=True)
    reply: DiffReply = access.ask("diff", order, deadline_s=LOOK_S)
    return next(iter(reply.nodes.values()))


def _whole(path: str) -> str:
    return f"/drift?full={quote(path, safe='/')}"
