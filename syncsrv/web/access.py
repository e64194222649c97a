"""Who asks, and what they may: every route says it with ``needs``; core decides it again for every verb."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from flask import current_app, g, request, session

from syncsrv.clock import Clock
from syncsrv.control import codec
from syncsrv.control.connection import Stream
from syncsrv.control.dispatch import may
from syncsrv.control.errors import Body, NotLoggedInError
from syncsrv.control.shapes import Empty, Status
from syncsrv.control.shapes_page import Session
from syncsrv.control.verbs import VERBS
from syncsrv.errors import DeniedError, SyncsrvError
from syncsrv.web.shares import Shares

View = TypeVar("View", bound=Callable[..., Any])

CORE = "core"
"""Where the cookie holds the id of core's session."""

PERSON = "person"
"""Where the cookie holds who logged in last: only a label, for the form that was under way."""


class Asking(Protocol):
    """How core is asked: a Link."""

    def call(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Body: ...

    def stream(
        self, verb: str, body: Body | None = None, *, who: str | None = None, origin: str = "", deadline_s: float = 10.0
    ) -> Stream: ...


def needs(power: str) -> Callable[[View], View]:
    """Every route says who may use it.

    Args:
        power: viewer, operator or admin; empty for everybody, also before the log-in.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if power:
                require(power)
            return view(*args, **kwargs)

        checked.__dict__["needs"] = power
        return checked  # type: ignore[return-value]  # it has the view's own signature

    return decorate


def require(power: str) -> None:
    """Go on only for somebody who is logged in and has this power.

    Raises:
        NotLoggedInError: nobody is logged in.
        DeniedError: the role does not allow it.
    """
    me = current()
    if not me.person:
        raise NotLoggedInError("cannot show this: nobody is logged in", "log in")
    if not may(me.role, power):
        raise DeniedError(
            f"cannot do this: it needs the role {power}, {me.person} is {me.role}", "ask an admin for the role"
        )


def current() -> Session:
    """Who is logged in, asked once a request; nobody (no person) where neither a cookie nor a token was sent.

    Raises:
        SyncsrvError: core's; of code ``not-logged-in`` where the session has ended or the token is none.
    """
    if "me" not in g:
        try:
            g.me = ask("session") if claim() is not None else Session()
        except SyncsrvError as error:
            g.me = error  # the page that says so does not wait for core once more
            raise
        note(g.me)
    if isinstance(g.me, SyncsrvError):
        raise g.me
    me: Session = g.me
    return me


def note(me: Session) -> None:
    """Write a session that core rotated back into the cookie."""
    if me.session and session.get(CORE) != me.session:
        session[CORE] = me.session


def can(power: str) -> bool:
    """Whether who is logged in may do it; for what a page shows, never instead of ``needs``."""
    return may(current().role, power)


def status() -> Status:
    """Core's status, asked once a request."""
    if "status" not in g:
        g.status = ask("status")
    found: Status = g.status
    return found


def ask(verb: str, asked: object = None, *, deadline_s: float = 10.0) -> Any:
    """Ask core in the name of whoever is logged in.

    Args:
        verb: its name in the table.
        asked: the request's dataclass; left out for a verb without arguments.
        deadline_s: seconds within which core must answer.

    Returns:
        The verb's reply as its dataclass.

    Raises:
        SyncsrvError: core's answer, or that there is no core.
    """
    row = VERBS[verb]
    body = codec.to_body(row.request, Empty() if asked is None else asked)
    reply = link().call(verb, body, who=claim(), origin=address(), deadline_s=deadline_s)
    return codec.decode_reply(verb, row.reply, reply)


def stream(verb: str, asked: object, *, deadline_s: float = 10.0) -> tuple[Any, Stream]:
    """Ask for a reply with bytes after it, which are read at once; close the stream, or read it to its end."""
    row = VERBS[verb]
    body = codec.to_body(row.request, asked)
    found = link().stream(verb, body, who=claim(), origin=address(), deadline_s=deadline_s)
    try:
        return codec.decode_reply(verb, row.reply, found.reply), found
    except BaseException:
        found.close()
        raise


def stream_to_client(verb: str, asked: object, *, deadline_s: float) -> tuple[Any, Stream]:
    """Like ``stream``, for bytes that the client reads as slowly as it likes; one person has a few at once.

    Raises:
        TooManyStreamsError: this person has as many as one may.
    """
    shares: Shares = current_app.extensions["syncsrv-shares"]
    whose = current().person or address()
    shares.take(whose)
    try:
        reply, found = stream(verb, asked, deadline_s=deadline_s)
    except BaseException:
        shares.give_back(whose)
        raise
    release = found.on_close

    def closed() -> None:
        shares.give_back(whose)
        release()

    found.on_close = closed
    return reply, found


def link() -> Asking:
    """The way to core."""
    found: Asking = current_app.extensions["syncsrv-link"]
    return found


def clock() -> Clock:
    """The clock of the application."""
    found: Clock = current_app.extensions["syncsrv-clock"]
    return found


def claim() -> str | None:
    """Whom the request speaks for, as core reads it; a token counts only where no cookie was sent."""
    if CORE in session:
        return f"{'poll' if polls() else 'session'}:{session[CORE]}"
    token = bearer()
    return f"token:{token}" if token else None


def polls() -> bool:
    """Whether a page asks again by itself: that is not use, and does not keep a log-in alive."""
    return request.method == "GET" and "X-Poll" in request.headers


def bearer() -> str:
    """The API token of a request that brought no session cookie; empty where there is none."""
    if current_app.config["SESSION_COOKIE_NAME"] in request.cookies:
        return ""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def address() -> str:
    """Where the request came from; the address of the connection, never a header's word."""
    return request.remote_addr or ""


def local_path(wanted: str | None, otherwise: str = "/") -> str:
    """``wanted`` where it is a path of this site, for coming back to it; else ``otherwise``."""
    if not wanted or not wanted.startswith("/") or wanted.startswith("//") or len(wanted) > 2000:
        return otherwise
    if "\\" in wanted or not wanted.isprintable() or not wanted.isascii() or " " in wanted:
        return otherwise
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc or parts.path in {"/login", "/logout", "/theme"} or parts.path.startswith("//"):
        return otherwise
    return wanted
