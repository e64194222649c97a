"""Virtual addresses: who holds which, whether the others are ready, and what can be ordered of this node."""

from __future__ import annotations

from urllib.parse import quote

from flask import Blueprint, current_app, redirect, render_template, request
from werkzeug.wrappers import Response

from syncsrv.clock import rfc3339
from syncsrv.control.shapes_failover import ACTIONS, VipReply
from syncsrv.errors import UsageError
from syncsrv.web import access
from syncsrv.web.access import needs
from syncsrv.web.answers import Answers
from syncsrv.web.api.table import VIP_S
from syncsrv.web.views import holders, ledger, viporders
from syncsrv.web.views import vips as views
from syncsrv.web.views.members import groups, members

blueprint = Blueprint("vips", __name__)


@blueprint.get("/vips")
@needs("viewer")
def vips() -> str:
    """Who holds which address; ``?ask=ACTION`` unfolds the question, ``?said=ID`` shows what came of an order."""
    status = access.status()
    now = access.clock().utc()
    nodes = members(status, now)
    found = groups(nodes, now)
    orders = viporders.orders(status, nodes, found, rfc3339(now)) if found else {}
    return render_template(
        "vips.html",
        status=status,
        nodes=nodes,
        us=next(node for node in nodes if node.here),
        standing=holders.standing(status, now),
        lines=views.lines(nodes, found),
        devices=views.devices(nodes),
        ledger=ledger.ledger(nodes) if found else (),
        orders=orders,
        asked=orders.get(request.args.get("ask", "")),
        said=_answers().get(request.args.get("said", ""), access.current().person),
    )


@blueprint.post("/vips")
@needs("operator")
def order() -> Response:
    """Let core do it and wait for what comes of it; the page that follows says that."""
    asked = viporders.request(lambda name: request.form.get(name, ""))
    if asked.action not in ACTIONS:
        raise UsageError("cannot do this with virtual addresses: no such action", f"it is one of {', '.join(ACTIONS)}")
    if request.form.get("node", access.status().node) != access.status().node:
        raise UsageError("cannot order this of another node: a node decides about itself", "do it on that node's page")
    reply: VipReply = access.ask("vip", asked, deadline_s=VIP_S)
    label = request.form.get("label", "")[:100] or asked.action
    return redirect(f"/vips?said={quote(_answers().put(access.current().person, label, reply))}#came", 303)


def _answers() -> Answers:
    found: Answers = current_app.extensions["syncsrv-answers"]
    return found
