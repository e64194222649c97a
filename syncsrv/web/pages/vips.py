"""Virtual addresses: who holds which, whether the others are ready, and what can be ordered of this node."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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
from syncsrv.web.views import holders, ledger, statetable, viporders
from syncsrv.web.views import vips as views
from syncsrv.web.views.members import Group, Member, groups, members
from syncsrv.web.views.viporders import Order

blueprint = Blueprint("vips", __name__)


@blueprint.get("/vips")
@needs("viewer")
def vips() -> str:
    """Who holds which address; ``?ask=ACTION`` unfolds the question, ``?said=ID`` shows what came of an order."""
    now = access.clock().utc()
    nodes, found, orders = _standing(now)
    return render_template(
        "vips.html",
        nodes=nodes,
        us=next(node for node in nodes if node.here),
        standing=holders.standing(access.status(), now),
        lines=views.lines(nodes, found),
        devices=views.devices(nodes),
        ledger=ledger.ledger(nodes),
        table=statetable.lines(nodes),
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
    here = access.status().node
    if request.form.get("node", here) != here:
        raise UsageError("cannot order this of another node: a node decides about itself", "do it on that node's page")
    orders = _standing(access.clock().utc())[2]
    known = orders.get(request.form["action"])
    label = known.label if known is not None else asked.action.replace("-", " ").capitalize()
    reply: VipReply = access.ask("vip", asked, deadline_s=VIP_S)
    return redirect(f"/vips?said={quote(_answers().put(access.current().person, label, reply))}#came", 303)


def _standing(now: datetime) -> tuple[tuple[Member, ...], tuple[Group, ...], Mapping[str, Order]]:
    """The nodes, every VIP, and what can be ordered here."""
    status = access.status()
    nodes = members(status, now)
    found = groups(nodes, now)
    return nodes, found, viporders.orders(status, nodes, found, rfc3339(now))


def _answers() -> Answers:
    found: Answers = current_app.extensions["syncsrv-answers"]
    return found
