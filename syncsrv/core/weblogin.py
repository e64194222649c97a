"""Log-in to the page: whom a session or a token stands for, and the verbs around it (DESIGN 4.6).

Web holds no authority: with each request it sends ``session:ID`` or ``token:TOKEN`` as it got it from the browser, and
who that is, with which role, is looked up here each time; so what changes about a user holds at once. ``poll:ID`` is a
session that a page sends by itself: nobody is at the keyboard for it, and it does not count as use.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

from syncsrv.clock import Clock, rfc3339
from syncsrv.control.dispatch import Call, Caller, Handler, named_person
from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.shapes import Empty
from syncsrv.control.shapes_page import LoginRequest, LogoutRequest, OwnPasswordRequest, Session
from syncsrv.control.verbs import Door
from syncsrv.core.devices import Devices
from syncsrv.core.people import People, User
from syncsrv.core.sessions import IDLE_S, Sessions
from syncsrv.core.throttle import Throttle, Try, Wait, source_of
from syncsrv.errors import SyncsrvError, UsageError

log = logging.getLogger(__name__)

OWN = "own password"
"""The bucket of wrong old passwords of somebody who is logged in already."""


class WrongPasswordError(SyncsrvError):
    """Name and password do not belong together; which of them is wrong is not said."""

    code = "wrong-password"

    def __init__(self) -> None:
        super().__init__(
            "cannot log in: name or password is wrong",
            "on the node itself, `syncsrv user passwd NAME` sets another password",
        )


class WebLogin:
    """The log-in of the page.

    Args:
        people: the users.
        sessions: who is logged in.
        devices: which browsers did so before.
        clock: only its monotonic half.
    """

    def __init__(self, people: People, sessions: Sessions, devices: Devices, clock: Clock) -> None:
        self._people = people
        self._sessions = sessions
        self._devices = devices
        self._clock = clock
        self._throttle = Throttle()

    def claim(self, caller: Caller, claim: str | None) -> Caller:
        """Core's Claim: on the page's door a credential, elsewhere a name.

        A credential that is not, or no longer, good leaves nobody: whoever only wants to log in may.
        """
        if caller.door is not Door.WEB:
            return named_person(caller, claim)
        if not claim:
            return caller
        caller = replace(caller, credential=claim)
        user = self._user(claim)
        return caller if user is None else replace(caller, power=user.role.value, person=user.name)

    def handlers(self) -> Mapping[str, Handler]:
        """Verb name to method."""
        return {
            "login": self._login,
            "session": self._session,
            "logout": self._logout,
            "own-password": self._own_password,
        }

    def ended(self, name: str) -> None:
        """A user was removed or has another password: no session outlives that."""
        self._sessions.end_all(name)

    def _user(self, credential: str) -> User | None:
        kind, _, secret = credential.partition(":")
        if kind == "token":
            return self._people.by_token(secret)
        if kind not in {"session", "poll"}:
            return None
        record = self._sessions.use(secret, touch=kind == "session")
        if record is None:
            return None
        user = self._people.find(record.person)
        if user is None or user.stamp != record.stamp:
            self._sessions.end(secret)
            return None
        return user

    def _login(self, caller: Caller, request: LoginRequest, call: Call) -> Session:
        device = self._devices.known(request.device, request.name)
        user = self._tried(caller, request.name, request.password, device)
        if user is None:
            self._failed(caller, request.name)
            raise WrongPasswordError
        before = _session_of(caller.credential)
        if before:
            self._sessions.end(before)
        log.info("%s logged in to the page from %s", user.name, caller.came_from)
        return replace(self._begun(user), device=request.device if device else self._devices.issue(user.name))

    def _session(self, caller: Caller, request: Empty, call: Call) -> Session:
        """Who asks, with another session id where it is time for that."""
        if not caller.person:
            if caller.credential:
                raise not_logged_in()
            return Session()
        secret = _session_of(caller.credential)
        record = self._sessions.use(secret, touch=False) if secret else None
        if record is None:
            return Session(person=caller.person, role=caller.power)
        polled = caller.credential.startswith("poll:")
        secret = secret if polled else self._sessions.rotate(secret)
        return Session(secret, caller.person, caller.power, rfc3339(record.ends_utc), IDLE_S)

    def _logout(self, caller: Caller, request: LogoutRequest, call: Call) -> Empty:
        if not caller.person:
            raise not_logged_in()
        self._sessions.end(_session_of(caller.credential))
        if request.everywhere:
            self._sessions.end_all(caller.person)
        log.info("%s logged out%s", caller.person, " everywhere" if request.everywhere else "")
        return Empty()

    def _own_password(self, caller: Caller, request: OwnPasswordRequest, call: Call) -> Session:
        """Another password for oneself; every session ends but this one, which goes on under another id."""
        if not _session_of(caller.credential):
            raise UsageError("cannot set the password: a token does not do that", "log in with the old password")
        user = self._tried(caller, caller.person, request.old, OWN)
        if user is None:
            self._failed(caller, caller.person)
            raise UsageError("cannot set the password: the old one is wrong", "give the one that you logged in with")
        self._people.set_password(user.name, request.new)
        self._sessions.end_all(user.name)
        log.info("%s set another password from %s", user.name, caller.came_from)
        changed = self._people.find(user.name)
        if changed is None:
            raise not_logged_in()
        return self._begun(changed)

    def _begun(self, user: User) -> Session:
        secret, record = self._sessions.issue(user.name, user.stamp)
        return Session(secret, user.name, user.role.value, rfc3339(record.ends_utc), IDLE_S)

    def _tried(self, caller: Caller, name: str, password: str, device: str) -> User | None:
        """The user whose password this is; None where it is nobody's.

        Raises:
            SlowDownError: it is not looked at yet.
        """
        tried = self._throttle.begin(name, source_of(caller.origin), device, self._clock.monotonic())
        if isinstance(tried, Wait):
            seconds = math.ceil(round(tried.seconds, 3))
            log.debug("a password from %s has to wait %d s", caller.came_from, seconds)
            raise SlowDownError(
                f"cannot look at the password: too many were wrong, the next one is looked at in {seconds} s",
                f"try again in {seconds} s",
                float(seconds),
            )
        return self._looked_at(tried, name, password)

    def _looked_at(self, tried: Try, name: str, password: str) -> User | None:
        try:
            checked = self._people.check(name, password, known=tried.known)
        except SlowDownError:
            self._throttle.not_looked_at(tried)
            raise
        if checked is None:
            return None
        self._throttle.right(tried, self._clock.monotonic())
        if checked.former_stamp:
            self._sessions.restamp(name, checked.former_stamp, checked.user.stamp)
        return checked.user

    def _failed(self, caller: Caller, name: str) -> None:
        known = self._people.find(name) is not None
        # What was typed for a name may be a password.
        who = name if known else f"a name that no user has ({len(name)} characters)"
        log.warning("wrong password for %s from %s", who, caller.came_from)


def not_logged_in() -> NotLoggedInError:
    """The session has ended, or there was none."""
    return NotLoggedInError("cannot do this: nobody is logged in, or the log-in has ended", "log in again")


def _session_of(credential: str) -> str:
    """The id in it; empty where it is none."""
    kind, _, secret = credential.partition(":")
    return secret if kind in {"session", "poll"} else ""
