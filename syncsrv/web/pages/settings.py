"""Settings: what is in force and where it stands, what is done by the clock, oneself, and for admins the users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from syncsrv.control.ask import CoreAwayError
from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.shapes_page import (
    OwnPasswordRequest,
    ScheduleSetRequest,
    SchedulesReply,
    Session,
    SettingsReply,
)
from syncsrv.control.shapes_people import PasswordRequest, TokenReply, UserAddRequest, UserRequest, UsersReply
from syncsrv.errors import DeniedError, SyncsrvError, UsageError
from syncsrv.web import access, failures
from syncsrv.web.access import needs
from syncsrv.web.once import Once
from syncsrv.web.views import settings as views

blueprint = Blueprint("settings", __name__)
blueprint.record_once(
    lambda state: state.app.extensions.update({"syncsrv-once": Once(state.app.extensions["syncsrv-clock"])})
)

ROLES = ("viewer", "operator", "admin")
DONE = {
    "password": "You have another password. You are logged out everywhere else.",
    "schedule": "The schedule is switched.",
    "user": "The user is saved.",
    "removed": "The user is removed, with keys, tokens and log-ins.",
    "user-password": "The user has another password, and is logged out everywhere.",
    "revoked": "No token of the user is good any more.",
    "token": "A token was made and shown once. Where it was not read, revoke the user's tokens and make another.",
}
"""What a form did, by the word in the address that follows it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A form that core did not accept.

    Attributes:
        form: which one.
        message, remedy: why, and what to do.
        name, role, ssh_key: what was typed into it; a password never is.
    """

    form: str
    message: str
    remedy: str
    name: str = ""
    role: str = ""
    ssh_key: str = ""


@blueprint.get("/settings")
@needs("viewer")
def settings() -> Response:
    """All of it; ``?done=`` says what the last form did, ``?made=`` is a token that was not read yet."""
    made = request.args.get("made", "")
    found = _once().take(made, access.current().person) if made and not access.polls() else None
    if found is not None:
        return _page(token_of=found[0], token=found[1])
    return _page(done=DONE.get(request.args.get("done", ""), ""))


@blueprint.post("/settings/password")
@needs("viewer")
def own_password() -> Response:
    """Another password for oneself; the log-in of this browser goes on under a new id."""

    def change() -> Response:
        new = _repeated()
        session: Session = access.ask("own-password", OwnPasswordRequest(request.form.get("old", ""), new))
        access.note(session)
        return _done("password")

    return _tried("password", change)


@blueprint.post("/settings/schedule")
@needs("admin")
def schedule() -> Response:
    """Turn a schedule of cluster.yaml on or off: the very one that was shown."""
    name, digest = request.form.get("name", ""), request.form.get("digest", "")

    def switch() -> Response:
        access.ask("schedule-set", ScheduleSetRequest(name, request.form.get("do") == "on", digest))
        return _done("schedule", "schedules")

    return _tried("schedule", switch)


@blueprint.post("/settings/users")
@needs("admin")
def user() -> Response:
    """Make a user, or give one another role, password or one more key."""
    form = request.form

    def add() -> Response:
        password = _repeated() if form.get("new") or form.get("again") else None
        key = form.get("ssh_key", "").strip() or None
        access.ask("user-add", UserAddRequest(form.get("name", "").strip(), form.get("role", ""), password, key))
        return _done("user", "users")

    return _tried("user", add)


@blueprint.post("/settings/users/remove")
@needs("admin")
def remove_user() -> Response:
    """Remove a user."""

    def remove() -> Response:
        access.ask("user-remove", UserRequest(request.form.get("name", "")))
        return _done("removed", "users")

    return _tried("remove", remove)


@blueprint.post("/settings/users/password")
@needs("admin")
def user_password() -> Response:
    """Give a user another password."""

    def change() -> Response:
        access.ask("user-passwd", PasswordRequest(request.form.get("name", ""), _repeated()))
        return _done("user-password", "users")

    return _tried("user-password", change)


@blueprint.post("/settings/users/token")
@needs("admin")
def token() -> Response:
    """Make a token for the API; the page that follows shows it this once, and a reload of that makes no other."""

    def make() -> Response:
        name = request.form.get("name", "")
        made: TokenReply = access.ask("user-token", UserRequest(name))
        waits = _once().put(access.current().person, name, made.token)
        return redirect(url_for("settings.settings", done="token", made=waits), 303)

    return _tried("token", make)


@blueprint.post("/settings/users/revoke")
@needs("admin")
def revoke() -> Response:
    """No token of a user is good any more."""

    def do() -> Response:
        access.ask("user-revoke", UserRequest(request.form.get("name", "")))
        return _done("revoked", "users")

    return _tried("revoke", do)


def _tried(form: str, work: Callable[[], Response]) -> Response:
    """What the form does; where core does not accept it, the page again with why beside the form."""
    try:
        return work()
    except (NotLoggedInError, DeniedError, CoreAwayError, SlowDownError):
        raise
    except SyncsrvError as error:
        typed = request.form
        failed = Failed(
            form,
            error.message,
            error.remedy,
            typed.get("name", "")[:64],
            typed.get("role", "")[:20],
            typed.get("ssh_key", "")[:2000],
        )
        return _page(failed=failed, status=failures.status_of(error))


def _once() -> Once:
    found: Once = current_app.extensions["syncsrv-once"]
    return found


def _repeated() -> str:
    """The new password, typed twice alike.

    Raises:
        UsageError: the two differ.
    """
    new = request.form.get("new", "")
    if new != request.form.get("again", ""):
        raise UsageError("cannot set the password: the two that were typed differ", "type the new one twice alike")
    return new


def _done(word: str, part: str = "") -> Response:
    return redirect(url_for("settings.settings", done=word, _anchor=part or None), 303)


def _page(
    *, done: str = "", failed: Failed | None = None, token: str = "", token_of: str = "", status: int = 200
) -> Response:
    found: SettingsReply = access.ask("settings")
    timed: SchedulesReply = access.ask("schedules")
    users: UsersReply = access.ask("user-list") if access.can("admin") else UsersReply(())
    html = render_template(
        "settings.html",
        found=found,
        groups=views.groups(found.settings),
        own=[one for one in timed.schedules if not one.digest],
        schedules=[one for one in timed.schedules if one.digest],
        users=users.users,
        roles=ROLES,
        done=done,
        failed=failed,
        token=token,
        token_of=token_of,
        master=access.status().role == "master",
    )
    return make_response(html, status)
