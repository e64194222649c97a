"""Services under supervisord: XML-RPC over its Unix socket, with deadlines.

A connection of our own each call: the standard library's ServerProxy is not thread-safe and knows no deadline, and
importing supervisor itself costs 58 ms. Speaks to supervisor 3 and 4. Its BACKOFF (it exits too soon and is being
tried again) and FATAL (given up) are states of the service, no errors.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias
from xml.parsers.expat import ExpatError

from syncsrv.clock import Clock
from syncsrv.config.model import Service
from syncsrv.errors import SyncsrvError
from syncsrv.services.base import WORDS_LINES, Action, ServiceActionError, ServiceState, ServiceStatus, unknown
from syncsrv.services.dial import cut_off
from syncsrv.services.procfs import identity, resident, started_at

Value: TypeAlias = "str | int | bool"
Info: TypeAlias = Mapping[str, Value]

ANSWER_LIMIT = 8 * 1024 * 1024
TAIL = 4096
"""Bytes of a failed program's own output that are shown."""

# supervisor/xmlrpc.py, class Faults
BAD_NAME, NO_FILE, NOT_EXECUTABLE, ABNORMAL_TERMINATION, SPAWN_ERROR, ALREADY_STARTED, NOT_RUNNING = (
    10, 20, 21, 40, 50, 60, 70,
)  # fmt: skip


class SupervisorAwayError(SyncsrvError):
    """supervisord does not answer, or not in its protocol."""

    code = "supervisor-away"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"cannot ask supervisor at {path}: {why}", "start supervisord or correct managers.supervisor")
        self.why = why


