"""The same promises of every manager: a real supervisord, a service's own commands, systemctl's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.config.model import ManagerKind, OnChange
from syncsrv.services.base import Action, HealthWord, Result, ServiceActionError, ServiceState
from syncsrv.services.control import UnknownServiceError
from tests.services.kit import BENCHES, Bench, Remembered
from tests.support.wait import until

pytestmark = pytest.mark.sample(30)


@pytest.fixture(params=list(BENCHES))
def bench(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Bench]:
    with BENCHES[request.param](short_tmp) as made:
        yield made


def test_not_started_yet_is_stopped_and_nobody_is_asked_how_it_is(bench: Bench) -> None:
    absent, status = bench.services().statuses()
    assert status.name == "d"
    assert status.state is ServiceState.STOPPED
    assert status.pid is None
    assert status.health is HealthWord.NONE
    assert absent.state in (ServiceState.MISSING, ServiceState.UNKNOWN)
    assert absent.reason


def test_start_is_read_back_with_its_process_and_its_age(bench: Bench) -> None:
    services = bench.services()
    began = datetime.now(UTC).timestamp()
    [result] = services.act(Action.START, ["d"])
    assert result.result is Result.DONE, result
    assert bench.loaded()[1] == "one"
    _, status = services.statuses()
    assert status.state is ServiceState.RUNNING
    assert status.pid == bench.loaded()[0]
    assert status.health is HealthWord.OK
    assert status.reason == ""
    assert status.started_at is not None
    assert began - 0.1 <= status.started_at <= datetime.now(UTC).timestamp()
    assert status.since_utc is not None
    assert abs(status.since_utc.timestamp() - began) < 5
    assert status.memory is not None
    assert status.memory > 1_000_000
    assert status.memory_of in ("process", "service")
    assert status.loaded_as
    assert status.log == "", "it is read of those that failed"


def test_what_a_manager_does_not_know_is_none_and_never_a_guess(bench: Bench) -> None:
    _, status = bench.services().statuses()
    assert (status.memory, status.memory_of, status.loaded_as) == (None, "", "")
    knows = bench.kind is ManagerKind.SYSTEMD
    assert (status.restarts is not None, status.enabled is not None) == (knows, knows)


def test_the_end_of_its_log_comes_when_it_is_asked_for(bench: Bench) -> None:
    bench.conf("chatty")
    services = bench.services()
    services.act(Action.START, ["d"])
    services.act(Action.RELOAD, ["d"])
    until(lambda: services.with_logs(["d"])[1].log.count("signal SIGHUP"), what="the daemon's words in its log")
    assert services.with_logs([])[1].log == ""
    with pytest.raises(UnknownServiceError):
        services.with_logs(["d", "nothing"])


def test_the_process_and_its_load_are_told_apart_from_the_next_ones(bench: Bench) -> None:
    services = bench.services()
    services.act(Action.START, ["d"])
    first = services.statuses()[1].loaded_as
    assert services.statuses()[1].loaded_as == first
    services.act(Action.RESTART, ["d"])
    assert services.statuses()[1].loaded_as not in ("", first)


def test_start_of_a_running_one_leaves_it_alone(bench: Bench) -> None:
    services = bench.services()
    services.act(Action.START, ["d"])
    pid = bench.loaded()[0]
    bench.manager.start("d", bench.service, 10)
    [result] = services.act(Action.START, ["d"])
    assert result.result is Result.DONE
    assert "already" in result.reason
    assert bench.loaded()[0] == pid


def test_reload_loads_the_new_configuration_and_keeps_the_process(bench: Bench) -> None:
    services = bench.services()
    services.act(Action.START, ["d"])
    pid = bench.loaded()[0]
    bench.conf("two")
    [result] = services.act(Action.RELOAD, ["d"])
    assert result.result is Result.DONE, result
    assert result.reason == f"running, pid {pid} kept"
    assert until(lambda: bench.loaded() == (pid, "two"), what="the new configuration")


def test_restart_has_a_new_process(bench: Bench) -> None:
    services = bench.services()
    services.act(Action.START, ["d"])
    pid = bench.loaded()[0]
    bench.conf("two")
    [result] = services.act(Action.RESTART, ["d"])
    assert result.result is Result.DONE, result
    until(lambda: bench.loaded()[0] != pid, what="the new process")
    assert bench.loaded()[1] == "two"
    assert result.reason == f"running, pid {bench.loaded()[0]} (was {pid})"


def test_restart_of_a_stopped_one_starts_it(bench: Bench) -> None:
    [result] = bench.services().act(Action.RESTART, ["d"])
    assert result.result is Result.DONE, result
    assert bench.loaded()[1] == "one"


def test_stop_is_read_back_and_a_second_one_is_no_failure(bench: Bench) -> None:
    services = bench.services()
    services.act(Action.START, ["d"])
    pid = bench.loaded()[0]
    [result] = services.act(Action.STOP, ["d"])
    assert result.result is Result.DONE, result
    assert result.reason.startswith("stopped")
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    bench.manager.stop("d", bench.service, 10)
    [again] = services.act(Action.STOP, ["d"])
    assert again.result is Result.DONE
    assert "already" in again.reason


def test_reload_of_a_stopped_one_fails(bench: Bench) -> None:
    with pytest.raises(ServiceActionError, match="cannot reload service d: "):
        bench.manager.reload("d", bench.service, 10)
    [result] = bench.services().act(Action.RELOAD, ["d"])
    assert result.result is Result.FAILED
    assert result.reason == "cannot reload service d: it does not run (stopped)"


def test_a_daemon_that_refuses_its_configuration_is_a_failure_with_its_own_words(bench: Bench) -> None:
    services = bench.services()
    bench.conf("bad")
    [result] = services.act(Action.START, ["d"])
    assert result.result is Result.FAILED
    assert result.reason.startswith("cannot start service d: ")
    assert "conf:1: bad word" in result.output
    assert services.statuses()[1].state is not ServiceState.RUNNING


def test_a_daemon_that_a_reload_kills_is_a_failure(bench: Bench) -> None:
    bench.service = bench.service.model_copy(update={"health": bench.service.health and _short(bench)})
    services = bench.services()
    services.act(Action.START, ["d"])
    bench.conf("fatal")
    [result] = services.act(Action.RELOAD, ["d"])
    assert result.result is Result.FAILED, result
    assert result.reason.startswith("cannot reload service d: ")


def _short(bench: Bench) -> object:
    assert bench.service.health is not None
    return bench.service.health.model_copy(update={"within_s": 3.0})


def test_what_the_manager_does_not_have_cannot_be_started(bench: Bench) -> None:
    [result] = bench.services().act(Action.START, ["absent"])
    assert result.result is Result.FAILED
    assert "absent" in result.reason


def test_a_sync_reloads_what_runs_and_starts_nothing_that_was_stopped(bench: Bench) -> None:
    services = bench.services()
    [result] = services.after_change({"d": OnChange.RELOAD})
    assert result.result is Result.SKIPPED
    assert result.reason == "stopped; a sync starts nothing that was stopped"
    assert services.statuses()[1].state is ServiceState.STOPPED
    services.act(Action.START, ["d"])
    bench.conf("two")
    [result] = services.after_change({"d": OnChange.RELOAD})
    assert result.result is Result.DONE, result
    assert until(lambda: bench.loaded()[1] == "two")


def test_restart_is_pending_from_the_change_to_the_reload(bench: Bench) -> None:
    changed: list[float] = []
    remembered = Remembered()
    services = bench.services(newest_change=lambda _name: changed[-1] if changed else None, reloads=remembered)
    services.act(Action.START, ["d"])
    assert not services.statuses()[1].restart_pending
    changed.append(datetime.now(UTC).timestamp())
    assert services.statuses()[1].restart_pending
    assert bench.services(newest_change=lambda _name: changed[-1], reloads=remembered).statuses()[1].restart_pending
    until(lambda: datetime.now(UTC).timestamp() > changed[-1] + 0.05)
    services.act(Action.RELOAD, ["d"])
    assert not services.statuses()[1].restart_pending


def test_services_are_put_back_as_they_were(bench: Bench) -> None:
    services = bench.services()
    stopped = services.statuses()
    services.act(Action.START, ["d"])
    running = services.statuses()
    pid = bench.loaded()[0]
    bench.conf("two")
    [result] = services.restore(running, {"d": OnChange.RELOAD})
    assert result.result is Result.DONE
    assert until(lambda: bench.loaded() == (pid, "two"))
    [result] = services.restore(stopped, {"d": OnChange.RELOAD})
    assert (result.result, result.action) == (Result.DONE, Action.STOP)
    assert services.statuses()[1].state is ServiceState.STOPPED
    [result] = services.restore(running, {"d": OnChange.RELOAD})
    assert result.result is Result.DONE
    assert services.statuses()[1].state is ServiceState.RUNNING


def test_without_a_health_check_it_is_well_when_it_ran_steadily_for_two_seconds(bench: Bench) -> None:
    bench.service = bench.service.model_copy(update={"health": None})
    services = bench.services()
    [result] = services.act(Action.START, ["d"])
    assert result.result is Result.DONE, result
    assert result.seconds >= 2
    assert services.statuses()[1].health is HealthWord.OK
