"""The API's addresses: one view for each operation of the table, and the document that describes them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import UnsupportedMediaType

from syncsrv.control import codec
from syncsrv.control.errors import SlowDownError
from syncsrv.control.shapes import JobRequest, JobStarted
from syncsrv.control.shapes_page import FileReply, Session
from syncsrv.version import __version__
from syncsrv.web import access
from syncsrv.web.api import openapi, reading
from syncsrv.web.api.replies import VersionReply
from syncsrv.web.api.table import OPERATIONS, PREFIX, Operation

API_VERSION = "1"

WAITING = 8
"""So many clients may wait for jobs at once; the others are told to come again."""

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)


def _install(operation: Operation) -> None:
    @access.needs(operation.power)
    def view(**path: str) -> Response:
        return _answer(operation, path)

    view.__name__ = operation.name
    rule = operation.path.replace("{", "<").replace("}", ">")
    # Without automatic OPTIONS: they would answer before anybody said who they are.
    blueprint.add_url_rule(
        rule, operation.name, view, methods=[operation.method], provide_automatic_options=False, strict_slashes=True
    )


def _answer(operation: Operation, path: dict[str, str]) -> Response:
    asked = operation.build(path, _sent(operation))
    if not operation.verb:
        return _json(operation, _version())
    if operation.streams:
        return _bytes(operation, asked)
    with _waiting(asked):
        reply = access.ask(operation.verb, asked, deadline_s=operation.deadline_s)
    if isinstance(reply, Session):
        access.note(reply)
    response = _json(operation, operation.turn(reply) if operation.turn else reply)
    if isinstance(reply, JobStarted):
        response.headers["Location"] = f"{PREFIX}/jobs/{quote(reply.job, safe='')}"
    return response


@contextmanager
def _waiting(asked: object) -> Iterator[None]:
    """Let only some wait in core at a time: each holds one of its workers, which the pages need too."""
    if not isinstance(asked, JobRequest) or not asked.wait_s:
        yield
        return
    slots: threading.BoundedSemaphore = current_app.extensions["syncsrv-waiting"]
    if not slots.acquire(blocking=False):
        raise SlowDownError(
            f"cannot wait for job {asked.job}: {WAITING} requests wait for jobs already", "ask again, or without wait_s"
        )
    try:
        yield
    finally:
        slots.release()


def _sent(operation: Operation) -> object:
    """The fields that the client sent, where the operation has them: in the query, or in the body."""
    if operation.method in ("GET", "DELETE"):
        return reading.from_query(operation, dict(request.args.lists()))
    reading.no_query(operation, list(request.args))
    body = request.get_data()
    if (body or operation.has_body) and request.mimetype != "application/json":
        raise UnsupportedMediaType
    return reading.from_body(operation, body)


def _json(operation: Operation, value: object) -> Response:
    return Response(codec.encode(operation.answer, value), operation.status, mimetype="application/json")


def _bytes(operation: Operation, asked: object) -> Response:
    """A file as it was; what it was stands in headers, since its bytes are the whole body."""
    reply, stream = access.stream_to_client(operation.verb, asked, deadline_s=operation.deadline_s)
    assert isinstance(reply, FileReply)
    response = Response(iter(stream), mimetype="application/octet-stream")
    response.call_on_close(stream.close)
    response.headers["Content-Disposition"] = "attachment"  # never shown as a page of this origin
    for name, value in openapi.file_headers(reply).items():
        response.headers[name] = quote(value, safe=":/ ")
    if reply.kind == "file":
        response.content_length = reply.size
    return response


def _version() -> VersionReply:
    setup = current_app.extensions["syncsrv-setup"]
    return VersionReply(__version__, API_VERSION, setup.node, setup.cluster)


for _operation in OPERATIONS:
    _install(_operation)


@blueprint.get("/openapi.json", provide_automatic_options=False)
@access.needs("")
def document() -> Response:
    """What the API takes and answers: the same on every node but for the name of the cookie, so it is public."""
    return Response(current_app.extensions["syncsrv-openapi"], mimetype="application/json")


@blueprint.record
def _describe(state: Any) -> None:
    """What an application holds; the document is made now, while the process may still open files."""
    app: Flask = state.app
    app.extensions["syncsrv-waiting"] = threading.BoundedSemaphore(WAITING)
    app.extensions["syncsrv-openapi"] = _described(app.config["SESSION_COOKIE_NAME"])


@functools.lru_cache(maxsize=8)
def _described(cookie: str) -> bytes:
    return openapi.as_json(OPERATIONS, cookie)
