"""Readings of services: states from their managers and answers from their health checks, all at the same time.

A manager or a check that hangs costs its own services a reading, which is then ``unknown``, and no other one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

from syncsrv.clock import Clock
from syncsrv.config.model import Health, ManagerKind, Service
from syncsrv.services.base import (
    WORDS_LETTERS,
    HealthWord,
    Manager,
    ServiceState,
    ServiceStatus,
    environment,
    unknown,
)
from syncsrv.services.health import STEADY_S, Probed, Watch, probe
from syncsrv.services.pending import Verdicts

K = TypeVar("K")
R = TypeVar("R")

READ_S = 5.0
"""What a manager has to tell of all its services."""

SPARE_S = 1.0
"""What a thread may be late with an answer whose own deadline has passed."""


@dataclass(slots=True)
class Memory:
    """What health needs from one reading to the next; it outlives a Reader, whose configuration may change.

    Attributes:
        lock: held while one of the others is read or changed.
        watches: how each checked service did so far, by which check.
        steady: the process of each unchecked service, and since when it is the same one (monotonic).
        verdicts: which services were found to run with older files.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    watches: dict[str, tuple[Health, Watch]] = field(default_factory=dict)
    steady: dict[str, tuple[int | None, float]] = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=Verdicts)


class Reader:
    """Reads services.

    Args:
        services: all configured ones.
        managers: who runs them.
        node: this node's name, for the commands' environment.
        clock: tells the time.
        memory: what earlier readings left; default none.
        read_s: what a manager has for one reading.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        managers: Mapping[ManagerKind, Manager],
        node: str,
        clock: Clock,
        memory: Memory | None = None,
        read_s: float = READ_S,
    ) -> None:
        self._services = services
        self._managers = managers
        self._node = node
        self._clock = clock
        self._read_s = read_s
        self.memory = memory or Memory()

    def states(self, names: Collection[str]) -> dict[str, ServiceStatus]:
        """What the managers say of these services; a reading of each of them, in the order of ``names``."""
        readings = {name: unknown(name, self._no_manager(name)) for name in names}
        groups: dict[ManagerKind, dict[str, Service]] = {}
        for name in names:
            kind = self._services[name].manager
            if kind in self._managers:
                groups.setdefault(kind, {})[name] = self._services[name]
        calls = {kind: self._call(kind, group) for kind, group in groups.items()}
        answers = _at_once(calls, self._read_s + SPARE_S)
        for kind, group in groups.items():
            late = f"{kind} did not answer within {self._read_s:g} s"
            readings |= answers.get(kind) or {name: unknown(name, late) for name in group}
        return readings

    def state(self, name: str) -> ServiceStatus:
        """What its manager says of one service."""
        return self.states([name])[name]

    def ask(self, name: str, health: Health) -> Probed:
        """One probe of a service."""
        return probe(health, environment(self._node, name), self._clock)

    def with_health(self, readings: Mapping[str, ServiceStatus]) -> dict[str, ServiceStatus]:
        """The readings with what the health checks say; those of services that run are asked, at the same time."""
        running = [name for name, status in readings.items() if status.state is ServiceState.RUNNING]
        checks = {name: health for name in running if (health := self._services[name].health) is not None}
        longest_s = max((health.timeout_s for health in checks.values()), default=0.0)
        probed = _at_once({name: self._probe(name, health) for name, health in checks.items()}, longest_s + SPARE_S)
        return {name: self._judged(status, probed.get(name)) for name, status in readings.items()}

    def logs(self, names: Collection[str]) -> dict[str, str]:
        """The ends of the logs of these services, all read at the same time; empty where one did not come in time."""
        asked = {name: self._words(name) for name in names if self._services[name].manager in self._managers}
        found = _at_once(asked, self._read_s + SPARE_S)
        return {name: found.get(name, "")[-WORDS_LETTERS:] for name in names}

    def with_logs(self, readings: Mapping[str, ServiceStatus]) -> dict[str, ServiceStatus]:
        """The readings with the ends of the logs of those that failed; what runs well costs nothing."""
        logs = self.logs([name for name, status in readings.items() if _has_failed(status)])
        return {name: replace(status, log=logs.get(name, "")) for name, status in readings.items()}

    def _words(self, name: str) -> Callable[[], str]:
        service = self._services[name]
        return lambda: self._managers[service.manager].last_words(name, service)

    def _call(self, kind: ManagerKind, group: Mapping[str, Service]) -> Callable[[], dict[str, ServiceStatus]]:
        return lambda: self._managers[kind].statuses(group, self._read_s)

    def _probe(self, name: str, health: Health) -> Callable[[], Probed]:
        return lambda: self.ask(name, health)

    def _no_manager(self, name: str) -> str:
        kind = self._services[name].manager
        return f"node.yaml names no managers.{kind}"

    def _judged(self, status: ServiceStatus, probed: Probed | None) -> ServiceStatus:
        name, health, memory = status.name, self._services[status.name].health, self.memory
        with memory.lock:
            if status.state is not ServiceState.RUNNING:
                memory.watches.pop(name, None)
                memory.steady.pop(name, None)
                return replace(status, health=HealthWord.FAILING if _has_failed(status) else _UNASKED[status.state])
            if health is None:
                return self._judged_steady(status)
            if probed is None:
                return replace(status, health=HealthWord.UNKNOWN, reason="its health check did not end in time")
            by, watch = memory.watches.get(name, (None, Watch(health.rise, health.fall)))
            watch = (watch if by in (None, health) else Watch(health.rise, health.fall)).seen(probed.ok)
            memory.watches[name] = health, watch
        return replace(status, health=watch.word, reason=status.reason if probed.ok else probed.reason)

    def _judged_steady(self, status: ServiceStatus) -> ServiceStatus:
        now = self._clock.monotonic()
        age_s = self._clock.utc().timestamp() - status.started_at if status.started_at is not None else 0.0
        pid, since = self.memory.steady.get(status.name, (None, now))
        if pid != status.pid or status.name not in self.memory.steady:
            since = now - max(age_s, 0.0)
        self.memory.steady[status.name] = status.pid, since
        if now - since >= STEADY_S:
            return replace(status, health=HealthWord.OK)
        reason = status.reason or f"it has run for less than {STEADY_S:g} s"
        return replace(status, health=HealthWord.UNKNOWN, reason=reason)


def _has_failed(status: ServiceStatus) -> bool:
    """Whether it failed, or fails and is started again and again."""
    return status.state is ServiceState.FAILED or (status.state is ServiceState.STARTING and bool(status.restarts))


_UNASKED = {
    ServiceState.STOPPED: HealthWord.NONE,
    ServiceState.MASKED: HealthWord.NONE,
    ServiceState.MISSING: HealthWord.NONE,
    ServiceState.STARTING: HealthWord.UNKNOWN,
    ServiceState.UNKNOWN: HealthWord.UNKNOWN,
}


def _at_once(calls: Mapping[K, Callable[[], R]], within_s: float) -> dict[K, R]:
    """The answers of those calls that ended in time; the threads of the others end by their own deadlines."""
    if not calls:
        return {}
    pool = ThreadPoolExecutor(max_workers=min(len(calls), 16), thread_name_prefix="services")
    futures: dict[Future[R], K] = {pool.submit(call): key for key, call in calls.items()}
    done, _ = wait(futures, timeout=within_s)
    pool.shutdown(wait=False, cancel_futures=True)
    return {futures[future]: future.result() for future in done}
