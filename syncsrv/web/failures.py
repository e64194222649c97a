"""What goes wrong becomes a page: message, remedy, the navigation, and the status that says which kind it is."""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import replace
from http import HTTPStatus

from flask import Flask, Response, make_response, redirect, render_template, request, session, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from syncsrv.control.ask import CoreAwayError
from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.waiting import NoAnswerError
from syncsrv.errors import SyncsrvError
from syncsrv.web import access
from syncsrv.web.api import problem
from syncsrv.web.kept import KeptForms

log = logging.getLogger(__name__)

KEPT = "kept"
"""Where the cookie holds the id of the form that was under way."""

_BY_CODE = {
    "not-logged-in": 401,
    "denied": 403,
    "refused": 409,
    "stale-plan": 409,
    "not-serving": 409,
    "too-large": 413,
    "slow-down": 429,
    "core-away": 503,
    "busy": 503,
}
SILENT = (
    "core does not answer; look at the log of syncsrv-core or `syncsrv serve`; a restart of it undoes or finishes what "
    "it was doing"
)
"""What to do where core is there and says nothing."""

_BY_EXIT_STATUS = {2: 400, 3: 502, 4: 409}


def status_of(error: SyncsrvError) -> int:
    """The HTTP status for an error of core or of web."""
    if isinstance(error, (CoreAwayError, NoAnswerError)):
        return 503
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if error.code.startswith("unknown-") and error.exit_status == 2:
        return 404
    return _BY_EXIT_STATUS.get(error.exit_status, 500)


def retry_after(error: SlowDownError) -> int:
    """Whole seconds to wait."""
    return max(1, math.ceil(error.retry_s))


def is_api() -> bool:
    """Whether the answer is for a program."""
    return problem.is_for_programs(request.path)


def install(app: Flask, forms: KeptForms) -> None:
    """Register what answers errors."""

    @app.errorhandler(SyncsrvError)
    def ours(error: SyncsrvError) -> AnyResponse:
        if isinstance(error, NotLoggedInError) and not is_api():
            return _to_login(forms)
        status = status_of(error)
        remedy = error.remedy or _remedy(error)
        if is_api():
            response = problem.respond(replace(problem.of_error(error, status), remedy=remedy))
        else:
            response = page(status, error.message, remedy)
        if isinstance(error, SlowDownError):
            response.headers["Retry-After"] = str(retry_after(error))
        return response

    @app.errorhandler(CSRFError)
    def forged(error: CSRFError) -> AnyResponse:
        if is_api():
            return problem.respond(problem.of_error(problem.CsrfError(), 400))
        return page(
            400,
            "cannot accept this form: it was not made by this page, or before the last log-in",
            "go back, load the page again and send it once more; nothing was done",
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> AnyResponse:
        status = error.code or 500
        if status < 400:
            return error.get_response()
        response = problem.respond(problem.of_http(error)) if is_api() else page(status, *_said(status))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def bug(error: Exception) -> AnyResponse:
        request_id = secrets.token_hex(6)
        log.error("request %s (%s %s) failed", request_id, request.method, request.path, exc_info=error)
        if is_api():
            return problem.respond(problem.of_bug(request_id))
        return page(
            500,
            f"cannot show this: an error inside syncsrv (request {request_id})",
            f"look for {request_id} in the log of web and report it",
        )


def page(status: int, message: str, remedy: str = "") -> Response:
    """An error page, with the navigation."""
    title = HTTPStatus(status).phrase if status in {int(one) for one in HTTPStatus} else "Error"
    html = render_template("error.html", status=status, title=title, message=message, remedy=remedy)
    return make_response(html, status)


def _said(status: int) -> tuple[str, str]:
    return {
        404: ("cannot show this: there is no such page", "the navigation above names those that there are"),
        405: (f"cannot do this: {request.path} does not take {request.method}", "go back and use the page's buttons"),
        413: ("cannot accept this: it is too large", "send less at once; nothing was done"),
    }.get(status, ("cannot answer this request", "go back, load the page again and try once more"))


def _remedy(error: SyncsrvError) -> str:
    if not isinstance(error, NoAnswerError):
        return ""
    unsure = "" if request.method in {"GET", "HEAD"} else "whether it was done is not known; "
    return unsure + SILENT


def _to_login(forms: KeptForms) -> AnyResponse:
    """To the log-in and back; a form that was under way is kept for the same person."""
    session.pop(access.CORE, None)
    back = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else ""
    if request.method == "POST" and session.get(access.PERSON):
        kept = forms.keep(request.path, list(request.form.items(multi=True)), session[access.PERSON])
        if kept is not None:
            session[KEPT] = kept
    asked = access.local_path(back, "")
    return redirect(url_for("login.form", next=asked) if asked and asked != "/" else url_for("login.form"), 303)
