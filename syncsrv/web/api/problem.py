"""What the API answers where it does not answer what was asked: problem documents (RFC 9457).

A program decides by ``code``, which is the same word as on the command line, or by ``status``; ``detail`` and
``remedy`` are the sentences that a person would have read on the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Response
from werkzeug.exceptions import HTTPException

from syncsrv.control import codec
from syncsrv.errors import RefusedError, SyncsrvError, UsageError

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:syncsrv:problem:"
"""What ``code`` is appended to: a name, not an address."""

API = "/api/"
MACHINES = (API, "/metrics", "/healthz")
"""Below these a program asks: no log-in page, no navigation."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer.

    Attributes:
        type: ``urn:syncsrv:problem:`` and the code.
        title: the same for every problem of this status.
        status: of HTTP, repeated for whoever sees the body alone.
        detail: ``cannot <do what> <to which object>: <why>``.
        code: what a program decides by.
        remedy: what a person can do about it; empty where nothing can be said.
        guards: those that fired, where guards refused it; ``force`` takes these names.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    remedy: str = ""
    guards: tuple[str, ...] = ()


class BadBodyError(UsageError):
    """A body that is no JSON object; ``why`` never repeats any of it."""

    code = "bad-request"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot read the body: {why}", "send one JSON object, as the OpenAPI document describes it")


class CsrfError(UsageError):
    """The page's cookie came without the page's CSRF token."""

    code = "csrf"

    def __init__(self) -> None:
        super().__init__(
            "cannot accept this request: it has the page's cookie, but not its CSRF token in the header X-CSRFToken",
            "send that header, or a token (`Authorization: Bearer`) instead of the cookie; nothing was done",
        )


_HTTP: Mapping[int, tuple[str, str, str]] = {
    400: ("bad-request", "cannot read the request: it is malformed", "the OpenAPI document describes every request"),
    404: ("no-such-resource", "cannot find what was asked for: nothing has this address", "see /api/v1/openapi.json"),
    405: ("method-not-allowed", "cannot do this here: the address does not take this method", "see the header Allow"),
    408: ("too-slow", "cannot wait for the rest of the request: it came too slowly", "try again"),
    413: ("too-large", "cannot read the body: it is too large", "send less at once"),
    415: ("content-type", "cannot read the body: it is not application/json", "send it as application/json"),
    429: ("slow-down", "cannot do this now: too much was asked at once", "wait for as long as Retry-After says"),
}
"""Status to code, detail and remedy of what is refused before a view is reached."""


def is_for_programs(path: str) -> bool:
    """Whether an address is asked by programs, who get a problem document instead of a page."""
    return path.startswith(API) or path in MACHINES


def of_error(error: SyncsrvError, status: int) -> Problem:
    """A problem that says what the command line would have said."""
    guards = error.guards if isinstance(error, RefusedError) else ()
    title = HTTPStatus(status).phrase
    return Problem(TYPE + error.code, title, status, error.message, error.code, error.remedy, guards)


def of_http(error: HTTPException) -> Problem:
    """What Flask or Werkzeug refused; its own text is for browsers and may repeat what was sent."""
    status = error.code or 500
    code, detail, remedy = _HTTP.get(status, ("failed", "cannot answer the request", ""))
    return of_words(status, code, detail, remedy)


def of_bug(request_id: str) -> Problem:
    """A fault of ours, which the log of web has under ``request_id``."""
    said = f"cannot answer: an error inside syncsrv (request {request_id})"
    return of_words(500, "internal", said, f"look for {request_id} in the log of web and report it")


def of_words(status: int, code: str, detail: str, remedy: str = "") -> Problem:
    """What no exception stands for."""
    return Problem(TYPE + code, HTTPStatus(status).phrase, status, detail, code, remedy)


def as_json(problem: Problem) -> bytes:
    """The body of a response."""
    return codec.encode(Problem, problem)


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The response; with its challenge where somebody must say who they are."""
    response = Response(as_json(problem), problem.status, mimetype=MEDIA_TYPE)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="syncsrv"'
    response.headers.update(headers or {})
    return response
