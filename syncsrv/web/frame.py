"""What every page shows around its content, and the few functions that templates may call."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from flask import Flask, current_app, g, make_response, render_template, request
from markupsafe import Markup, escape
from werkzeug.wrappers import Response

from syncsrv.clock import Clock, rfc3339
from syncsrv.control.shapes_page import Session, WebSetup
from syncsrv.errors import SyncsrvError
from syncsrv.version import __version__
from syncsrv.web import access
from syncsrv.web.assets import Assets
from syncsrv.web.views import holders
from syncsrv.web.views.linehtml import upright, visible
from syncsrv.web.views.times import ago, duration, exact, moment

P = ParamSpec("P")

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")

STALE_S = 15.0
"""Three polls of a peer: a reading that is older is shown as stale."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The page around the content.

    Attributes:
        me: who is logged in; no person for nobody.
        behind: changes that wait to be synchronized.
        pending: services that run with an older configuration, on any node.
        running: jobs under way.
        wrong: virtual addresses that nobody holds, or several nodes do.
        theme: light, dark or empty for what the system prefers.
        now: the time at which this page was made, UTC.
    """

    node: str
    cluster: str
    version: str
    me: Session
    behind: int
    pending: int
    running: int
    wrong: int
    theme: str
    now: str


def install(app: Flask, setup: WebSetup, clock: Clock, assets: Assets) -> None:
    """Give templates ``frame``, ``when``, ``can``, ``static`` and the filters ``duration`` and ``commands``.

    Whatever text they show is made upright: a file's name must not make a sentence read as another one. Where a form
    brings a text back, ``|e`` leaves it as it is.
    """

    def frame() -> Frame:
        if "frame" not in g:
            g.frame = _frame(setup, clock)
        found: Frame = g.frame
        return found

    def when(text: str | None, stale_s: float | None = None) -> Markup:
        """A time as its age, with the exact time; ``stale_s``: seconds after which it is marked as stale."""
        then = moment(text or "")
        if then is None:
            return Markup('<span class="age">never</span>')
        now = clock.utc()
        stale = stale_s is not None and (now - then).total_seconds() > stale_s
        return Markup('<time class="age{}" datetime="{}" title="{}"{}>{}</time>').format(
            " stale" if stale else "",
            rfc3339(then),
            exact(then),
            Markup(' data-stale="{}"').format(int(stale_s)) if stale_s is not None else "",
            ago(then, now),
        )

    def static(name: str) -> str:
        return f"/static/{name}?v={assets.static[name].version}"

    app.context_processor(lambda: {"frame": frame()})

    def commands(text: str) -> Markup:
        """A sentence of core: what stands between backticks is to be typed; a time is written for people."""
        text = upright(text)
        parts = text.split("`")
        if len(parts) % 2 == 0:
            parts = [text]
        return Markup("").join(
            Markup("<code>{}</code>").format(part) if at % 2 else _timed(part) for at, part in enumerate(parts)
        )

    def _timed(text: str) -> Markup:
        return Markup("").join(_exact(part) if _TIME.fullmatch(part) else escape(part) for part in _TIME.split(text))

    def shown(value: object) -> object:
        return upright(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    app.jinja_env.finalize = shown
    app.jinja_env.globals.update(when=when, can=_can, static=static, STALE_S=STALE_S)
    app.jinja_env.filters.update(duration=duration, commands=commands, visible=visible)


def framed(section: str) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Where nothing is live but the navigation: a script that asks again gets that, and nothing is compared for it.

    Args:
        section: where in the navigation the page stands.
    """

    def decorate(view: Callable[P, Response]) -> Callable[P, Response]:
        @functools.wraps(view)
        def answered(*args: P.args, **kwargs: P.kwargs) -> Response:
            return alone(section) if access.polls() else view(*args, **kwargs)

        return answered

    return decorate


def alone(section: str) -> Response:
    """The frame around nothing, for a script that asks again."""
    return make_response(render_template("poll.html", section=section))


def _exact(text: str) -> Markup:
    then = moment(text)
    return Markup('<span class="nowrap">{}</span>').format(exact(then)) if then else escape(text)


def _can(power: str) -> bool:
    """Like ``access.can``; nobody can anything where core does not answer."""
    try:
        return access.can(power)
    except SyncsrvError:
        return False


def theme() -> str:
    """What the person chose: light, dark, or empty."""
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in {"light", "dark"} else ""


def _frame(setup: WebSetup, clock: Clock) -> Frame:
    """Also on an error page, where core may not answer: then it has no name and no counts."""
    me, behind, pending, running, wrong = Session(), 0, 0, 0, 0
    try:
        me = access.current()
        if me.person:
            now = access.status()
            services = [*now.services, *(one for peer in now.peers.values() for one in peer.services)]
            behind = max([now.sync.behind, *(peer.behind for peer in now.peers.values())])
            pending = sum(1 for one in services if one.restart_pending)
            running = sum(1 for job in now.jobs if job.state == "running")
            failing = holders.standing(now, clock.utc())
            wrong = failing.wrong if failing is not None else 0
    except SyncsrvError as error:
        current_app.logger.debug("a page without counts: %s", error)
    return Frame(
        setup.node, setup.cluster, __version__, me, behind, pending, running, wrong, theme(), rfc3339(clock.utc())
    )