class SupervisorFaultError(SyncsrvError):
    """supervisord refused a call; ``number`` is its fault."""

    code = "supervisor-fault"

    def __init__(self, method: str, number: int, text: str) -> None:
        super().__init__(f"cannot call {method} of supervisor: {text}")
        self.number = number
        self.text = text


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Supervisor:
    """The programs of one supervisord.

    Args:
        path: its Unix socket.
        clock: tells the time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        try:
            answer = self._call("supervisor.getAllProcessInfo", (), deadline_s)
        except (SupervisorAwayError, SupervisorFaultError) as error:
            return {name: unknown(name, error.message) for name in services}
        if not isinstance(answer, list):
            why = f"cannot ask supervisor at {self._path}: it does not list its programs"
            return {name: unknown(name, why) for name in services}
        known: dict[str, Info] = {}
        for info in answer:
            known.setdefault(str(info["name"]), info)
            known[f"{info['group']}:{info['name']}"] = info
        return {name: self._status(name, service.program, known) for name, service in services.items()}

    def can_reload(self, name: str, service: Service) -> bool:
        return True

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        try:
            self._act(name, Action.START, service.program, "startProcess", deadline_s)
        except SupervisorFaultError as error:
            if error.number != ALREADY_STARTED:
                raise self._explained(name, Action.START, service.program, error) from error

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        try:
            self._act(name, Action.STOP, service.program, "stopProcess", deadline_s)
        except SupervisorFaultError as error:
            if error.number != NOT_RUNNING:
                raise self._explained(name, Action.STOP, service.program, error) from error

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        ends_at = self._clock.monotonic() + deadline_s
        try:
            self.stop(name, service, deadline_s)
            self.start(name, service, max(ends_at - self._clock.monotonic(), 0.1))
        except ServiceActionError as error:
            raise ServiceActionError(name, Action.RESTART, error.why, error.output) from error

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        """SIGHUP: supervisor has no reload of its own, and daemons take this signal for it by custom."""
        try:
            self._act(name, Action.RELOAD, service.program, "signalProcess", deadline_s, "HUP")
        except SupervisorFaultError as error:
            raise self._explained(name, Action.RELOAD, service.program, error) from error

    def last_words(self, name: str, service: Service) -> str:
        return "\n".join(self._tail(service.program).splitlines()[-WORDS_LINES:])

    def defines(self, path: str) -> bool:
        return False  # it reads its configuration at its own start, or when somebody says `supervisorctl update`

    def read_definitions(self, deadline_s: float) -> None:
        return

    def _status(self, name: str, program: str, known: Mapping[str, Info]) -> ServiceStatus:
        info = known.get(program)
        if info is None:
            return ServiceStatus(name, ServiceState.MISSING, reason=f"supervisor has no program {program}")
        state, reason = _state(info)
        pid = int(info["pid"]) or None
        began = started_at(pid, self._clock) if pid else None
        if began is None and state is ServiceState.RUNNING:
            began = float(info["start"])
        stamp = int(info["start"] if pid else info["stop"])
        since_utc = datetime.fromtimestamp(stamp, UTC) if stamp else None
        memory = resident(pid) if pid else None
        return ServiceStatus(
            name,
            state,
            since_utc=since_utc,
            pid=pid,
            started_at=began,
            loaded_as=identity(pid) if pid else "",
            memory=memory,
            memory_of="" if memory is None else "process",
            reason=reason,
        )

    def _act(self, name: str, action: Action, program: str, method: str, deadline_s: float, *more: Value) -> None:
        try:
            self._call(f"supervisor.{method}", (program, *more), deadline_s)
        except SupervisorAwayError as error:
            raise ServiceActionError(name, action, error.message.removeprefix("cannot ask ")) from error

    def _explained(self, name: str, action: Action, program: str, error: SupervisorFaultError) -> ServiceActionError:
        """The fault in a sentence, with the program's own last words where it ended by itself."""
        if error.number == BAD_NAME:
            return ServiceActionError(name, action, f"supervisor has no program {program}")
        if error.number == NOT_RUNNING:
            return ServiceActionError(name, action, "it does not run")
        if error.number in (NO_FILE, NOT_EXECUTABLE):
            return ServiceActionError(name, action, f"its program cannot be executed: {error.text}")
        if error.number in (ABNORMAL_TERMINATION, SPAWN_ERROR):
            return ServiceActionError(name, action, self._why_not_up(program), self._tail(program))
        return ServiceActionError(name, action, f"supervisor says {error.text}")

    def _why_not_up(self, program: str) -> str:
        """Both faults come for a program that ends at once and for one that cannot be forked; its info tells which."""
        try:
            info = self._call("supervisor.getProcessInfo", (program,), 2.0)
        except (SupervisorAwayError, SupervisorFaultError):
            info = None
        said = str(info["spawnerr"]) if isinstance(info, dict) else ""
        too_soon = not said or said.startswith("Exited too quickly")
        return "it ended too soon after its start" if too_soon else f"it cannot be spawned: {said}"

    def _tail(self, program: str) -> str:
        words = []
        for method in ("tailProcessStderrLog", "tailProcessStdoutLog"):
            try:
                answer = self._call(f"supervisor.{method}", (program, 0, TAIL), 2.0)
            except (SupervisorAwayError, SupervisorFaultError):
                continue  # no such log: it goes to the other one, or nowhere
            if isinstance(answer, list) and answer and str(answer[0]).strip():
                words.append(str(answer[0]).strip())
        return "\n".join(words)

    def _call(self, method: str, args: tuple[Value, ...], deadline_s: float) -> object:
        body = xmlrpc.client.dumps(args, method).encode()
        connection = _UnixConnection(self._path, deadline_s)
        try:
            connection.connect()
            assert connection.sock is not None
            with cut_off(connection.sock, deadline_s):
                connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
                response = connection.getresponse()
                answer = response.read(ANSWER_LIMIT)
        except TimeoutError as error:
            raise SupervisorAwayError(self._path, f"no answer within {deadline_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorAwayError(self._path, str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise SupervisorAwayError(self._path, f"it answered {response.status} {response.reason}")
        try:
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            raise SupervisorFaultError(method, fault.faultCode, fault.faultString) from fault
        except (ExpatError, xmlrpc.client.Error, ValueError, IndexError) as error:
            raise SupervisorAwayError(self._path, f"its answer is no XML-RPC: {error}") from error


def _state(info: Info) -> tuple[ServiceState, str]:
    """A program's state in our words (supervisor/states.py)."""
    spawn_error, description = str(info["spawnerr"]), str(info["description"])
    match str(info["statename"]):
        case "RUNNING":
            return ServiceState.RUNNING, ""
        case "STARTING":
            return ServiceState.STARTING, "it has not run for startsecs yet"
        case "BACKOFF":
            return ServiceState.STARTING, f"it ends too soon and is tried again: {spawn_error or description}"
        case "STOPPING":
            return ServiceState.RUNNING, "it is being stopped"
        case "STOPPED":
            return ServiceState.STOPPED, ""
        case "EXITED":
            status = int(info["exitstatus"])
            state = ServiceState.FAILED if status else ServiceState.STOPPED
            return state, f"it ended by itself with status {status}"
        case "FATAL":
            return ServiceState.FAILED, f"supervisor has given up: {spawn_error or description}"
        case other:
            return ServiceState.UNKNOWN, f"supervisor calls its state {other}"
