"""Daemons, and the managers that run them, for the tests of service control."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from syncsrv.clock import SystemClock
from syncsrv.config.model import Health, ManagerKind, Service
from syncsrv.services.base import Manager, ServiceState, ServiceStatus
from syncsrv.services.command import Commands
from syncsrv.services.control import Services
from syncsrv.services.supervisor import Supervisor
from syncsrv.services.systemd import Systemd
from tests.support.wait import until

PROGRAMS = Path(__file__).parent / "programs"


class HandClock:
    """A clock that stands until it is moved; as a pause it moves itself."""

    def __init__(self, monotonic: float = 1000.0) -> None:
        self.now = monotonic
        self.began_utc = datetime(2026, 11, 23, 2, 0, tzinfo=UTC) - timedelta(seconds=monotonic)

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return self.began_utc + timedelta(seconds=self.now)

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Remembered:
    """A ReloadLog that forgets with the test."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def get(self, name: str) -> float | None:
        return self.times.get(name)

    def put(self, name: str, epoch_s: float) -> None:
        self.times[name] = epoch_s


@dataclass
class Fake:
    """What FakeManager knows of a service."""

    state: ServiceState = ServiceState.STOPPED
    pid: int | None = None
    reason: str = ""
    fails: bool = False
    dies_on_reload: bool = False
    reloads: bool = True
    started_at: float | None = None
    restarts: int | None = None


@dataclass
class FakeManager:
    """A manager without processes that keeps the contract of test_contract.py; ``calls`` is what it was told."""

    fakes: dict[str, Fake]
    calls: list[tuple[str, str]] = field(default_factory=list)
    next_pid: int = 100

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        return {
            name: ServiceStatus(
                name,
                fake.state,
                pid=fake.pid,
                reason=fake.reason,
                started_at=fake.started_at,
                restarts=fake.restarts,
            )
            for name, fake in self.fakes.items()
            if name in services
        }

    def can_reload(self, name: str, service: Service) -> bool:
        return self.fakes[name].reloads

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        self.calls.append(("start", name))
        self._run(name)

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        self.calls.append(("stop", name))
        self.fakes[name].state, self.fakes[name].pid = ServiceState.STOPPED, None

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        self.calls.append(("restart", name))
        self._run(name)

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        self.calls.append(("reload", name))
        fake = self.fakes[name]
        if fake.dies_on_reload:
            fake.state, fake.pid, fake.reason = ServiceState.FAILED, None, "it ended by itself with status 1"

    def last_words(self, name: str, service: Service) -> str:
        return f"last words of {name}"

    def defines(self, path: str) -> bool:
        return path.startswith("/etc/fake/")

    def read_definitions(self, deadline_s: float) -> None:
        self.calls.append(("read", "definitions"))

    def _run(self, name: str) -> None:
        fake = self.fakes[name]
        if fake.fails:
            fake.state, fake.pid, fake.reason = ServiceState.FAILED, None, "it ended by itself with status 1"
            return
        self.next_pid += 1
        fake.state, fake.pid, fake.reason = ServiceState.RUNNING, self.next_pid, ""


def command(**more: Any) -> Service:
    """A service of the kind ``command``; FakeManager does not look at its argv."""
    given = {"manager": "command", "start": ["a"], "stop": ["b"], "status": ["c"], "health": {"exec": ["/bin/true"]}}
    return Service.model_validate(given | more)


def controlled(manager: Manager, services: Mapping[str, Service], **more: Any) -> Services:
    """Services over one manager of the kind ``command`` with a clock that runs by itself when waited for."""
    clock = HandClock()
    given: dict[str, Any] = {"node": "fw1", "reloads": Remembered(), "pause": clock.pause} | more
    return Services(services, {ManagerKind.COMMAND: manager}, clock, **given)


