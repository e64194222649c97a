from __future__ import annotations

import pytest

from syncsrv.config.model import OnChange
from syncsrv.services import decide
from syncsrv.services.base import Action, Result, ServiceState, ServiceStatus
from tests.services.kit import command

S = ServiceState
ALWAYS, NEVER, MASTER = command(), command(run_on="never"), command(run_on="carp-master")


def status(state: ServiceState, reason: str = "") -> ServiceStatus:
    return ServiceStatus("d", state, reason=reason)


@pytest.mark.parametrize(
    "state, wanted, action, ended",
    [
        (S.RUNNING, OnChange.RELOAD, Action.RELOAD, None),
        (S.RUNNING, OnChange.RESTART, Action.RESTART, None),
        (S.RUNNING, OnChange.NONE, Action.RESTART, Result.SKIPPED),
        (S.STARTING, OnChange.RELOAD, Action.RESTART, None),
        (S.FAILED, OnChange.RELOAD, Action.RESTART, None),
        (S.STOPPED, OnChange.RESTART, Action.RESTART, Result.SKIPPED),
        (S.MASKED, OnChange.RELOAD, Action.RELOAD, Result.SKIPPED),
        (S.MISSING, OnChange.RELOAD, Action.RELOAD, Result.FAILED),
        (S.UNKNOWN, OnChange.RELOAD, Action.RELOAD, Result.FAILED),
    ],
)
def test_a_change_in_every_state(state: ServiceState, wanted: OnChange, action: Action, ended: Result | None) -> None:
    choice = decide.after_change(wanted, ALWAYS, status(state, "why"), can_reload=True, carp_master=False)
    assert (choice.action, choice.ended) == (action, ended)
    assert choice.why or ended is None


def test_a_service_without_reload_is_restarted_and_that_is_said() -> None:
    change = decide.after_change(OnChange.RELOAD, ALWAYS, status(S.RUNNING), can_reload=False, carp_master=False)
    asked = decide.asked(Action.RELOAD, ALWAYS, status(S.RUNNING), can_reload=False, carp_master=False)
    assert change == asked == decide.Choice(Action.RESTART, "it cannot reload, so it was restarted")


@pytest.mark.parametrize("state", [S.STOPPED, S.FAILED])
def test_bound_to_the_carp_master_it_is_not_started_elsewhere(state: ServiceState) -> None:
    for choice in (
        decide.after_change(OnChange.RESTART, MASTER, status(state), can_reload=True, carp_master=False),
        decide.restart_all(MASTER, status(state), carp_master=False),
    ):
        assert choice.ended is Result.SKIPPED
        assert "not MASTER" in choice.why
    for action in (Action.START, Action.RESTART):
        choice = decide.asked(action, MASTER, status(state), can_reload=True, carp_master=False)
        assert choice.ended is Result.FAILED
        assert "not MASTER" in choice.why


def test_bound_to_the_carp_master_it_is_reloaded_where_it_runs_and_mended_on_the_master() -> None:
    running = decide.after_change(OnChange.RELOAD, MASTER, status(S.RUNNING), can_reload=True, carp_master=False)
    assert running == decide.Choice(Action.RELOAD)
    failed = decide.after_change(OnChange.RELOAD, MASTER, status(S.FAILED), can_reload=True, carp_master=True)
    assert (failed.action, failed.ended) == (Action.RESTART, None)
    assert decide.restart_all(MASTER, status(S.RUNNING), carp_master=False).ended is None


@pytest.mark.parametrize("state", list(ServiceState))
def test_run_on_never_is_never_touched_by_a_sync_or_by_restart_all(state: ServiceState) -> None:
    change = decide.after_change(OnChange.RESTART, NEVER, status(state), can_reload=True, carp_master=True)
    assert (change.ended, change.why) == (Result.SKIPPED, "bound elsewhere: run_on is never")
    assert decide.restart_all(NEVER, status(state), carp_master=True).ended is Result.SKIPPED


@pytest.mark.parametrize(
    "state, ended",
    [
        (S.RUNNING, None),
        (S.STARTING, None),
        (S.FAILED, None),
        (S.STOPPED, Result.SKIPPED),
        (S.MASKED, Result.SKIPPED),
        (S.MISSING, Result.SKIPPED),
        (S.UNKNOWN, Result.FAILED),
    ],
)
def test_restart_all_in_every_state(state: ServiceState, ended: Result | None) -> None:
    choice = decide.restart_all(ALWAYS, status(state, "why"), carp_master=False)
    assert choice.ended is ended
    assert choice.why == ("" if ended is None else f"{state}: why")


