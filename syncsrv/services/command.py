"""Services that bring their own commands: ``start``, ``stop``, ``status``, perhaps ``reload`` and ``restart``.

``status`` ends with 0 where the service runs and with 3 where it is stopped, as init scripts do; anything else is
unknown. Where its output holds ``pid N`` and there is such a process, that is the service's process: then a restart
is read back by a new one. ``start`` must return while the daemon goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from syncsrv import process
from syncsrv.clock import Clock
from syncsrv.config.model import Argv, Service
from syncsrv.services.base import (
    UMASK,
    WORDS_LINES,
    Action,
    ServiceActionError,
    ServiceState,
    ServiceStatus,
    environment,
    unknown,
)
from syncsrv.services.procfs import identity, resident, started_at

RUNS, STOPPED = 0, 3
LOG_LIMIT = 1024 * 1024
"""Bytes of a daemon's inherited output that are kept in its file before it begins anew."""

WORDS = 4096
"""Bytes of a daemon's output that are shown with a failure."""

_PID = re.compile(r"\bpid[ =:]+(\d{1,10})\b", re.IGNORECASE)


class Commands:
    """Services as commands.

    Args:
        node: this node's name, for the commands' environment.
        logs: folder for what started daemons print to the output they inherit; made when first needed.
        clock: tells the time.
    """

    def __init__(self, node: str, logs: Path, clock: Clock) -> None:
        self._node = node
        self._logs = logs
        self._clock = clock
        self._marks: dict[str, int] = {}
        """How long a daemon's file was when it was last told something: what stands before that are older words."""

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        if not services:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(services), 16), thread_name_prefix="status") as pool:
            readings = pool.map(lambda item: self._status(item[0], item[1], deadline_s), services.items())
            return {status.name: status for status in readings}

    def can_reload(self, name: str, service: Service) -> bool:
        return bool(service.reload)

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        self._daemon(name, Action.START, service.start, deadline_s)

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        self._run(name, Action.STOP, service.stop, deadline_s, output_to=None)

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        if service.restart:
            self._daemon(name, Action.RESTART, service.restart, deadline_s)
            return
        ends_at = self._clock.monotonic() + deadline_s
        if self._status(name, service, deadline_s).state is not ServiceState.STOPPED:
            self._run(name, Action.RESTART, service.stop, max(ends_at - self._clock.monotonic(), 0.1), output_to=None)
        self._daemon(name, Action.RESTART, service.start, max(ends_at - self._clock.monotonic(), 0.1))

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        if not service.reload:
            raise ServiceActionError(name, Action.RELOAD, "it has no reload command")
        self._run(name, Action.RELOAD, service.reload, deadline_s, output_to=None)

    def last_words(self, name: str, service: Service) -> str:
        try:
            with self._log(name).open("rb") as file:
                end, mark = file.seek(0, os.SEEK_END), self._marks.get(name, 0)
                file.seek(max(0, end - WORDS, mark if mark <= end else 0))
                said = file.read(WORDS).decode("utf-8", "backslashreplace").strip()
        except OSError:
            return ""
        return "\n".join(said.splitlines()[-WORDS_LINES:])

    def defines(self, path: str) -> bool:
        return False  # they stand in cluster.yaml

    def read_definitions(self, deadline_s: float) -> None:
        return

    def _status(self, name: str, service: Service, deadline_s: float) -> ServiceStatus:
        self._trim(name)
        try:
            ended = process.run(service.status, env=environment(self._node, name), deadline_s=deadline_s, umask=UMASK)
        except process.NotStartedError as error:
            return unknown(name, error.message)
        if ended.status == RUNS:
            pid, began = self._process(ended.text)
            since_utc = datetime.fromtimestamp(began, UTC) if began is not None else None
            memory = resident(pid) if pid is not None else None
            return ServiceStatus(
                name,
                ServiceState.RUNNING,
                since_utc=since_utc,
                pid=pid,
                started_at=began,
                loaded_as=identity(pid) if pid is not None else "",
                memory=memory,
                memory_of="" if memory is None else "process",
            )
        if ended.status == STOPPED:
            return ServiceStatus(name, ServiceState.STOPPED)
        said = ended.text.strip().replace("\n", " ")[:200]
        return unknown(name, f"its status command {_how(ended, deadline_s)}" + (f": {said}" if said else ""))

    def _process(self, said: str) -> tuple[int | None, float | None]:
        found = _PID.search(said)
        began = started_at(int(found[1]), self._clock) if found else None
        return (int(found[1]), began) if found and began is not None else (None, None)

    def _daemon(self, name: str, action: Action, argv: Argv, deadline_s: float) -> None:
        try:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._log(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._run(name, action, argv, deadline_s, output_to=self._log(name))
        except OSError as error:
            why = f"its output file {self._log(name)} cannot be written: {error.strerror}"
            raise ServiceActionError(name, action, why) from error

    def _run(self, name: str, action: Action, argv: Argv, deadline_s: float, *, output_to: Path | None) -> None:
        env = environment(self._node, name)
        self._mark(name)
        try:
            ended = process.run(argv, env=env, deadline_s=deadline_s, output_to=output_to, umask=UMASK)
        except process.NotStartedError as error:
            raise ServiceActionError(name, action, error.message) from error
        if ended.status == 0:
            return
        why = f"{argv[0]} {_how(ended, deadline_s)}"
        if ended.status is None and action is not Action.STOP:
            why += " (it must return while the daemon goes on)"
        raise ServiceActionError(name, action, why, ended.text.strip())

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _mark(self, name: str) -> None:
        try:
            self._marks[name] = self._log(name).stat().st_size
        except OSError:
            self._marks[name] = 0

    def _trim(self, name: str) -> None:
        """Begin the file anew under the daemon, which appends: nobody else bounds it."""
        try:
            if self._log(name).stat().st_size > LOG_LIMIT:
                os.truncate(self._log(name), 0)
        except OSError:
            return  # nothing was started from here, or the disk is ill, which others report better


def _how(ended: process.Completed, deadline_s: float) -> str:
    if ended.status is None:
        return f"did not end within {deadline_s:g} s and was killed"
    if ended.status < 0:
        return f"was ended by signal {-ended.status}"
    return f"ended with status {ended.status}"
