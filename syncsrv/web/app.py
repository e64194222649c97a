"""The page as a WSGI application: put together here, from what the process was told and what it holds in memory."""

from __future__ import annotations

import hashlib
import re

from flask import Flask, Response, make_response, request
from flask_wtf import CSRFProtect
from jinja2 import DictLoader, StrictUndefined
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from syncsrv.clock import Clock
from syncsrv.control.shapes_page import WebSetup
from syncsrv.web import access, api, failures, frame
from syncsrv.web.answers import Answers
from syncsrv.web.assets import Assets
from syncsrv.web.kept import KeptForms
from syncsrv.web.pages import BLUEPRINTS
from syncsrv.web.shares import Shares
from syncsrv.web.wsgi import Outermost

FORM_PARTS = 2100
"""Fields of one form: 2,000 ticked areas or paths, and what else is in it."""

_VOLATILE = re.compile(
    rb'<input type="hidden" name="csrf_token" value="[^"]*">'
    rb'| data-now="[^"]*"|(?<=>)[^<]*(?=</time>)'
)
"""What differs between two pages that say the same."""


def create_app(setup: WebSetup, link: access.Asking, clock: Clock, assets: Assets) -> Flask:
    """The application of one node.

    Args:
        setup: what core told: names, secret of the cookies, whether there is TLS.
        link: the way to core.
        clock: for ages and for how long a form is kept.
        assets: templates and static files.
    """
    app = Flask("syncsrv.web", static_folder=None, template_folder=None)
    tls = bool(setup.certificate)
    app.config.update(
        SECRET_KEY=setup.cookie_secret,
        SESSION_COOKIE_NAME=f"__Host-syncsrv-{setup.node}" if tls else f"syncsrv-{setup.node}",
        SESSION_COOKIE_SECURE=tls,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PATH="/",
        MAX_CONTENT_LENGTH=1 << 20,
        MAX_FORM_MEMORY_SIZE=1 << 20,
        MAX_FORM_PARTS=FORM_PARTS,
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=True,
    )
    app.url_map.strict_slashes = False  # either would redirect to an address made from the Host header
    app.url_map.merge_slashes = False
    app.jinja_options = {
        "undefined": StrictUndefined,
        "loader": DictLoader(dict(assets.templates)),
        "bytecode_cache": assets.compiled,
    }
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    forms = KeptForms(clock)
    app.extensions.update(
        {
            "syncsrv-link": link,
            "syncsrv-setup": setup,
            "syncsrv-clock": clock,
            "syncsrv-forms": forms,
            "syncsrv-shares": Shares(),
            "syncsrv-answers": Answers(clock),
        }
    )
    csrf = CSRFProtect(app)

    @app.before_request
    def genuine() -> None:
        """A form must come from a page of ours; a token proves that by itself, where no cookie could.

        A program that does not say who it is can be used by no other site either, and is told just that.
        """
        if request.routing_exception is not None or request.method in {"GET", "HEAD", "OPTIONS", "TRACE"}:
            return
        if not access.bearer() and (access.claim() is not None or not failures.is_api()):
            csrf.protect()

    app.after_request(unchanged)
    frame.install(app, setup, clock, assets)
    failures.install(app, forms)
    _static(app, assets)
    for blueprint in (*BLUEPRINTS, *api.BLUEPRINTS):
        app.register_blueprint(blueprint)
    for name in assets.templates:
        app.jinja_env.get_template(name)  # compiled now: a template that is wrong must not wait for its first reader
    here = "" if tls else setup.node
    app.wsgi_app = Outermost(app.wsgi_app, here)  # type: ignore[method-assign]  # how Flask's documentation wraps it
    return app


def unchanged(response: Response) -> Response:
    """Answer 304 to a script that asks for a live page again while nothing on it has changed."""
    if request.method != "GET" or response.status_code != 200 or response.mimetype != "text/html":
        return response
    if response.is_streamed or b"data-live=" not in (body := response.get_data()):
        return response
    tag = hashlib.sha256(_VOLATILE.sub(b"", body)).hexdigest()[:32]
    response.set_etag(tag, weak=True)
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
    return response


def _static(app: Flask, assets: Assets) -> None:
    @app.get("/static/<name>")
    @access.needs("")
    def static(name: str) -> AnyResponse:
        found = assets.static.get(name)
        if found is None:
            raise NotFound
        packed = request.accept_encodings["gzip"] > 0
        response = make_response(found.gzipped if packed else found.content)
        response.headers["Content-Type"] = found.content_type
        response.headers["Vary"] = "Accept-Encoding"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        named = request.args.get("v") == found.version
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if named else "no-cache"
        response.set_etag(f"{found.version}-gzip" if packed else found.version)
        return response.make_conditional(request.environ)
