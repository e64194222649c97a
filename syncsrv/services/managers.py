"""Who runs services on this node."""

from __future__ import annotations

from collections.abc import Iterable

from syncsrv.clock import Clock
from syncsrv.config.model import ManagerKind, Node
from syncsrv.services.base import Manager
from syncsrv.services.command import Commands
from syncsrv.services.supervisor import Supervisor
from syncsrv.services.systemd import Systemd


def managers_of(node: Node, clock: Clock) -> dict[ManagerKind, Manager]:
    """A manager of each kind that the node can have; supervisor only where node.yaml names its socket."""
    managers: dict[ManagerKind, Manager] = {
        ManagerKind.SYSTEMD: Systemd(clock),
        ManagerKind.COMMAND: Commands(node.node, node.state_dir / "services", clock),
    }
    if node.managers.supervisor is not None:
        managers[ManagerKind.SUPERVISOR] = Supervisor(node.managers.supervisor.socket, clock)
    return managers


def defines(managers: Iterable[Manager], path: str) -> bool:
    """Whether the file at this absolute path tells one of them what its services are."""
    return any(manager.defines(path) for manager in managers)