@pytest.mark.parametrize(
    "action, state, ended",
    [
        (Action.START, S.STOPPED, None),
        (Action.START, S.FAILED, None),
        (Action.START, S.UNKNOWN, None),
        (Action.START, S.RUNNING, Result.DONE),
        (Action.START, S.MASKED, Result.FAILED),
        (Action.START, S.MISSING, Result.FAILED),
        (Action.STOP, S.RUNNING, None),
        (Action.STOP, S.STARTING, None),
        (Action.STOP, S.FAILED, None),
        (Action.STOP, S.STOPPED, Result.DONE),
        (Action.STOP, S.MASKED, Result.DONE),
        (Action.STOP, S.MISSING, Result.FAILED),
        (Action.RESTART, S.STOPPED, None),
        (Action.RESTART, S.MASKED, Result.FAILED),
        (Action.RELOAD, S.RUNNING, None),
        (Action.RELOAD, S.STARTING, Result.FAILED),
        (Action.RELOAD, S.FAILED, Result.FAILED),
    ],
)
def test_asked_by_name_in_every_state(action: Action, state: ServiceState, ended: Result | None) -> None:
    choice = decide.asked(action, ALWAYS, status(state), can_reload=True, carp_master=False)
    assert (choice.action, choice.ended) == (action, ended)


@pytest.mark.parametrize(
    "before, now, wanted, action, ended",
    [
        (S.RUNNING, S.RUNNING, OnChange.RELOAD, Action.RELOAD, None),
        (S.RUNNING, S.RUNNING, OnChange.RESTART, Action.RESTART, None),
        (S.RUNNING, S.RUNNING, OnChange.NONE, Action.RESTART, Result.SKIPPED),
        (S.RUNNING, S.FAILED, OnChange.RELOAD, Action.RESTART, None),
        (S.RUNNING, S.FAILED, OnChange.NONE, Action.RESTART, None),
        (S.RUNNING, S.STOPPED, OnChange.RELOAD, Action.RESTART, None),
        (S.FAILED, S.RUNNING, OnChange.RELOAD, Action.RESTART, None),
        (S.STOPPED, S.RUNNING, OnChange.RELOAD, Action.STOP, None),
        (S.STOPPED, S.FAILED, OnChange.RELOAD, Action.STOP, None),
        (S.STOPPED, S.STOPPED, OnChange.RELOAD, Action.STOP, Result.SKIPPED),
        (S.MASKED, S.MASKED, OnChange.RELOAD, Action.STOP, Result.SKIPPED),
        (S.UNKNOWN, S.RUNNING, OnChange.RELOAD, Action.RESTART, None),
        (S.UNKNOWN, S.STOPPED, OnChange.RELOAD, Action.STOP, Result.SKIPPED),
    ],
)
def test_put_back_from_every_state(
    before: ServiceState, now: ServiceState, wanted: OnChange, action: Action, ended: Result | None
) -> None:
    choice = decide.put_back(wanted, ALWAYS, status(before), status(now), can_reload=True, carp_master=False)
    assert (choice.action, choice.ended) == (action, ended)


def test_what_ran_as_carp_master_is_not_put_back_where_the_role_has_moved_on() -> None:
    choice = decide.put_back(
        OnChange.RELOAD, MASTER, status(S.RUNNING), status(S.STOPPED), can_reload=True, carp_master=False
    )
    assert choice.ended is Result.SKIPPED


@pytest.mark.parametrize(
    "state, begins, ceases",
    [
        (S.RUNNING, (Action.START, Result.DONE), (Action.STOP, None)),
        (S.STARTING, (Action.START, None), (Action.STOP, None)),
        (S.STOPPED, (Action.START, None), (Action.STOP, Result.DONE)),
        (S.FAILED, (Action.START, None), (Action.STOP, Result.SKIPPED)),
        (S.MASKED, (Action.START, Result.FAILED), (Action.STOP, Result.DONE)),
        (S.MISSING, (Action.START, Result.FAILED), (Action.STOP, Result.SKIPPED)),
        (S.UNKNOWN, (Action.START, None), (Action.STOP, None)),
    ],
)
def test_following_the_carp_master_in_every_state(
    state: ServiceState, begins: tuple[Action, Result | None], ceases: tuple[Action, Result | None]
) -> None:
    for carp_master, expected in ((True, begins), (False, ceases)):
        choice = decide.follow(MASTER, status(state, "why"), carp_master=carp_master)
        assert (choice.action, choice.ended) == expected
        assert choice.why or choice.ended is None
