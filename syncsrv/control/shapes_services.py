"""What is asked and told of services. Standard library only.

The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    name: str
    state: str
    since: str | None
    pid: int | None
    restart_pending: bool
    health: str
    reason: str
    pending_why: str = ""
    run_on: str = "always"
    """``pending_why``: which files are newer than what its process has read; ``run_on``: always, carp-master, never."""


@dataclass(frozen=True, slots=True)
class ServicesRequest:
    """``action``: status, start, stop, restart, reload or restart-all; ``node``: empty for the one that is asked."""

    node: str = ""
    action: str = "status"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionInfo:
    name: str
    action: str
    result: str
    reason: str
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class ServicesReply:
    node: str
    services: tuple[ServiceInfo, ...]
    results: tuple[ActionInfo, ...] = ()
