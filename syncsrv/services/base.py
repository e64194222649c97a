"""The words of service control: states, readings, actions, and what a manager of services must be able to do."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from syncsrv.config.model import Service
from syncsrv.errors import SyncsrvError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs of services are looked up; our own environment does not reach them."""


WORDS_LINES = 20
"""Lines of a log that are shown: the five starts that systemd grants a failing daemon leave six lines of its own behind
the one that says why."""

WORDS_LETTERS = 4096
"""Letters of a log that travel with a reading: peers and pages are told of it every few seconds."""

UMASK = 0o022
"""The usual one: core's own would keep a daemon's logs and sockets from everybody else."""


class ServiceState(enum.StrEnum):
    """What a manager says of a service; ``unknown`` is what we say when it does not say anything."""

    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    STARTING = "starting"
    MASKED = "masked"
    MISSING = "missing"
    UNKNOWN = "unknown"


class HealthWord(enum.StrEnum):
    """What the health check says; ``none`` where there is nothing to be healthy: the service does not run."""

    OK = "ok"
    FAILING = "failing"
    UNKNOWN = "unknown"
    NONE = "none"


class Action(enum.StrEnum):
    """What can be asked of a service."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RELOAD = "reload"


class Result(enum.StrEnum):
    """How an action ended. ``skipped`` is never a failure: the reason says why nothing was to be done."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One reading of one service.

    Attributes:
        name: its name in cluster.yaml.
        state: what its manager says.
        since_utc: since when it is in that state, where the manager tells.
        pid: its main process, where there is one and it is known.
        started_at: when that process began, seconds of the epoch.
        reloaded_at: when the manager last saw it load its configuration, seconds of the epoch; only systemd tells.
        loaded_as: stays the same until the process ends or loads its files anew, whatever the wall clock does; empty
            where nothing tells.
        memory: bytes that it uses; None where that is not known.
        memory_of: what ``memory`` counts: ``service``, all that the manager accounts to it, or ``process``, what its
            main process has resident.
        restarts: how often the manager started it again by itself since a person did; None where it does not count.
        enabled: the manager's word for whether it starts at boot (systemd: enabled, disabled, static, masked, …); None
            where the manager does not say.
        oneshot: it runs to its end and is stopped then: to be stopped is no failure of a start.
        unit_changed: its definition has changed on the disk since its manager read it.
        log: the end of its log; read for those that have failed, and where it was asked for.
        health: what its health check says.
        reason: why it is not simply running and well; empty where it is.
        restart_pending: its configuration is newer than what it runs with.
        pending_why: which file is, and since when; empty where none is.
    """

    name: str
    state: ServiceState
    since_utc: datetime | None = None
    pid: int | None = None
    started_at: float | None = None
    reloaded_at: float | None = None
    loaded_as: str = ""
    memory: int | None = None
    memory_of: str = ""
    restarts: int | None = None
    enabled: str | None = None
    oneshot: bool = False
    unit_changed: bool = False
    log: str = ""
    health: HealthWord = HealthWord.UNKNOWN
    reason: str = ""
    restart_pending: bool = False
    pending_why: str = ""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of one action on one service.

    Attributes:
        name: the service.
        action: what was done, or would have been.
        result: how it ended.
        reason: a sentence: what was read back, why it failed, why it was skipped.
        seconds: how long it took, health included.
        output: what the service, its manager or its probe said about a failure.
    """

    name: str
    action: Action
    result: Result
    reason: str
    seconds: float = 0.0
    output: str = ""


class ServiceActionError(SyncsrvError):
    """A manager could not do what was asked of a service.

    Args:
        name: the service.
        action: what was asked.
        why: the manager's reason.
        output: what the service or a command of it printed.
    """

    code = "service"

    def __init__(self, name: str, action: Action, why: str, output: str = "") -> None:
        super().__init__(f"cannot {action} service {name}: {why}")
        self.name = name
        self.action = action
        self.why = why
        self.output = output


class DefinitionsError(SyncsrvError):
    """A manager could not read what its services are."""

    code = "service"

    def __init__(self, manager: str, why: str) -> None:
        super().__init__(
            f"cannot make {manager} read its changed definitions of services: {why}",
            f"see what {manager} says of these files, and correct them",
        )


class Manager(Protocol):
    """Who runs services: supervisor, systemd, or a service's own commands.

    Every call ends within its deadline. ``statuses`` never raises: what cannot be read is ``unknown``, with the
    reason. The actions return when the manager says that they are done; whether they took is for the caller to read.
    """

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        """A reading of each of the services, health not included."""

    def can_reload(self, name: str, service: Service) -> bool:
        """Whether the service can load a changed configuration and keep its process."""

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        """Start it; one that runs already is left alone.

        Raises:
            ServiceActionError: it did not start.
        """

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        """Stop it; one that does not run is left alone.

        Raises:
            ServiceActionError: it did not stop.
        """

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        """Stop it where it runs, and start it.

        Raises:
            ServiceActionError: it did not stop, or not start.
        """

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        """Make it load its configuration; only where can_reload says so.

        Raises:
            ServiceActionError: it does not run, or refused.
        """

    def last_words(self, name: str, service: Service) -> str:
        """The end of what the service printed or logged, WORDS_LINES at most; empty where nothing is known."""

    def defines(self, path: str) -> bool:
        """Whether the file at this absolute path tells the manager what its services are."""

    def read_definitions(self, deadline_s: float) -> None:
        """Such files have changed: make the manager read them.

        Raises:
            DefinitionsError: it could not.
        """


def unknown(name: str, why: str) -> ServiceStatus:
    """The reading of a service of which nothing could be read."""
    return ServiceStatus(name, ServiceState.UNKNOWN, reason=why)


def environment(node: str, service: str) -> dict[str, str]:
    """The whole environment of a service's own commands and of its health check."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "NODE": node, "SERVICE": service}
