"""Services under systemd, through ``systemctl``: one call reads all units, and it is the same on every distribution.

``systemctl show`` ends with 0 for units that do not exist and gives the properties in an order of its own: both are
read from the properties themselves. ``systemctl restart`` returns when the job is done, not when it is queued.

A unit file that changed on the disk counts from the next ``daemon-reload`` on; until then systemd starts what the old
one says, and only warns. "With its files as they are" is what we promise, so it is told to read them: before a start,
restart or reload of a unit that has changed (``NeedDaemonReload``), and after any change of ours below its folders,
since that property says nothing of a drop-in folder that is new (measured, 252). Only a stop goes by the old one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from syncsrv import process
from syncsrv.clock import Clock
from syncsrv.config.model import Service
from syncsrv.services.base import (
    PATH,
    WORDS_LINES,
    Action,
    DefinitionsError,
    ServiceActionError,
    ServiceState,
    ServiceStatus,
    unknown,
)
from syncsrv.services.procfs import resident
from syncsrv.services.unitstate import PROPERTIES, Block, is_oneshot, number, parse_show, reload_failed, state_of

UNIT_FOLDERS = (
    *("/etc/systemd/system/", "/run/systemd/system/", "/usr/local/lib/systemd/system/"),
    *("/usr/lib/systemd/system/", "/lib/systemd/system/", "/etc/init.d/"),
)
"""Where systemd looks for what it runs (systemd.unit(5)), the scripts of its SysV generator included."""

SHORT_S = 5.0
"""What systemd has for an answer that needs no job."""

_ENV = {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "UTC", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\+00:?00 \S+ ", re.MULTILINE)
"""How a line of the journal begins with ``-o short-iso``: the time and the name of the host."""


class Systemd:
    """Units of the system manager.

    Args:
        clock: tells the time.
        systemctl: the program; tests give their own.
        journalctl: likewise.
    """

    def __init__(self, clock: Clock, systemctl: str = "systemctl", journalctl: str = "journalctl") -> None:
        self._clock = clock
        self._systemctl = systemctl
        self._journalctl = journalctl

    def statuses(self, services: Mapping[str, Service], deadline_s: float) -> dict[str, ServiceStatus]:
        if not services:
            return {}
        units = [service.unit for service in services.values()]
        try:
            ended = self._run(["show", "-p", PROPERTIES, "--", *units], deadline_s)
        except process.NotStartedError as error:
            return {name: unknown(name, error.message) for name in services}
        if ended.status != 0:
            why = f"systemctl {_how(ended, deadline_s)}: {ended.text.strip()[:200]}".removesuffix(": ")
            return {name: unknown(name, why) for name in services}
        blocks = parse_show(ended.text)
        if len(blocks) != len(units):
            why = f"systemctl told of {len(blocks)} units where {len(units)} were asked for"
            return {name: unknown(name, why) for name in services}
        return {name: self._status(name, block) for name, block in zip(services, blocks, strict=True)}

    def can_reload(self, name: str, service: Service) -> bool:
        return self._properties(service, "CanReload", SHORT_S).get("CanReload") == "yes"

    def start(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.START, service, deadline_s)

    def stop(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.STOP, service, deadline_s)

    def restart(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.RESTART, service, deadline_s)

    def reload(self, name: str, service: Service, deadline_s: float) -> None:
        self._act(name, Action.RELOAD, service, deadline_s)

    def last_words(self, name: str, service: Service) -> str:
        """The unit's journal; ``systemctl status`` would show that of the last start only, and where that was refused
        because too many had failed before, nothing of why. Without a journal, what status says of its processes.
        """
        wanted = ["--no-pager", "--quiet", f"--lines={WORDS_LINES}", "--output=short-iso", f"--unit={service.unit}"]
        log = self._said([self._journalctl, *wanted])
        return _STAMP.sub(r"\1Z ", log) or self._said(
            [self._systemctl, "status", "--no-pager", "--full", "--lines=0", "--", service.unit]
        )

    def _said(self, argv: Sequence[str]) -> str:
        try:
            return process.run(argv, env=_ENV, deadline_s=SHORT_S).text.strip()
        except process.NotStartedError:
            return ""

    def defines(self, path: str) -> bool:
        return path.startswith(UNIT_FOLDERS)

    def read_definitions(self, deadline_s: float) -> None:
        try:
            ended = self._run(["daemon-reload"], deadline_s)
        except process.NotStartedError as error:
            raise DefinitionsError("systemd", error.message) from error
        if ended.status != 0:
            raise DefinitionsError("systemd", ended.text.strip() or f"systemctl {_how(ended, deadline_s)}")

    def _has_changed(self, service: Service, deadline_s: float) -> bool:
        """Whether the unit's files differ from what systemd has read."""
        known = self._properties(service, "Id,NeedDaemonReload,DropInPaths", deadline_s)
        read = {path.rpartition("/")[2] for path in known.get("DropInPaths", "").split()}
        return known.get("NeedDaemonReload") == "yes" or not drop_ins(known.get("Id", "")) <= read

    def _properties(self, service: Service, keys: str, deadline_s: float) -> dict[str, str]:
        """Properties of a unit; empty where systemd does not answer."""
        try:
            ended = self._run(["show", "-p", keys, "--", service.unit], deadline_s)
        except process.NotStartedError:
            return {}
        blocks = parse_show(ended.text) if ended.status == 0 else []
        return blocks[0] if len(blocks) == 1 else {}

    def _act(self, name: str, action: Action, service: Service, deadline_s: float) -> None:
        ends_at = self._clock.monotonic() + deadline_s
        try:
            if action is not Action.STOP and self._has_changed(service, min(deadline_s, SHORT_S)):
                self.read_definitions(self._left_s(ends_at))
            if action in (Action.START, Action.RESTART):
                # five starts within 10 s (StartLimitBurst) and systemd would refuse ours; it also forgets what failed.
                # This fails for units that are not loaded, which start well.
                self._run(["reset-failed", "--", service.unit], self._left_s(ends_at))
            ended = self._run([action.value, "--", service.unit], self._left_s(ends_at))
        except process.NotStartedError as error:
            raise ServiceActionError(name, action, error.message) from error
        except DefinitionsError as error:
            raise ServiceActionError(name, action, error.message) from error
        said = ended.text.strip()
        if ended.status is None:
            why = f"systemd was not done within {deadline_s:g} s, its job goes on"
            raise ServiceActionError(name, action, why + self._stands(name, service), said)
        if ended.status != 0:
            why = said.partition("\n")[0].removesuffix(".") or f"systemctl {_how(ended, deadline_s)}"
            output = self.last_words(name, service) if "journalctl" in said else said
            raise ServiceActionError(name, action, why + self._stands(name, service), output)

    def _stands(self, name: str, service: Service) -> str:
        """How the unit stands after an action that failed, to be put behind the reason."""
        reason = self.statuses({name: service}, SHORT_S)[name].reason
        return f": {reason}" if reason else ""

    def _left_s(self, ends_at: float) -> float:
        return max(ends_at - self._clock.monotonic(), 0.1)

    def _run(self, args: Sequence[str], deadline_s: float) -> process.Completed:
        return process.run([self._systemctl, "--no-ask-password", *args], env=_ENV, deadline_s=deadline_s)

    def _status(self, name: str, block: Block) -> ServiceStatus:
        state, reason = state_of(block)
        runs = state is ServiceState.RUNNING
        pid = number(block, "MainPID") or None
        since_s = self._age_s(block, "ActiveEnterTimestampMonotonic" if runs else "StateChangeTimestampMonotonic")
        counted = number(block, "MemoryCurrent")
        memory = counted if counted is not None else resident(pid) if pid else None
        stamps = (block.get(f"{key}TimestampMonotonic", "") for key in ("ExecMainStart", "StateChange"))
        return ServiceStatus(
            name,
            state,
            since_utc=self._clock.utc() - timedelta(seconds=since_s) if since_s is not None else None,
            pid=pid,
            started_at=self._epoch(block, "ExecMainStartTimestampMonotonic") if runs else None,
            reloaded_at=self._epoch(block, "StateChangeTimestampMonotonic")
            if runs and not reload_failed(block)
            else None,
            loaded_as=".".join(stamps) if runs else "",
            memory=memory,
            memory_of="" if memory is None else "process" if counted is None else "service",
            restarts=number(block, "NRestarts") if state is not ServiceState.MISSING else None,
            enabled=block.get("UnitFileState") or None,
            oneshot=is_oneshot(block),
            unit_changed=block.get("NeedDaemonReload") == "yes",
            reason=reason,
        )

    def _age_s(self, block: Block, key: str) -> float | None:
        micros = number(block, key)
        return self._clock.monotonic() - micros / 1e6 if micros else None

    def _epoch(self, block: Block, key: str) -> float | None:
        age_s = self._age_s(block, key)
        return self._clock.utc().timestamp() - age_s if age_s is not None else None


def drop_ins(unit: str, folders: Sequence[str] = UNIT_FOLDERS) -> set[str]:
    """The names of the drop-ins that lie there for a unit, and for its template (systemd.unit(5))."""
    prefix, at, rest = unit.partition("@")
    units = {unit, f"{prefix}@.{rest.rpartition('.')[2]}"} if at else {unit}
    found = (path for folder in folders for one in units if one for path in Path(folder, f"{one}.d").glob("*.conf"))
    return {path.name for path in found if path.is_file()}  # a link to /dev/null is none


def _how(ended: process.Completed, deadline_s: float) -> str:
    if ended.status is None:
        return f"did not end within {deadline_s:g} s"
    return f"ended with status {ended.status}"
