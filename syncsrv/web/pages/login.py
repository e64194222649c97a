"""Log-in, log-out, the form that was under way, and light or dark."""

from __future__ import annotations

import contextlib

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.shapes_page import LoginRequest, LogoutRequest, WebSetup
from syncsrv.control.shapes_page import Session as Who
from syncsrv.errors import SyncsrvError
from syncsrv.web import access, failures
from syncsrv.web.access import needs
from syncsrv.web.failures import KEPT
from syncsrv.web.kept import Form, KeptForms

blueprint = Blueprint("login", __name__)

WRONG = "wrong-password"
"""Core's code for it; it does not say which of the two is wrong."""

FORMS = "csrf_token"
"""Where Flask-WTF keeps the secret that the forms of a browser are made with."""

YEAR_S = 365 * 24 * 3600
THEMES = ("light", "dark")


@blueprint.get("/login")
@needs("")
def form() -> str:
    """Who you are, on which machine."""
    return _page()


@blueprint.post("/login")
@needs("")
def enter() -> AnyResponse:
    """Ask core, which keeps the count of failures; then on to where the person wanted to go."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    device = request.cookies.get(_device_cookie(), "")
    try:
        who: Who = access.ask("login", LoginRequest(name.strip(), password, device))
    except SlowDownError as error:
        return _slowed(error, name)
    except SyncsrvError as error:
        if error.code != WRONG:
            raise
        return make_response(_page("Name or password is wrong.", name=name[:64]), 401)
    kept = session.get(KEPT)
    forms = session.get(FORMS) if session.get(access.PERSON) == who.person else None
    session.clear()
    if forms is not None:
        session[FORMS] = forms  # what the same person has open in another tab can still be sent
    session[access.CORE] = who.session
    session[access.PERSON] = who.person
    back = access.local_path(request.form.get("next"))
    if kept and _forms().get(kept, who.person):
        session[KEPT] = kept
        back = url_for("login.kept")
    response = redirect(back, 303)
    if who.device:
        response.set_cookie(
            _device_cookie(), who.device, max_age=YEAR_S, secure=_tls(), httponly=True, samesite="Strict", path="/"
        )
    return response


@blueprint.post("/logout")
@needs("")
def leave() -> AnyResponse:
    """End the session in core, then forget it here; also where core does not know it any more."""
    if access.claim() is not None:
        with contextlib.suppress(NotLoggedInError):
            access.ask("logout", LogoutRequest(everywhere=request.form.get("everywhere") == "yes"))
    session.clear()
    return redirect(url_for("login.form", why="out"), 303)


@blueprint.get("/kept")
@needs("viewer")
def kept() -> AnyResponse:
    """The form that was under way when the log-in ended; sent again by one click, never by itself."""
    found = _kept_form()
    if found is None:
        return redirect("/", 303)
    return make_response(render_template("kept.html", form=found))


@blueprint.post("/theme")
@needs("")
def theme() -> AnyResponse:
    """Light, dark, or what the system prefers; back to the same page."""
    chosen = request.form.get("theme", "")
    response = redirect(access.local_path(request.form.get("next")), 303)
    if chosen in THEMES:
        response.set_cookie("theme", chosen, max_age=YEAR_S, secure=_tls(), httponly=True, samesite="Lax", path="/")
    else:
        response.delete_cookie("theme", path="/")
    return response


def _page(message: str = "", wait_s: int = 0, name: str = "") -> str:
    asked = request.form.get("next", request.args.get("next", ""))
    return render_template(
        "login.html",
        setup=_setup(),
        message=message,
        wait_s=wait_s,
        name=name,
        next=access.local_path(asked, ""),
        kept=KEPT in session,
        ended=access.PERSON in session,
        left=request.args.get("why") == "out",
    )


def _slowed(error: SlowDownError, name: str) -> Response:
    wait_s = failures.retry_after(error)
    response = make_response(_page("Too many wrong passwords.", wait_s, name[:64]), 429)
    response.headers["Retry-After"] = str(wait_s)
    return response


def _kept_form() -> Form | None:
    return _forms().get(session.get(KEPT, ""), access.current().person)


def _setup() -> WebSetup:
    found: WebSetup = current_app.extensions["syncsrv-setup"]
    return found


def _forms() -> KeptForms:
    found: KeptForms = current_app.extensions["syncsrv-forms"]
    return found


def _tls() -> bool:
    return bool(_setup().certificate)


def _device_cookie() -> str:
    """Beside the session's, since it outlives the log-out."""
    return f"{current_app.config['SESSION_COOKIE_NAME']}-device"
