"""The audit: who asked this node for what from where, and what came of it; read from its receipts."""

from __future__ import annotations

from flask import Blueprint, make_response, render_template, request
from werkzeug.wrappers import Response

from syncsrv.control.shapes_page import AuditReply, AuditRequest
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.frame import framed
from syncsrv.web.views import audit as views

blueprint = Blueprint("audit", __name__)

A_PAGE = 50
LONGEST_WORD = 100
"""Characters of a filter: names, kinds and ids are shorter."""


@blueprint.get("/audit")
@needs("viewer")
@framed("audit")
def audit() -> Response:
    """Newest first; ``?person=&kind=&job=&before=``."""
    asked = AuditRequest(
        limit=A_PAGE, before=_word("before"), job=_word("job"), person=_word("person"), kind=_word("kind")
    )
    reply: AuditReply = access.ask("audit", asked)
    html = render_template(
        "audit.html",
        asked=asked,
        reply=reply,
        rows=views.rows(reply.receipts),
        older=views.older(asked, reply),
        newest=views.query(asked),
        kinds=views.KINDS,
        query=lambda **more: views.query(asked, **more),
    )
    return make_response(html)


def _word(name: str) -> str | None:
    return request.args.get(name, "").strip()[:LONGEST_WORD] or None
