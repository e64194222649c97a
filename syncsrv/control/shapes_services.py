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
    memory: int | None = None
    memory_of: str = ""
    """Bytes; of the whole ``service`` as its manager counts them, or of its main ``process``. None: not known."""
    restarts: int | None = None
    """How often its manager started it again by itself, since a person last did; None where it does not count."""
    enabled: str | None = None
    """Whether it starts at boot, in the manager's word (``systemctl is-enabled``); None where it does not say."""
    log: str = ""
    """The end of its log: of one that has failed, and of those that action ``log`` names."""


@dataclass(frozen=True, slots=True)
class ServicesRequest:
    """``action``: status or log, which do nothing; start, stop, restart, reload or restart-all; ``node``: empty for the
    one that is asked.
    """

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
