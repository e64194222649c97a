"""What is particular to supervisor, with a real supervisord; what it shares with others is in test_contract.py."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import ManagerKind, Service
from syncsrv.services.base import ServiceActionError, ServiceState, ServiceStatus
from syncsrv.services.supervisor import Supervisor
from tests.services.kit import PROGRAMS, supervisord
from tests.support.wait import until

PYTHON = f"{sys.executable} -ES"


def program(name: str) -> Service:
    return Service(manager=ManagerKind.SUPERVISOR, program=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sup")


@pytest.fixture(scope="module")
def supervisor(folder: Path) -> Iterator[Supervisor]:
    sleeps = f"{PYTHON} -c 'import signal; signal.pause()'"
    ends = f"""{PYTHON} -c 'import sys; print("out of luck"); sys.exit("line 3: bad word")'"""
    manual = {"autostart": "false"}
    (folder / "d").mkdir()
    (folder / "d" / "conf").write_text("deaf")
    programs = {
        "sleeps": {"command": sleeps, "startsecs": "0"},
        "slow": {"command": sleeps, "startsecs": "60", "exitcodes": "0"},
        "ends": {"command": ends, "startsecs": "1", "startretries": "0"} | manual,
        "again": {"command": ends, "startsecs": "1", "startretries": "1000"},
        "leaves": {"command": f"{PYTHON} -c 'raise SystemExit(0)'", "startsecs": "0", "autorestart": "unexpected"},
        "breaks": {"command": f"{PYTHON} -c 'raise SystemExit(4)'", "startsecs": "0", "autorestart": "false"},
        "absent": {"command": "/no/such/program"} | manual,
        "deaf": {
            "command": f"{PYTHON} {PROGRAMS}/daemon.py {folder}/d",
            "startsecs": "0",
            "stopwaitsecs": "30",
        }
        | manual,
    }
    with supervisord(folder, programs) as path:
        yield Supervisor(path, SystemClock())


def read(supervisor: Supervisor, name: str) -> ServiceStatus:
    return supervisor.statuses({name: program(name)}, 5)[name]


def test_supervisors_states_in_our_words(supervisor: Supervisor) -> None:
    assert until(lambda: read(supervisor, "sleeps").state is ServiceState.RUNNING)
    assert read(supervisor, "sleeps:sleeps").pid == read(supervisor, "sleeps").pid
    until(lambda: read(supervisor, "slow").state is ServiceState.STARTING)
    slow = read(supervisor, "slow")
    assert slow.pid
    assert "startsecs" in slow.reason
    until(lambda: read(supervisor, "again").reason.startswith("it ends too soon and is tried again: "))
    assert read(supervisor, "again").state is ServiceState.STARTING
    until(lambda: read(supervisor, "leaves").reason == "it ended by itself with status 0")
    assert read(supervisor, "leaves").state is ServiceState.STOPPED
    until(lambda: read(supervisor, "breaks").reason == "it ended by itself with status 4")
    assert read(supervisor, "breaks").state is ServiceState.FAILED
    assert read(supervisor, "ends").state is ServiceState.STOPPED
    gone = read(supervisor, "gone")
    assert (gone.state, gone.reason) == (ServiceState.MISSING, "supervisor has no program gone")


def test_one_that_ends_too_soon_fails_with_its_last_words_and_is_then_failed(supervisor: Supervisor) -> None:
    with pytest.raises(ServiceActionError) as caught:
        supervisor.start("s", program("ends"), 20)
    assert str(caught.value) == "cannot start service s: it ended too soon after its start"
    assert caught.value.output == "line 3: bad word\nout of luck"
    until(lambda: read(supervisor, "ends").state is ServiceState.FAILED)
    assert read(supervisor, "ends").reason.startswith("supervisor has given up: ")


def test_restart_of_one_in_backoff_is_tried_and_fails_by_its_own_name(supervisor: Supervisor) -> None:
    until(lambda: read(supervisor, "again").state is ServiceState.STARTING)
    with pytest.raises(ServiceActionError, match="cannot restart service s: it ended too soon after its start"):
        supervisor.restart("s", program("again"), 20)


def test_a_program_that_cannot_be_executed_says_so(supervisor: Supervisor) -> None:
    with pytest.raises(ServiceActionError, match=r"cannot start service s: its program cannot be executed: .*no/such"):
        supervisor.start("s", program("absent"), 20)


def test_unknown_programs_are_named(supervisor: Supervisor) -> None:
    act: Callable[[str, Service, float], None]
    for act in (supervisor.start, supervisor.stop, supervisor.reload, supervisor.restart):
        with pytest.raises(ServiceActionError, match="service s: supervisor has no program gone"):
            act("s", program("gone"), 20)


def test_a_stop_that_takes_too_long_ends_at_the_deadline_and_blocks_no_reading(
    supervisor: Supervisor, folder: Path
) -> None:
    supervisor.start("s", program("deaf"), 20)
    until((folder / "d" / "loaded").exists)
    try:
        with pytest.raises(
            ServiceActionError, match=r"cannot stop service s: supervisor at .*: no answer within 0.5 s"
        ):
            supervisor.stop("s", program("deaf"), 0.5)
        status = read(supervisor, "deaf")
        assert (status.state, status.reason) == (ServiceState.RUNNING, "it is being stopped")
    finally:
        os.kill(int((folder / "d" / "loaded").read_text().split()[0]), 9)


def away(path: Path) -> ServiceStatus:
    return Supervisor(path, SystemClock()).statuses({"s": program("s")}, 0.5)["s"]


def test_without_supervisord_everything_is_unknown(short_tmp: Path) -> None:
    status = away(short_tmp / "none.sock")
    assert status.state is ServiceState.UNKNOWN
    assert "No such file or directory" in status.reason
    supervisor = Supervisor(short_tmp / "none.sock", SystemClock())
    with pytest.raises(ServiceActionError, match=r"cannot start service s: supervisor at .*/none.sock: .*No such file"):
        supervisor.start("s", program("s"), 1)
    assert supervisor.last_words("s", program("s")) == ""


def test_a_path_that_is_too_long_for_a_socket_is_unknown(tmp_path: Path) -> None:
    assert "too long" in away(tmp_path / ("x" * 120)).reason


def test_a_supervisord_that_ended_without_removing_its_socket_is_unknown(short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_tmp / "s"))
    assert "refused" in away(short_tmp / "s").reason


@contextlib.contextmanager
def answering(path: Path, answer: bytes, *, drip: bool = False) -> Iterator[None]:
    """One client is told ``answer`` on a Unix socket; then silence, or a drip of bytes."""
    over = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(answer)
            while drip and not over.wait(0.02):
                connection.sendall(b" ")
            over.wait(10)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    "answer, drip, reason",
    [
        (b"", False, "no answer within 0.5 s"),
        (OK % 100000, True, "no answer within 0.5 s"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", False, "it answered 401 Unauthorized"),
        (b"SSH-2.0-x\r\n\r\n", False, ""),
        (OK % 4 + b"<a/>", False, "its answer is no XML-RPC"),
        (OK % 3 + b"<a>", False, "its answer is no XML-RPC"),
    ],
)
def test_what_does_not_speak_supervisors_protocol_is_unknown(
    short_tmp: Path, answer: bytes, drip: bool, reason: str
) -> None:
    with answering(short_tmp / "s", answer, drip=drip):
        status = away(short_tmp / "s")
    assert status.state is ServiceState.UNKNOWN
    assert status.reason.startswith("cannot ask supervisor at ")
    assert reason in status.reason
