"""The web process by itself, over a core that is the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from syncsrv.control.dispatch import Call, Caller
from syncsrv.control.errors import NotLoggedInError
from syncsrv.control.serve import Server
from syncsrv.control.shapes_page import Session, WebSetup, WebSetupRequest
from syncsrv.control.verbs import VERBS, Door
from syncsrv.errors import SyncsrvError
from tests.support.wait import until
from tests.web.certificates import self_signed

TOP = Path(__file__).parents[2]
WEB = Caller(Door.WEB, "", via="web")


@dataclass
class Core:
    """What web is told."""

    setup_: WebSetup
    log: Path
    listeners: list[socket.socket] = field(default_factory=list)
    refuse: SyncsrvError | None = None
    asked: list[WebSetupRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Server(VERBS, {"web-setup": self.setup, "session": self.session}, node="fw1", version="1.0")
        self.ours, theirs = socket.socketpair()
        argv = [
            sys.executable,
            "-Es",
            "-m",
            "syncsrv.web.main",
            "--links-fd",
            str(theirs.fileno()),
            "--again-s",
            "0.3",
            "web",
        ]
        with theirs, self.log.open("ab") as log:
            self.web = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=TOP
            )

    def setup(self, caller: Caller, request: WebSetupRequest, call: Call) -> WebSetup:
        self.asked.append(request)
        if self.refuse is not None:
            raise self.refuse
        if request.listening != self.setup_.listen:
            call.reply_fds.extend(os.dup(listener.fileno()) for listener in self.listeners)
        return self.setup_

    def session(self, caller: Caller, request: object, call: Call) -> Session:
        raise NotLoggedInError("cannot do this: nobody is logged in")

    def hand_over(self) -> None:
        """Be there, and give web the connections that it asks for."""
        threading.Thread(target=self._supervise, daemon=True).start()

    def _supervise(self) -> None:
        with contextlib.suppress(OSError):  # it is over
            while self.ours.recv(1):
                web, core = socket.socketpair()
                self.server.start_socket(core, WEB)
                with web:
                    socket.send_fds(self.ours, [b"c"], [web.fileno()])

    def ended(self) -> tuple[int, str]:
        """Exit status and what it logged."""
        status = self.web.wait(30)
        said = self.log.read_text()
        assert "Traceback" not in said
        return status, said

    def up(self) -> None:
        until(lambda: "the page is at" in self.log.read_text(), 20, "the page")

    def end_supervisor(self) -> None:
        with contextlib.suppress(OSError):  # it is the second time
            self.ours.shutdown(socket.SHUT_RDWR)
        self.ours.close()

    def close(self) -> None:
        self.web.kill()
        self.web.wait(10)
        self.end_supervisor()
        self.server.close()
        for listener in self.listeners:
            listener.close()


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    listener = socket.create_server(("127.0.0.1", 0))
    certificate, key = self_signed("fw1")
    setup = WebSetup(
        "one",
        node="fw1",
        cluster="edge",
        listen=f"127.0.0.1:{listener.getsockname()[1]}",
        certificate=certificate,
        key=key,
        fingerprint="SHA256:x",
        cookie_secret="secret",
    )
    made = Core(setup, tmp_path / "log", [listener])
    yield made
    made.close()


def test_it_waits_for_core_and_ends_when_told(core: Core) -> None:
    until(lambda: caught(core.web.pid, signal.SIGTERM), 20, "it to be ready for a signal")
    core.web.terminate()
    assert core.ended() == (0, "")


def test_who_is_told_again_while_it_ends_says_nothing_of_it(core: Core) -> None:
    until(lambda: caught(core.web.pid, signal.SIGTERM), 20, "it to be ready for a signal")
    core.end_supervisor()

    def ended() -> bool:
        core.web.terminate()
        return core.web.poll() is not None

    until(ended, 20, "its end")
    assert core.ended() == (0, "")


def caught(pid: int, number: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")]
    return bool(mask >> (number - 1) & 1)


def test_it_ends_when_the_supervisor_does_before_there_is_a_core(core: Core) -> None:
    core.end_supervisor()
    assert core.ended() == (0, "")


def test_it_ends_when_the_supervisor_does(core: Core) -> None:
    core.hand_over()
    core.up()
    core.end_supervisor()
    status, said = core.ended()
    assert status == 0
    assert "https://127.0.0.1:" in said


def test_what_core_refuses_is_said_and_ends_it(core: Core) -> None:
    core.refuse = SyncsrvError("cannot serve the page at 127.0.0.1:1: taken", "end what listens there")
    core.hand_over()
    status, said = core.ended()
    assert status == 1
    assert "cannot serve the page at 127.0.0.1:1: taken; end what listens there" in said


def test_a_certificate_that_is_none_is_said_and_ends_it(core: Core) -> None:
    core.setup_ = replace(core.setup_, key=self_signed("other")[1])
    core.hand_over()
    status, said = core.ended()
    assert status == 1
    assert "cannot use the certificate of the page" in said
    assert "PRIVATE" not in said


def test_no_socket_is_said_and_ends_it(core: Core) -> None:
    for listener in core.listeners:
        listener.close()
    core.listeners.clear()
    core.hand_over()
    status, said = core.ended()
    assert status == 1
    assert "core sent 0 sockets instead of one" in said


def test_a_core_that_ends_at_once_is_said_and_ends_it(core: Core) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(core.ours, [b"c"], [theirs.fileno()])
    status, said = core.ended()
    assert status == 1
    assert "cannot go on with this connection" in said


def test_it_asks_again_and_begins_anew_when_something_is_different(core: Core) -> None:
    core.hand_over()
    core.up()
    until(lambda: len(core.asked) >= 2, 20, "it to ask again")
    assert core.asked[:2] == [WebSetupRequest(), WebSetupRequest("one", core.setup_.listen)]
    assert core.web.poll() is None
    core.setup_ = replace(core.setup_, digest="two", cluster="other")
    status, said = core.ended()
    assert status == 0
    assert "beginning anew" in said


def test_sighup_is_not_for_it_and_sigterm_ends_it_also_while_clients_hang(core: Core) -> None:
    core.hand_over()
    core.up()
    core.web.send_signal(signal.SIGHUP)
    port = int(core.setup_.listen.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)).sendall(b"\x16\x03\x01")
        core.web.terminate()
        status, _ = core.ended()
        assert status == 0
