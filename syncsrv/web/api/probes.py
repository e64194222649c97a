"""What watches over a node asks: /metrics for Prometheus, /healthz for whoever must know whether it answers."""

from __future__ import annotations

from flask import Blueprint, Response, request

from syncsrv.control.ask import CoreAwayError
from syncsrv.control.shapes import Status
from syncsrv.control.waiting import NoAnswerError
from syncsrv.errors import SyncsrvError
from syncsrv.web import access
from syncsrv.web.api.metrics import OPENMETRICS, PLAIN, render

HEALTHY_S = 2.0
"""Core must answer within this many seconds to count as healthy."""

blueprint = Blueprint("probes", __name__)


@blueprint.get("/metrics", provide_automatic_options=False)
@access.needs("viewer")
def metrics() -> Response:
    """Scraped with a token of a viewer."""
    return _scrape(access.status())


@blueprint.errorhandler(CoreAwayError)
@blueprint.errorhandler(NoAnswerError)
def away(error: SyncsrvError) -> Response:
    """Without core nobody's token can be verified, and there is nothing to tell but that: ``syncsrv_up 0``.

    As exporters do, with status 200: a failed scrape would look the same as a web process that is gone.
    """
    return _scrape(None)


def _scrape(status: Status | None) -> Response:
    liked = {PLAIN: 0.0, OPENMETRICS: 0.0}
    for kind, quality in request.accept_mimetypes:
        name = kind.partition(";")[0].strip().lower()
        if name in liked:
            liked[name] = max(liked[name], float(quality))
    text, content_type = render(status, as_openmetrics=liked[OPENMETRICS] > liked[PLAIN])
    return Response(text, content_type=content_type)


@blueprint.get("/healthz", provide_automatic_options=False)
@access.needs("")
def healthz() -> Response:
    """``ok`` where web and core answer, else 503 with the word for why; public, since it tells nothing else."""
    try:
        access.link().call("session", deadline_s=HEALTHY_S)
    except (CoreAwayError, NoAnswerError) as error:
        return Response(f"{error.code}\n", 503, mimetype=PLAIN)
    except SyncsrvError as error:
        if error.code == "busy":
            return Response(f"{error.code}\n", 503, mimetype=PLAIN)
    return Response("ok\n", mimetype=PLAIN)
