"""Services under systemd, through ``systemctl``: one call reads all units, and it is the same on every distribution.

``systemctl show`` ends with 0 for units that do not exist and gives the properties in an order of its own: both are
read from the properties themselves. ``systemctl restart`` returns when the job is done, not when it is queued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from syncsrv import process
from syncsrv.clock import Clock
from syncsrv.config.model import Service
from syncsrv.services.base import PATH, Action, ServiceActionError, ServiceState, ServiceStatus, unknown

PROPERTIES = (
    "Id,LoadState,LoadError,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,MainPID,CanReload,Job,"
    "ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic"
)
"""The Monotonic ones: what is for people follows the locale, and --timestamp=unix is younger than some systemd."""

_ENV = {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


class Systemd:
    """Units of the system manager.

    Args:
        clock: tells the time.
        systemctl: the program; tests give their own.
    """

    def __init__(self, clock: Clock, systemctl: str = "systemctl") -> None:
        self._clock = clock
        self._systemctl = systemctl

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        if not services:
            return {}
        units = [service.unit for service in services.values()]
        try:
            ended = self._run(["show", "-p", PROPERTIES, "--", *units], deadline_s)
        except process.NotStartedError as error:
            return {name: unknown(name, error.message) for name in services}
        if ended.status != 0:
            why = f"systemctl {_how(ended, deadline_s)}: {ended.text.strip()[:200]}"
            return {name: unknown(name, why) for name in services}
        blocks = parse_show(ended.text)
        if len(blocks) != len(units):
            why = f"systemctl told of {len(blocks)} units where {len(units)} were asked for"
            return {name: unknown(name, why) for name in services}
        return {name: self._status(name, block) for name, block in zip(services, blocks, strict=True)}

    def can_reload(self, name: str, service: Service) -> bool:
        try:
            ended = self._run(["show", "-p", "CanReload", "--", service.unit], 10.0)
        except process.NotStartedError:
            return False
        return ended.status == 0 and parse_show(ended.text)[:1] == [{"CanReload": "yes"}]

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        self._forget_failures(name, Action.START, service, deadline_s)
        self._act(name, Action.START, service, deadline_s)

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.STOP, service, deadline_s)

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        self._forget_failures(name, Action.RESTART, service, deadline_s)
        self._act(name, Action.RESTART, service, deadline_s)

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.RELOAD, service, deadline_s)

    def last_words(self, name: str, service: Service) -> str:
        try:
            return self._run(["status", "--no-pager", "--lines=10", "--", service.unit], 10.0).text.strip()
        except process.NotStartedError:
            return ""

    def _forget_failures(self, name: str, action: Action, service: Service, deadline_s: float) -> None:
        """Six quick restarts hit StartLimitBurst (5 in 10 s), and systemd then refuses ours; fails for unloaded units,
        which start well.
        """
        try:
            self._run(["reset-failed", "--", service.unit], deadline_s)
        except process.NotStartedError as error:
            raise ServiceActionError(name, action, error.message) from error

    def _act(self, name: str, action: Action, service: Service, deadline_s: float) -> None:
        try:
            ended = self._run([action.value, "--", service.unit], deadline_s)
        except process.NotStartedError as error:
            raise ServiceActionError(name, action, error.message) from error
        if ended.status is None:
            why = f"systemd was not done within {deadline_s:g} s, its job goes on"
            raise ServiceActionError(name, action, why, ended.text.strip())
        if ended.status != 0:
            said = ended.text.strip()
            raise ServiceActionError(name, action, said.partition("\n")[0] or _how(ended, deadline_s), said)

    def _run(self, args: Sequence[str], deadline_s: float) -> process.Completed:
        return process.run([self._systemctl, "--no-ask-password", *args], env=_ENV, deadline_s=deadline_s)

    def _status(self, name: str, block: Mapping[str, str]) -> ServiceStatus:
        state, reason = _state(block)
        pid = _number(block, "MainPID") or None
        began = self._epoch(block, "ExecMainStartTimestampMonotonic") if state is ServiceState.RUNNING else None
        entered = "ActiveEnterTimestampMonotonic" if state is ServiceState.RUNNING else "StateChangeTimestampMonotonic"
        age_s = self._age_s(block, entered)
        since_utc = self._clock.utc() - timedelta(seconds=age_s) if age_s is not None else None
        loaded = self._epoch(block, "StateChangeTimestampMonotonic") if state is ServiceState.RUNNING else None
        return ServiceStatus(
            name, state, since_utc=since_utc, pid=pid, started_at=began, reloaded_at=loaded, reason=reason
        )

    def _age_s(self, block: Mapping[str, str], key: str) -> float | None:
        micros = _number(block, key)
        return self._clock.monotonic() - micros / 1e6 if micros else None

    def _epoch(self, block: Mapping[str, str], key: str) -> float | None:
        age_s = self._age_s(block, key)
        return self._clock.utc().timestamp() - age_s if age_s is not None else None


def parse_show(text: str) -> list[dict[str, str]]:
    """The units of ``systemctl show``, in the order asked for: KEY=VALUE lines, an empty line between two units."""
    blocks = (block for block in text.strip("\n").split("\n\n") if block)
    return [dict(_pair(line) for line in block.split("\n")) for block in blocks]


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key, value


def _number(block: Mapping[str, str], key: str) -> int:
    """0 where there is none: ``[not set]``, or an older systemd without the property."""
    value = block.get(key, "")
    return int(value) if value.isdecimal() else 0


def _state(block: Mapping[str, str]) -> tuple[ServiceState, str]:
    unit, load, sub = block.get("Id", "?"), block.get("LoadState", ""), block.get("SubState", "")
    if load == "not-found":
        return ServiceState.MISSING, f"systemd has no unit {unit}"
    if load == "masked":
        return ServiceState.MASKED, f"{unit} is masked"
    if load != "loaded":
        said = block.get("LoadError", "").partition(" ")[2].strip('"')  # D-Bus's name of the error, then the sentence
        return ServiceState.UNKNOWN, f"systemd could not load {unit}: {said or load or 'no answer'}"
    match block.get("ActiveState", ""):
        case "active" | "reloading" | "refreshing":
            return ServiceState.RUNNING, "" if sub in ("running", "exited", "listening") else f"it is {sub}"
        case "deactivating":
            return ServiceState.RUNNING, "it is being stopped"
        case "activating":
            again = "it failed and is started again" if sub == "auto-restart" else "it is being started"
            return ServiceState.STARTING, again
        case "failed":
            status = block.get("ExecMainStatus", "")
            return ServiceState.FAILED, f"systemd says {block.get('Result') or 'failed'}, its status was {status}"
        case "inactive":
            disabled = block.get("UnitFileState") == "disabled"
            return ServiceState.STOPPED, "it is disabled" if disabled else ""
        case other:
            return ServiceState.UNKNOWN, f"systemd calls its state {other or 'nothing'}"


def _how(ended: process.Completed, deadline_s: float) -> str:
    if ended.status is None:
        return f"did not end within {deadline_s:g} s"
    return f"ended with status {ended.status}"
