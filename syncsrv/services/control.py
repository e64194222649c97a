"""Service control: read services, act on them, and believe only what is read back.

One caller at a time acts (the engine's lock sees to that); readings may be taken at any time, from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TypeAlias

from syncsrv.clock import Clock
from syncsrv.config.model import Health, ManagerKind, OnChange, RunOn, Service
from syncsrv.errors import UsageError
from syncsrv.services import decide
from syncsrv.services.base import Action, ActionResult, Manager, Result, ServiceActionError, ServiceState, ServiceStatus
from syncsrv.services.decide import Choice
from syncsrv.services.health import Pause, Probed, await_healthy
from syncsrv.services.order import ordered
from syncsrv.services.pending import ReloadLog, last_read, pending_why
from syncsrv.services.readback import failed, not_as_asked, read_back
from syncsrv.services.reading import Memory, Reader

ACTION_S = 120.0
"""What a manager or a service's command has for one action: longer than the 90 s after which systemd usually kills what
does not stop, so that a restart of such a one is waited for."""

STOPPED_WITHIN_S = 10.0
"""How long a service may still be read as running after its manager said that it is stopped."""

_ENDED = (ServiceState.STOPPED, ServiceState.FAILED, ServiceState.MASKED, ServiceState.MISSING)
"""What a service may be after a stop; missing is one whose definition went while it ran."""

Report: TypeAlias = Callable[[ActionResult], None]
"""Told of each result as soon as it is known; what it raises ends the run between two services."""


class UnknownServiceError(UsageError):
    """A service was named that cluster.yaml does not have; ``name`` is that word."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"services are: {', '.join(names) or 'none'}"
        super().__init__(f"cannot find service {name}: cluster.yaml has none of that name", remedy)
        self.name = name


