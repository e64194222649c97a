"""Parts of the log-in with a clock that is moved by hand and passwords that cost little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.shapes_page import LoginRequest, Session
from syncsrv.control.verbs import Door
from syncsrv.core.devices import Devices
from syncsrv.core.passwords import Cost, Passwords
from syncsrv.core.people import People
from syncsrv.core.sessions import Sessions
from syncsrv.core.weblogin import WebLogin

CHEAP = Cost(rounds=1, memory_kib=64, lanes=1)
SECRET = b"s" * 32
START_UTC = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)


class HandClock:
    """Both halves, moved apart or together."""

    def __init__(self) -> None:
        self.at = 5000.0
        self.now_utc = START_UTC

    def monotonic(self) -> float:
        return self.at

    def utc(self) -> datetime:
        return self.now_utc

    def run(self, seconds: float) -> None:
        """Time passes."""
        self.at += seconds
        self.now_utc += timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.now_utc += timedelta(seconds=seconds)


class Page:
    """The log-in of one node, asked as web asks it."""

    def __init__(self, home: Path, clock: HandClock | None = None, boot: str = "boot-1") -> None:
        self.clock = clock or HandClock()
        self.people = People(home, Passwords(CHEAP))
        self.sessions = Sessions(home / "sessions.json", self.clock, boot)
        self.login_part = WebLogin(self.people, self.sessions, Devices(SECRET), self.clock)

    def caller(self, claim: str | None = None, origin: str = "192.0.2.7") -> Caller:
        """Whom a request counts for."""
        return self.login_part.claim(Caller(Door.WEB, "", via="web", origin=origin), claim)

    def ask(self, verb: str, request: object, claim: str | None = None, origin: str = "192.0.2.7") -> object:
        """Call a verb's handler as core would."""
        return self.login_part.handlers()[verb](self.caller(claim, origin), request, Call(verb, "r"))

    def login(
        self, name: str = "alice", password: str = "correct horse", *, device: str = "", origin: str = "192.0.2.7"
    ) -> Session:
        """Log in."""
        found = self.ask("login", LoginRequest(name, password, device), origin=origin)
        assert isinstance(found, Session)
        return found

    def who(self, session: str) -> str:
        """Whom a session id stands for; empty for nobody."""
        return self.caller(f"session:{session}").person
