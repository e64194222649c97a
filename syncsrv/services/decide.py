"""What is done to a service, and why: pure rules over one reading of it.

Five occasions: a person asks by name, a person restarts all, a sync changed its configuration, a failed sync puts
services back, the node begins or ceases to serve. A service that somebody stopped stays stopped, but for the last one;
one that is bound elsewhere is never started here.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncsrv.config.model import OnChange, RunOn, Service
from syncsrv.services.base import Action, Result, ServiceState, ServiceStatus

_ALIVE = (ServiceState.RUNNING, ServiceState.STARTING)
_SHOULD_RUN = (*_ALIVE, ServiceState.FAILED)
_UNREADABLE = (ServiceState.UNKNOWN, ServiceState.MISSING)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do.

    Attributes:
        action: what is done, or what the result is reported of where nothing is done.
        why: why nothing is done; otherwise what else there is to say.
        ended: the result where nothing is done; None: do it.
    """

    action: Action
    why: str = ""
    ended: Result | None = None


def _skip(action: Action, why: str) -> Choice:
    return Choice(action, why, Result.SKIPPED)


def _fail(action: Action, why: str) -> Choice:
    return Choice(action, why, Result.FAILED)


def _word(status: ServiceStatus) -> str:
    return status.state.value + (f": {status.reason}" if status.reason else "")


def _bound_elsewhere(service: Service, carp_master: bool) -> str:
    """Why this node may not start it; empty where it may."""
    if service.run_on is RunOn.NEVER:
        return "bound elsewhere: run_on is never"
    if service.run_on is RunOn.CARP_MASTER and not carp_master:
        return "bound elsewhere: run_on is carp-master, and this node is not MASTER"
    return ""


def asked(action: Action, service: Service, status: ServiceStatus, *, can_reload: bool, carp_master: bool) -> Choice:
    """A person asks for it by name: what cannot be done is a failure, what is so already is done."""
    if status.state is ServiceState.MISSING:
        return _fail(action, _word(status))
    if action is Action.STOP:
        return Choice(action, "it was stopped already", Result.DONE) if _is_stopped(status) else Choice(action)
    if status.state is ServiceState.MASKED:
        return _fail(action, _word(status))
    if action is Action.RELOAD:
        if status.state is not ServiceState.RUNNING:
            return _fail(action, f"it does not run ({_word(status)})")
        return Choice(action) if can_reload else Choice(Action.RESTART, "it cannot reload, so it was restarted")
    elsewhere = _bound_elsewhere(service, carp_master)
    if elsewhere and status.state is not ServiceState.RUNNING:
        return _fail(action, elsewhere)
    if action is Action.START and status.state is ServiceState.RUNNING:
        return Choice(action, "it was running already", Result.DONE)
    return Choice(action)


def _is_stopped(status: ServiceStatus) -> bool:
    return status.state in (ServiceState.STOPPED, ServiceState.MASKED)


def follow(service: Service, status: ServiceStatus, *, carp_master: bool) -> Choice:
    """The node begins or ceases to be MASTER, and the service is one that follows it (``run_on: carp-master``)."""
    if carp_master:
        return asked(Action.START, service, status, can_reload=False, carp_master=True)
    if status.state in (ServiceState.MISSING, ServiceState.FAILED):  # neither runs
        return _skip(Action.STOP, _word(status))
    return asked(Action.STOP, service, status, can_reload=False, carp_master=False)


def restart_all(service: Service, status: ServiceStatus, *, carp_master: bool) -> Choice:
    """All are restarted that run or should: running and failed ones, not those stopped, masked or bound elsewhere."""
    if service.run_on is RunOn.NEVER or status.state not in _ALIVE:
        elsewhere = _bound_elsewhere(service, carp_master)
        if elsewhere:
            return _skip(Action.RESTART, elsewhere)
    if status.state in _SHOULD_RUN:
        return Choice(Action.RESTART)
    if status.state is ServiceState.UNKNOWN:
        return _fail(Action.RESTART, _word(status))
    return _skip(Action.RESTART, _word(status))


def after_change(
    wanted: OnChange, service: Service, status: ServiceStatus, *, can_reload: bool, carp_master: bool
) -> Choice:
    """Its configuration has changed: it is reloaded or restarted where it runs, and mended where it had failed."""
    action = Action.RELOAD if wanted is OnChange.RELOAD else Action.RESTART
    if wanted is OnChange.NONE:
        return _skip(action, "on_change is none")
    if service.run_on is RunOn.NEVER or status.state not in _ALIVE:
        elsewhere = _bound_elsewhere(service, carp_master)
        if elsewhere:
            return _skip(action, elsewhere)
    if status.state in _UNREADABLE:
        return _fail(action, _word(status))
    if status.state in (ServiceState.STOPPED, ServiceState.MASKED):
        return _skip(action, f"{_word(status)}; a sync starts nothing that was stopped")
    if action is Action.RELOAD and status.state is not ServiceState.RUNNING:
        return Choice(Action.RESTART, f"it was {_word(status)}, so it was restarted")
    if action is Action.RELOAD and not can_reload:
        return Choice(Action.RESTART, "it cannot reload, so it was restarted")
    return Choice(action)


def put_back(
    wanted: OnChange,
    service: Service,
    before: ServiceStatus,
    status: ServiceStatus,
    *,
    can_reload: bool,
    carp_master: bool,
) -> Choice:
    """The old configuration is back: the service is made as it was, and made to read it."""
    reference = status if before.state is ServiceState.UNKNOWN else before
    if reference.state not in _SHOULD_RUN:
        if status.state not in _SHOULD_RUN:
            return _skip(Action.STOP, f"it was {before.state} and is {status.state}")
        return Choice(Action.STOP)
    if wanted is OnChange.NONE and status.state is before.state:
        return _skip(Action.RESTART, "on_change is none")
    elsewhere = _bound_elsewhere(service, carp_master)
    if elsewhere and status.state not in _ALIVE:
        return _skip(Action.RESTART, elsewhere)
    runs_on = before.state is status.state is ServiceState.RUNNING
    return Choice(Action.RELOAD if wanted is OnChange.RELOAD and can_reload and runs_on else Action.RESTART)