@dataclass
class Bench:
    """One daemon under one manager.

    Attributes:
        folder: the daemon's, with ``conf`` and ``loaded``.
        service: as cluster.yaml would have it.
        kind: its manager's kind.
        manager: its manager.
        absent: a service that the manager does not have.
    """

    folder: Path
    service: Service
    kind: ManagerKind
    manager: Manager
    absent: Service

    def conf(self, text: str) -> None:
        """Give the daemon another configuration, on the disk only."""
        (self.folder / "conf").write_text(text)

    def loaded(self) -> tuple[int, str]:
        """The pid of the daemon that last loaded its configuration, and what that was."""
        pid, _, text = (self.folder / "loaded").read_text().partition(" ")
        return int(pid), text

    def services(self, **more: Any) -> Services:
        """Control over the daemon by the name ``d``, and over the absent one as ``absent``."""
        given: dict[str, Any] = {"node": "fw1", "reloads": Remembered(), "action_s": 10.0} | more
        configured = {"d": self.service, "absent": self.absent}
        return Services(configured, {self.kind: self.manager}, SystemClock(), **given)

    def end(self) -> None:
        """Kill the daemon, whoever watches it."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.loaded()[0], signal.SIGKILL)


def _daemon(folder: Path) -> list[str]:
    return [sys.executable, "-ES", str(PROGRAMS / "daemon.py"), str(folder)]


def _loaded(folder: Path) -> Health:
    """The daemon is well once it has loaded its configuration: from then on it also takes signals."""
    return Health.model_validate({"exec": ["/bin/test", "-e", str(folder / "loaded")], "within": 10})


def _folder(tmp: Path) -> Path:
    folder = tmp / "d"
    folder.mkdir()
    (folder / "conf").write_text("one")
    return folder


@contextlib.contextmanager
def command_bench(tmp: Path) -> Iterator[Bench]:
    """The daemon under commands of its own."""
    folder = _folder(tmp)
    verbs: dict[str, Any] = {
        verb: (sys.executable, "-ES", str(PROGRAMS / "ctl.py"), verb, str(folder))
        for verb in ("start", "stop", "reload", "status")
    }
    service = Service(manager=ManagerKind.COMMAND, health=_loaded(folder), **verbs)
    nothing = (str(tmp / "no-such-program"),)
    absent = Service(manager=ManagerKind.COMMAND, start=nothing, stop=nothing, status=nothing, health=_loaded(folder))
    bench = Bench(folder, service, ManagerKind.COMMAND, Commands("fw1", tmp / "logs", SystemClock()), absent)
    try:
        yield bench
    finally:
        bench.end()


@contextlib.contextmanager
def systemd_bench(tmp: Path) -> Iterator[Bench]:
    """The daemon under the systemctl of programs/."""
    folder = _folder(tmp)
    (tmp / "units.json").write_text(
        json.dumps(
            {
                "d.service": {"argv": _daemon(folder), "reload": True},
                "masked.service": {"argv": [], "masked": True},
                "hang.service": {"argv": [], "hang": True},
            }
        )
    )
    program = tmp / "systemctl"
    program.write_text(f"#!{sys.executable} -ES\n{(PROGRAMS / 'systemctl.py').read_text()}")
    journal = tmp / "journalctl"
    journal.write_text(f'#!/bin/sh\nfor word; do :; done\ncat "{tmp}/${{word#--unit=}}.journal" 2>/dev/null\n')
    for one in (program, journal):
        one.chmod(0o755)
    service = Service(manager=ManagerKind.SYSTEMD, unit="d.service", health=_loaded(folder))
    absent = Service(manager=ManagerKind.SYSTEMD, unit="absent.service", health=_loaded(folder))
    bench = Bench(folder, service, ManagerKind.SYSTEMD, Systemd(SystemClock(), str(program), str(journal)), absent)
    try:
        yield bench
    finally:
        bench.end()
        state = tmp / "d.service.state"
        until(lambda: not state.exists() or json.loads(state.read_text())["pid"] == 0, what="the end of the daemon")


@contextlib.contextmanager
def supervisord(tmp: Path, programs: Mapping[str, Mapping[str, str]]) -> Iterator[Path]:
    """A real supervisord with these programs; yields its socket.

    Args:
        tmp: a folder with a short path: the socket's is limited to 107 bytes.
        programs: by name, the settings of each.
    """
    socket, config = tmp / "sup.sock", tmp / "supervisord.conf"
    lines = [
        "[unix_http_server]",
        f"file={socket}",
        "[supervisord]",
        f"logfile={tmp}/supervisord.log",
        f"pidfile={tmp}/supervisord.pid",
        f"childlogdir={tmp}",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for name, settings in programs.items():
        lines += [f"[program:{name}]", *(f"{key}={value}" for key, value in settings.items())]
    config.write_text("\n".join(lines) + "\n")
    child = subprocess.Popen(
        [sys.executable, "-Es", "-m", "supervisor.supervisord", "-n", "-c", str(config)],
        env={"PATH": os.defpath},  # with PYTHONWARNINGS=error every call of supervisor breaks
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    supervisor = Supervisor(socket, SystemClock())
    configured = {name: Service(manager=ManagerKind.SUPERVISOR, program=name) for name in programs}
    try:
        until(socket.exists, what="supervisord's socket")
        yield socket
    finally:
        pids = [status.pid for status in supervisor.statuses(configured, 5).values() if status.pid]
        child.kill()  # asked to end by itself it takes its ticks of a second, and each program's stopwaitsecs
        child.wait(20)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def supervisor_bench(tmp: Path) -> Iterator[Bench]:
    """The daemon under a real supervisord."""
    folder = _folder(tmp)
    settings = {
        "command": " ".join(_daemon(folder)),
        "autostart": "false",
        "autorestart": "false",
        "startsecs": "0",
        "stopwaitsecs": "2",
    }
    with supervisord(tmp, {"d": settings}) as socket:
        service = Service(manager=ManagerKind.SUPERVISOR, program="d", health=_loaded(folder))
        absent = Service(manager=ManagerKind.SUPERVISOR, program="absent", health=_loaded(folder))
        yield Bench(folder, service, ManagerKind.SUPERVISOR, Supervisor(socket, SystemClock()), absent)


BENCHES = {"supervisor": supervisor_bench, "command": command_bench, "systemd": systemd_bench}
