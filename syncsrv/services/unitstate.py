"""What ``systemctl show`` prints of units, in our words: state, reason, facts. Pure.

The words for how a unit failed are those of systemd.service(5), ``$SERVICE_RESULT``; each sentence here was made from
what a real systemd 252 printed for a unit that was broken in that way.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from syncsrv.services.base import ServiceState

PROPERTIES = (
    "Id,LoadState,LoadError,ActiveState,SubState,UnitFileState,Result,ReloadResult,ExecMainCode,ExecMainStatus,MainPID,"
    "CanReload,Type,RemainAfterExit,NRestarts,MemoryCurrent,NeedDaemonReload,TriggeredBy,TimeoutStopUSec,"
    "ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic"
)
"""The Monotonic ones: what is for people follows the locale, and --timestamp=unix is younger than some systemd."""

Block = Mapping[str, str]

_SETTLED = ("", "running", "exited", "listening", "waiting", "active", "mounted", "plugged", "elapsed")
"""Sub-states of a unit that is active and has nothing to say."""

_RAN = {"1": "exited", "2": "killed", "3": "dumped"}
"""ExecMainCode: the kernel's CLD_ codes (waitid(2)); 0 where the main process never ran."""

_RESULTS = {
    "timeout": "it did not start or stop within the time that its unit gives it",
    "watchdog": "it did not answer its watchdog in time",
    "start-limit-hit": "it ended too often in too short a time, and systemd has given up",
    "oom-kill": "it was ended because memory was short",
    "protocol": "it did not say that it is ready in the way that its Type= demands",
    "resources": "systemd lacked the resources to run it",
}

_EXEC = 203
"""The status with which systemd's own child ends where the program cannot be executed (systemd.exec(5))."""

_NOT_COUNTED = 1 << 63
"""Older systemd print 2**64 - 1 for a number that they do not have, newer ones ``[not set]``."""


def parse_show(text: str) -> list[dict[str, str]]:
    """The units of ``systemctl show``, in the order asked for: KEY=VALUE lines, an empty line between two units."""
    blocks = (block for block in text.strip("\n").split("\n\n") if block)
    return [dict(_pair(line) for line in block.split("\n")) for block in blocks]


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key, value


def number(block: Block, key: str) -> int | None:
    """None where there is none: ``[not set]``, or an older systemd without the property."""
    value = block.get(key, "")
    found = int(value) if value.isdecimal() else None
    return None if found is None or found >= _NOT_COUNTED else found


def is_oneshot(block: Block) -> bool:
    """Whether the unit runs to its end and is inactive then."""
    return block.get("Type") == "oneshot" and block.get("RemainAfterExit") != "yes"


def state_of(block: Block) -> tuple[ServiceState, str]:
    """The unit's state in our words, and why it is not simply running and well; empty where it is."""
    unit, load, active = block.get("Id", "?"), block.get("LoadState", ""), block.get("ActiveState", "")
    gone = ""
    if load == "not-found":
        gone = f"systemd has no unit {unit}"
    elif load == "masked":
        gone = f"{unit} is masked"
    elif load != "loaded":
        said = block.get("LoadError", "").partition(" ")[2].strip('"')  # D-Bus's name of the error, then the sentence
        gone = f"systemd could not load {unit}: {said or load or 'no answer'}"
    if gone and active in ("inactive", "failed", ""):
        words = {"not-found": ServiceState.MISSING, "masked": ServiceState.MASKED}
        return words.get(load, ServiceState.FAILED if active else ServiceState.UNKNOWN), gone
    state, reason = _loaded(block)
    if gone:  # its file went, or was masked, under a process that goes on
        reason = f"{reason}; {gone}" if reason else f"it runs on, but {gone}"
    return state, reason


def _loaded(block: Block) -> tuple[ServiceState, str]:
    sub = block.get("SubState", "")
    match block.get("ActiveState", ""):
        case "active" | "reloading" | "refreshing":
            return ServiceState.RUNNING, "; ".join(_notes(block, sub))
        case "deactivating":
            grace = block.get("TimeoutStopUSec", "")
            kill = (
                f"; systemd kills what is left of it after {grace}"
                if sub == "stop-sigterm" and grace not in ("", "infinity")
                else ""
            )
            return ServiceState.RUNNING, f"it is being stopped{kill}"
        case "activating" if sub.startswith("auto-restart"):
            return ServiceState.STARTING, f"{how_it_ended(block)}; it is started again"
        case "activating":
            return ServiceState.STARTING, "it is being started" + (f" ({sub})" if sub and sub != "start" else "")
        case "failed":
            return ServiceState.FAILED, how_it_ended(block)
        case "inactive":
            return ServiceState.STOPPED, _why_stopped(block)
        case other:
            return ServiceState.UNKNOWN, f"systemd calls its state {other or 'nothing'}"


def _notes(block: Block, sub: str) -> list[str]:
    notes = [] if sub in _SETTLED else [f"it is {sub}"]
    if reload_failed(block):
        notes.append(f"its last reload failed ({block['ReloadResult']})")
    if block.get("NeedDaemonReload") == "yes":
        notes.append("its unit file has changed; it runs as the old one says until it is restarted")
    return notes


def reload_failed(block: Block) -> bool:
    """Whether the unit was told to reload and could not; an older systemd does not say."""
    return block.get("ReloadResult", "success") != "success"


def _why_stopped(block: Block) -> str:
    if is_oneshot(block):
        return "it is a oneshot: it runs to its end and is stopped then (RemainAfterExit=yes would keep it running)"
    triggers = block.get("TriggeredBy", "").split()
    return f"{', '.join(triggers)} may start it" if triggers else ""


def how_it_ended(block: Block) -> str:
    """Why a unit failed, and how often systemd had tried."""
    result, status = block.get("Result") or "failed", number(block, "ExecMainStatus") or 0
    again = number(block, "NRestarts") or 0
    tried = f" (systemd has started it again {again} time{'' if again == 1 else 's'})" if again else ""
    return _ended(result, status, _RAN.get(block.get("ExecMainCode", ""), "")) + tried


def _ended(result: str, status: int, ran: str) -> str:
    if result == "exit-code":
        if status == _EXEC:
            return "its program could not be executed"
        if status and ran != "killed":
            return f"it ended with status {status}"
        return "a command that its unit runs beside its main process failed, such as ExecStartPre="
    if result in ("signal", "core-dump"):
        crashed = "it crashed: " if result == "core-dump" else ""
        if ran == "exited" or not status:
            return f"{crashed}a command that its unit runs was ended by a signal"
        return f"{crashed}it was ended by signal {_signal(status)}"
    return _RESULTS.get(result, f"systemd says {result}")


def _signal(status: int) -> str:
    known = {one.value: one.name for one in signal.Signals}
    return f"{status} ({known[status]})" if status in known else str(status)
