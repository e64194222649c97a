"""The page's door of a whole core: who may connect, what nobody, a viewer and an admin may ask, what is kept."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncsrv.cli.main import run
from syncsrv.clock import SystemClock
from syncsrv.control.ask import Client, connect_socket
from syncsrv.control.connection import Connection
from syncsrv.control.errors import NotLoggedInError, SlowDownError
from syncsrv.control.verbs import VERBS, Door
from syncsrv.core.app import App
from syncsrv.core.people import People
from syncsrv.errors import DeniedError, SyncsrvError, UsageError
from tests.core.corekit import CLUSTER
from tests.support.net import accepts, free_port
from tests.support.wait import until

ADDRESS = "192.0.2.7"


def made(home: Path) -> Path:
    """A master made by init, with an admin and a viewer."""
    argv = ["--config", str(home / "conf"), "init", "--node", "fw1", "--role", "master"]
    argv += ["--root", str(home / "root"), "--state-dir", str(home / "state"), "--run-dir", str(home / "run")]
    argv += ["--ssh", f"127.0.0.1:{free_port()}", "--web", f"127.0.0.1:{free_port()}"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(argv) == 0
    (home / "conf/cluster.yaml").write_text(CLUSTER)
    (home / "root/etc").mkdir(parents=True)
    people = People(home / "state")
    people.add("alice", "admin", "correct horse", None)
    people.add("victor", "viewer", "correct horse", None)
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("door"))


@contextlib.contextmanager
def started(home: Path) -> Iterator[App]:
    app = App(home / "conf", SystemClock())
    app.start()
    try:
        yield app
    finally:
        app.stop()


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[App]:
    with started(home) as app:
        yield app


@pytest.fixture
def web(home: Path, app: App) -> Iterator[Connection]:
    with joined(home) as found:
        yield found


@contextlib.contextmanager
def joined(home: Path) -> Iterator[Connection]:
    """As web is connected."""
    found = Connection(connect_socket(home / "run/web.sock"), takes_fds=True)
    found.start()
    try:
        yield found
    finally:
        found.close()


def login(web: Connection, name: str, password: str = "correct horse") -> str:
    body = web.call("login", {"name": name, "password": password}, deadline_s=20, origin=ADDRESS)
    return f"session:{body['session']}"


def ask(web: Connection, verb: str, body: dict[str, Any] | None = None, who: str | None = None) -> dict[str, Any]:
    return web.call(verb, body or {}, deadline_s=20, person=who, origin=ADDRESS)


def test_the_socket_is_for_the_web_process_only(home: Path, app: App) -> None:
    assert (home / "run/web.sock").stat().st_mode & 0o777 == 0o660
    with joined(home) as web, pytest.raises(UsageError, match="does not know it"):
        ask(web, "reload", who=login(web, "alice"))
    with Client(home / "run/core.sock", person="root") as client:
        with pytest.raises(DeniedError, match="it is for web only"):
            client.call("login", {"name": "alice", "password": "correct horse"}, deadline_s=5)
        with pytest.raises(DeniedError, match="it is for web only"):
            client.call("web-setup", {}, deadline_s=5)


def test_before_a_log_in_only_what_needs_nobody_is_answered(web: Connection) -> None:
    for name, verb in VERBS.items():
        if Door.WEB in verb.doors and verb.power:
            for who in (None, "session:forged", "token:forged", "poll:forged", "alice"):
                with pytest.raises(NotLoggedInError):
                    ask(web, name, who=who)
    assert ask(web, "session")["person"] == ""
    setup = ask(web, "web-setup")
    assert "BEGIN CERTIFICATE" in setup["certificate"]


def test_a_role_that_is_lowered_holds_for_whoever_is_logged_in(web: Connection, app: App) -> None:
    app.core.people.add("carol", "admin", "correct horse", None)
    carol = login(web, "carol")
    assert ask(web, "user-list", who=carol)["users"]
    app.core.people.add("carol", "viewer", None, None)
    with pytest.raises(DeniedError, match='cannot do "user-list": it needs the role admin, carol is viewer'):
        ask(web, "user-list", who=carol)
    assert ask(web, "status", who=carol)["node"] == "fw1"
    ask(web, "user-remove", {"name": "carol"}, login(web, "alice"))
    with pytest.raises(NotLoggedInError):
        ask(web, "status", who=carol)


def test_a_password_set_by_an_admin_ends_the_sessions_at_once(web: Connection) -> None:
    victor = login(web, "victor")
    ask(web, "user-passwd", {"name": "victor", "password": "battery staple"}, login(web, "alice"))
    with pytest.raises(NotLoggedInError):
        ask(web, "status", who=victor)
    again = login(web, "victor", "battery staple")
    found = ask(web, "own-password", {"old": "battery staple", "new": "correct horse"}, again)
    with pytest.raises(NotLoggedInError):
        ask(web, "status", who=again)
    assert ask(web, "status", who=f"session:{found['session']}")["node"] == "fw1"


def test_a_token_made_by_an_admin_works_until_it_is_revoked(web: Connection) -> None:
    alice = login(web, "alice")
    token = "token:" + ask(web, "user-token", {"name": "victor"}, alice)["token"]
    assert ask(web, "session", who=token) | {"idle_s": 0} == {
        "session": "",
        "person": "victor",
        "role": "viewer",
        "ends_at": "",
        "idle_s": 0,
        "device": "",
    }
    with pytest.raises(DeniedError):
        ask(web, "user-token", {"name": "alice"}, token)
    ask(web, "user-revoke", {"name": "victor"}, alice)
    with pytest.raises(NotLoggedInError):
        ask(web, "session", who=token)


def test_a_job_says_who_asked_from_where(web: Connection, app: App) -> None:
    alice = login(web, "alice")
    job = ask(web, "act", {"action": "restart-all"}, alice)["job"]
    until(lambda: ask(web, "job", {"job": job}, alice)["state"] == "done")
    found = ask(web, "job", {"job": job}, alice)
    assert (found["requested_by"], found["origin"], found["subject"]) == ("alice", ADDRESS, "fw1")
    (listed,) = (one for one in ask(web, "status", who=alice)["jobs"] if one["job"] == job)
    assert (listed["origin"], listed["results"]) == (ADDRESS, {"fw1": found["nodes"]["fw1"]["result"]})


@pytest.mark.parametrize("origin", ["x" * 65, "a\nb", "\x1b[31m", "\u202e", "\x00"])
def test_an_address_that_could_not_stand_in_a_receipt_is_refused(web: Connection, origin: str) -> None:
    with pytest.raises(UsageError, match="where the request came from"):
        web.call("session", deadline_s=5, origin=origin)


def test_elsewhere_nobody_says_where_a_request_came_from(home: Path, app: App) -> None:
    local = Connection(connect_socket(home / "run/core.sock"))
    local.start()
    try:
        job = ask(local, "act", {"action": "restart-all"}, "bob")["job"]
        until(lambda: ask(local, "job", {"job": job})["state"] == "done")
        found = ask(local, "job", {"job": job})
    finally:
        local.close()
    assert (found["requested_by"], found["origin"]) == ("bob", "cli")


def test_slowing_down_travels_with_its_seconds(web: Connection) -> None:
    said: list[SyncsrvError] = []
    for _ in range(10):
        with pytest.raises(SyncsrvError) as caught:
            web.call("login", {"name": "mallory", "password": "wrong"}, deadline_s=20, origin="203.0.113.66")
        said.append(caught.value)
    assert {one.code for one in said} == {"wrong-password", "slow-down"}
    waits = [one for one in said if isinstance(one, SlowDownError)]
    assert all(1 <= one.retry_s <= 60 and f"in {one.retry_s:.0f} s" in one.remedy for one in waits)


def test_many_questions_fit_through_one_connection(web: Connection) -> None:
    alice = login(web, "alice")
    failed: list[Exception] = []

    def one() -> None:
        try:
            ask(web, "session", who=alice)
        except SyncsrvError as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failed == []


def test_a_restart_keeps_sessions_and_the_end_takes_the_listening_socket_along(tmp_path: Path) -> None:
    home = made(tmp_path)
    with started(home), joined(home) as web:
        alice, bob = login(web, "alice"), login(web, "alice")
        ask(web, "logout", who=bob)
        answer = web.ask("web-setup", deadline_s=10)
        os.close(answer.fds[0])
        port = int(answer.body["listen"].rpartition(":")[2])
        assert accepts(port)
    assert not accepts(port)
    with started(home), joined(home) as web:
        assert ask(web, "session", who=alice)["person"] == "alice"
        with pytest.raises(NotLoggedInError):
            ask(web, "session", who=bob)
        after = ask(web, "web-setup")
        assert {key: after[key] for key in ("digest", "cookie_secret", "fingerprint")} == {
            key: answer.body[key] for key in ("digest", "cookie_secret", "fingerprint")
        }
    (home / "state/sessions.json").write_text("{damaged")
    with started(home), joined(home) as web, pytest.raises(NotLoggedInError):
        ask(web, "session", who=alice)


def test_sighup_takes_a_new_address_at_the_next_question(tmp_path: Path) -> None:
    home = made(tmp_path)
    path = home / "conf/node.yaml"
    with started(home) as app, joined(home) as web:
        before = web.ask("web-setup", deadline_s=10)
        with socket.socket(fileno=before.fds[0]) as listener:
            listening = "{}:{}".format(*listener.getsockname())
        text = path.read_text()
        assert listening in text
        path.write_text(text.replace(listening, f"127.0.0.1:{free_port()}"))
        unchanged = web.ask("web-setup", {"digest": before.body["digest"], "listening": listening}, deadline_s=10)
        assert (unchanged.fds, unchanged.body["listen"]) == ((), "")
        app.reload()
        after = web.ask("web-setup", {"digest": before.body["digest"], "listening": listening}, deadline_s=10)
        assert after.body["listen"] not in {"", listening}
        os.close(after.fds[0])
