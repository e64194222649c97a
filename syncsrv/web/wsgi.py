"""Around the application: what every answer carries, what no request may bring, and the top of the request loop."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from syncsrv.web.api import problem

log = logging.getLogger(__name__)

HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""On every answer, errors and static files included.

Referrer-Policy is not ``no-referrer``: under TLS a form is believed only with a referrer of this origin. There is no
Strict-Transport-Security: with a certificate that the node made itself a browser that remembers it would not let
anybody pass the warning any more, on any port of that host name.
"""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.%]{2,60}\](:[0-9]{1,5})?")


class Outermost:
    """The outermost layer.

    Args:
        app: what it stands around.
        here: the name of the node where the page is served without TLS, so on loopback only; empty under TLS.
    """

    def __init__(self, app: WSGIApplication, here: str = "") -> None:
        self._app = app
        self._here = here

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; the top of the request loop."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            sent = {name.lower() for name, _ in headers}
            headers = headers + [(name, value) for name, value in HEADERS if name.lower() not in sent]
            if "cache-control" not in sent:
                headers.append(("Cache-Control", "no-store"))
            return start_response(status, headers, exc_info)

        wrong = unusable(environ)
        if wrong:
            return _plain(start, environ, 400, "bad-request", f"cannot answer: {wrong}")
        if self._here and not is_here(environ.get("HTTP_HOST", ""), self._here):
            said = f"cannot answer under this host name: without TLS it is localhost, 127.0.0.1 or {self._here}"
            return _plain(start, environ, 421, "bad-host", said)
        try:
            return self._app(environ, start)
        except Exception:  # the top of the request loop: not even an error page that fails may end the server
            request_id = secrets.token_hex(6)
            log.exception("request %s failed, and so did its error page", request_id)
            said = f"cannot answer: an error inside syncsrv (request {request_id}); the log of web has it"
            return _plain(start, environ, 500, "internal", said)


def unusable(environ: WSGIEnvironment) -> str:
    """Why a request is not even looked at; empty for a usual one."""
    host = environ.get("HTTP_HOST", "")
    if host and not _HOST.fullmatch(host):
        return "the Host header is none"
    if "HTTP_TRANSFER_ENCODING" in environ and environ.get("CONTENT_LENGTH"):
        return "it has two lengths"
    return ""


def is_here(host: str, node: str) -> bool:
    """Whether a Host header names loopback or the node.

    Any other name may be one that somebody else lets point at loopback: his pages in a browser on this machine would
    then count as pages of this origin. Under TLS the certificate stops that. No header at all comes from no browser.
    """
    name = host.rpartition(":")[0] if re.search(r":[0-9]+\Z", host) and not host.endswith("]") else host
    if not name or name.lower() in {"localhost", node.lower()}:
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _plain(
    start: Callable[..., object], environ: WSGIEnvironment, status: int, code: str, said: str
) -> Iterable[bytes]:
    body, kind = f"{said}\n".encode(), "text/plain; charset=utf-8"
    if problem.is_for_programs(environ.get("PATH_INFO", "")):
        body, kind = problem.as_json(problem.of_words(status, code, said)), problem.MEDIA_TYPE
    start(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
