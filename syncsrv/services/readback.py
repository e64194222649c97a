"""What two readings, one before and one after an action, say of it. Pure."""

from __future__ import annotations

from syncsrv.services.base import Action, ActionResult, Result, ServiceActionError, ServiceStatus


def failed(name: str, action: Action, why: str, seconds: float = 0.0, output: str = "") -> ActionResult:
    """A failure, in the words that it has everywhere."""
    error = ServiceActionError(name, action, why)
    return ActionResult(name, action, Result.FAILED, error.message, seconds, output)


def not_as_asked(action: Action, before: ServiceStatus, after: ServiceStatus) -> str:
    """What the process ids say against it; empty where nothing."""
    if before.pid is None or after.pid is None:
        return ""
    if action is Action.RESTART and before.pid == after.pid:
        return f"it still runs with its old process, pid {after.pid}"
    if action is Action.RELOAD and before.pid != after.pid:
        return f"its process ended when it was told to reload (pid {before.pid}; it runs again as {after.pid})"
    return ""


def read_back(action: Action, before: ServiceStatus, after: ServiceStatus) -> str:
    """How the service is after an action that took."""
    if after.pid is None:
        said = str(after.state) + (f": {after.reason}" if after.reason else "")
    elif before.pid == after.pid:
        said = f"{after.state}, pid {after.pid} kept"
    else:
        said = f"{after.state}, pid {after.pid}" + (f" (was {before.pid})" if before.pid is not None else "")
    if not before.unit_changed or action is Action.STOP:
        return said
    took = "which the process takes up when it is restarted" if action is Action.RELOAD else "and it runs as that says"
    return f"{said}; its changed unit file was read, {took}"