class Services:
    """The services of this node. Made anew when the configuration changes.

    Args:
        services: those of cluster.yaml.
        managers: who runs them on this node, see managers.py.
        clock: tells the time.
        node: this node's name.
        reloads: remembers when we reloaded or started a service.
        newest_change: when a file of a service's areas last changed, seconds of the epoch; None: never, not known.
        newest_file: which one that was, for people; empty where it is not known.
        newest_definition: when a file of these areas that tells a manager what its services are last changed, and which
            one; None: never, not known.
        is_carp_master: whether this node is MASTER of every VIP.
        memory: what earlier readings left for health; pass the same one whenever Services is made anew.
        pause: waits so many seconds.
        action_s: what one action may take, health not included.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        managers: Mapping[ManagerKind, Manager],
        clock: Clock,
        *,
        node: str,
        reloads: ReloadLog,
        newest_change: Callable[[str], float | None] = lambda _name: None,
        newest_file: Callable[[str], str] = lambda _name: "",
        newest_definition: Callable[[str], tuple[float, str] | None] = lambda _name: None,
        is_carp_master: Callable[[], bool] = lambda: False,
        memory: Memory | None = None,
        pause: Pause | None = None,
        action_s: float = ACTION_S,
    ) -> None:
        self._services = services
        self._managers = managers
        self._clock = clock
        self._reloads = reloads
        self._newest_change = newest_change
        self._newest_file = newest_file
        self._newest_definition = newest_definition
        self._is_carp_master = is_carp_master
        self._pause: Pause = pause or threading.Event().wait  # nobody sets it
        self._action_s = action_s
        self._reader = Reader(services, managers, node, clock, memory)

    def statuses(self) -> list[ServiceStatus]:
        """A reading of every service, by name: state, health, restart_pending. Takes as long as the slowest check."""
        readings = self._reader.with_health(self._reader.states(sorted(self._services)))
        return [self._judged(status) for status in self._reader.with_logs(readings).values()]

    def with_logs(self, names: Collection[str]) -> list[ServiceStatus]:
        """A reading of every service, and the end of the log of these whether they failed or not.

        Raises:
            UnknownServiceError: a name is not configured.
        """
        self._must_know(names)
        logs = self._reader.logs(names)
        return [replace(status, log=logs.get(status.name, status.log)) for status in self.statuses()]

    def read_definitions(self, paths: Iterable[str]) -> bool:
        """Files have changed: make the managers of these services read those of them that say what a service is.

        Args:
            paths: absolute ones.

        Returns:
            Whether there was one.

        Raises:
            DefinitionsError: a manager could not.
        """
        paths = tuple(paths)
        used = {service.manager for service in self._services.values()}
        concerned = [self._managers[kind] for kind in sorted(used) if kind in self._managers]
        concerned = [manager for manager in concerned if any(manager.defines(path) for path in paths)]
        for manager in concerned:
            manager.read_definitions(self._action_s)
        return bool(concerned)

    def state(self, name: str) -> ServiceStatus:
        """What its manager says of one service; it must be configured."""
        return self._reader.state(name)

    def ask(self, name: str, health: Health) -> Probed:
        """One probe of a service, which leaves no trace in its readings."""
        return self._reader.ask(name, health)

    def act(self, action: Action, names: Sequence[str], report: Report | None = None) -> list[ActionResult]:
        """Do what a person asks, in ``after:`` order (stop: the other way round), whatever becomes of one of them.

        Raises:
            UnknownServiceError: a name is not configured; nothing was done then.
        """
        self._must_know(names)
        order = ordered(self._services, names)
        results = []
        for name in reversed(order) if action is Action.STOP else order:
            service, status = self._services[name], self._reader.state(name)
            choice = decide.asked(
                action,
                service,
                status,
                can_reload=action is Action.RELOAD and self._can_reload(name),
                carp_master=self._is_carp_master(),
            )
            results.append(self._carry_out(choice, status, report))
        return results

    def astray(self, carp_master: bool, names: Collection[str] | None = None) -> list[str]:
        """Which services with ``run_on: carp-master`` run and should not, or should and do not; in ``after:`` order.

        Args:
            carp_master: whether this node serves.
            names: only these of them; default all.
        """
        following = [name for name, service in self._services.items() if service.run_on is RunOn.CARP_MASTER]
        readings = self._reader.states([name for name in following if names is None or name in names])
        return [
            name
            for name in ordered(self._services, readings)
            if decide.follow(self._services[name], readings[name], carp_master=carp_master).ended
            not in (Result.DONE, Result.SKIPPED)
        ]

    def follow(self, carp_master: bool, names: Collection[str], report: Report | None = None) -> list[ActionResult]:
        """Start these services, for this node serves now, or stop them the other way round, for it does no more.

        Args:
            carp_master: whether it serves.
            names: of services with ``run_on: carp-master``.
            report: told of each result.
        """
        order = ordered(self._services, names)
        results = []
        for name in order if carp_master else reversed(order):
            status = self._reader.state(name)
            choice = decide.follow(self._services[name], status, carp_master=carp_master)
            results.append(self._carry_out(choice, status, report))
        return results

    def restart_all(self, report: Report | None = None) -> list[ActionResult]:
        """Restart what runs or has failed, in ``after:`` order; the others are skipped, each with its reason."""
        results = []
        for name in ordered(self._services):
            status = self._reader.state(name)
            choice = decide.restart_all(self._services[name], status, carp_master=self._is_carp_master())
            results.append(self._carry_out(choice, status, report))
        return results

    def after_change(self, wanted: Mapping[str, OnChange], report: Report | None = None) -> list[ActionResult]:
        """Make services load their changed configuration, in ``after:`` order; the first failure ends it.

        Args:
            wanted: what each concerned service wants (see order.concerned); names that are not configured are left out.
            report: told of each result.

        Returns:
            A result for each: after a failure the rest is skipped, for the engine then puts the files back.
        """
        results: list[ActionResult] = []
        broken = ""
        for name in ordered(self._services, wanted):
            status = self._reader.state(name)
            action = Action.RELOAD if wanted[name] is OnChange.RELOAD else Action.RESTART
            choice = Choice(action, f"not touched, for {broken} had failed", Result.SKIPPED)
            if not broken:
                choice = decide.after_change(
                    wanted[name],
                    self._services[name],
                    status,
                    can_reload=self._can_reload(name),
                    carp_master=self._is_carp_master(),
                )
            results.append(self._carry_out(choice, status, report))
            if results[-1].result is Result.FAILED:
                broken = broken or name
        return results

    def restore(
        self, before: Iterable[ServiceStatus], touched: Mapping[str, OnChange], report: Report | None = None
    ) -> list[ActionResult]:
        """Put services back as they were, the old configuration being on the disk again; goes on after a failure.

        Args:
            before: readings from before the change.
            touched: the services that were touched or may have been, and what each wants on a change.
            report: told of each result.
        """
        earlier = {status.name: status for status in before if status.name in self._services}
        order = [name for name in ordered(self._services, touched) if name in earlier]
        choices = {}
        for name in order:
            now = self._reader.state(name)
            choice = decide.put_back(
                touched[name],
                self._services[name],
                earlier[name],
                now,
                can_reload=self._can_reload(name),
                carp_master=self._is_carp_master(),
            )
            choices[name] = choice, now
        stops = [name for name in reversed(order) if choices[name][0].action is Action.STOP]
        others = [name for name in order if name not in stops]
        results = []
        for name in (*stops, *others):
            choice, now = choices[name]
            result = self._carry_out(choice, now, report, as_before=earlier[name])
            results.append(result)
        return results

    def _must_know(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._services:
                raise UnknownServiceError(name, self._services)

    def _carry_out(
        self, choice: Choice, before: ServiceStatus, report: Report | None, as_before: ServiceStatus | None = None
    ) -> ActionResult:
        name, action = before.name, choice.action
        if choice.ended is Result.FAILED:
            result = failed(name, action, choice.why)
        elif choice.ended is not None:
            result = ActionResult(name, action, choice.ended, choice.why)
        else:
            result = self._do(choice, before)
            if result.result is Result.FAILED and as_before is not None and as_before.state is ServiceState.FAILED:
                result = replace(result, result=Result.DONE, reason=f"failed as before: {result.reason}")
        if report is not None:
            report(result)
        return result

    def _do(self, choice: Choice, before: ServiceStatus) -> ActionResult:
        name, action = before.name, choice.action
        began_at, began_utc = self._clock.monotonic(), self._clock.utc()
        try:
            self._ask_manager(action, name)
        except ServiceActionError as error:
            output = error.output or self._last_words(name)
            return failed(name, action, error.why, self._clock.monotonic() - began_at, output)
        if action is Action.STOP:
            found, after = self._await_stopped(name)
        else:
            found, after = self._await_healthy(name)
        seconds = self._clock.monotonic() - began_at
        wrong = "" if found.ok else found.reason
        wrong = wrong or not_as_asked(action, before, after)
        if wrong:
            return failed(name, action, wrong, seconds, found.output or self._last_words(name))
        if action is not Action.STOP:
            self._reloads.put(name, began_utc.timestamp())
        said = read_back(action, before, after)
        reason = f"{choice.why}; {said}" if choice.why else said
        return ActionResult(name, action, Result.DONE, reason, seconds)

    def _ask_manager(self, action: Action, name: str) -> None:
        service = self._services[name]
        manager = self._managers.get(service.manager)
        if manager is None:
            raise ServiceActionError(name, action, f"node.yaml names no managers.{service.manager}")
        match action:
            case Action.START:
                manager.start(name, service, self._action_s)
            case Action.STOP:
                manager.stop(name, service, self._action_s)
            case Action.RESTART:
                manager.restart(name, service, self._action_s)
            case Action.RELOAD:
                manager.reload(name, service, self._action_s)

    def _await_healthy(self, name: str) -> tuple[Probed, ServiceStatus]:
        return await_healthy(
            self._services[name].health,
            lambda: self._reader.state(name),
            lambda health: self._reader.ask(name, health),
            self._clock,
            self._pause,
        )

    def _await_stopped(self, name: str) -> tuple[Probed, ServiceStatus]:
        ends_at = self._clock.monotonic() + STOPPED_WITHIN_S
        while True:
            status = self._reader.state(name)
            if status.state in _ENDED:
                return Probed(True, ""), status
            if self._clock.monotonic() >= ends_at:
                said = f": {status.reason}" if status.reason else ""
                return Probed(False, f"it is still {status.state} after {STOPPED_WITHIN_S:g} s{said}"), status
            self._pause(0.1)

    def _can_reload(self, name: str) -> bool:
        manager = self._managers.get(self._services[name].manager)
        return manager is not None and manager.can_reload(name, self._services[name])

    def _last_words(self, name: str) -> str:
        manager = self._managers.get(self._services[name].manager)
        return manager.last_words(name, self._services[name]) if manager is not None else ""

    def _judged(self, status: ServiceStatus) -> ServiceStatus:
        """The reading with whether it runs with an older configuration, and why."""
        name, now, verdicts = status.name, self._clock.utc().timestamp(), self._reader.memory.verdicts
        changed, loaded_at = self._newest_change(name), self._reloads.get(name)
        manager = self._managers.get(self._services[name].manager)
        defined = self._newest_definition(name)
        if defined is not None and (manager is None or not manager.defines(defined[1])):
            defined = None
        begun = replace(status, reloaded_at=None)  # what its manager starts it as counts from its start only
        why = ""
        if changed is not None and verdicts.of(status, loaded_at, changed, now):
            why = pending_why(self._newest_file(name), changed, last_read(status, loaded_at))
        elif defined is not None and verdicts.of(begun, None, defined[0], now, "definition"):
            why = f"{pending_why(defined[1], defined[0], status.started_at)}, and a reload does not change how it runs"
        return replace(status, restart_pending=bool(why), pending_why=why)
