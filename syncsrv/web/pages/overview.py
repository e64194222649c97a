"""The overview: how the nodes stand to each other, in one sentence and then row by row."""

from __future__ import annotations

from flask import Blueprint, render_template

from syncsrv.web import access
from syncsrv.web.access import needs

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@needs("viewer")
def overview() -> str:
    """The first page."""
    return render_template("overview.html", status=access.status())
