from __future__ import annotations

from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import Managers, Node, OnChange, Role, SupervisorAccess
from syncsrv.services.base import Action, ActionResult, HealthWord, Result, ServiceState
from syncsrv.services.control import Services, UnknownServiceError
from syncsrv.services.managers import managers_of
from tests.services.kit import Fake, FakeManager, HandClock, Remembered, command, controlled

RUNNING, STOPPED, FAILED = ServiceState.RUNNING, ServiceState.STOPPED, ServiceState.FAILED


def running(pid: int = 7) -> Fake:
    return Fake(RUNNING, pid)


def words(results: list[ActionResult]) -> list[tuple[str, str, str]]:
    return [(result.name, result.action.value, result.result.value) for result in results]


def test_an_unknown_name_is_refused_before_anything_is_done() -> None:
    manager = FakeManager({"nginx": running()})
    with pytest.raises(UnknownServiceError, match="did you mean nginx") as caught:
        controlled(manager, {"nginx": command()}).act(Action.RESTART, ["nginx", "nginz"])
    assert caught.value.exit_status == 2
    assert manager.calls == []


def test_starts_go_in_order_and_stops_the_other_way_round() -> None:
    services = {"web": command(after=["db"]), "db": command()}
    manager = FakeManager({"web": Fake(), "db": Fake()})
    controlled(manager, services).act(Action.START, ["web", "db"])
    controlled(manager, services).act(Action.STOP, ["db", "web"])
    assert manager.calls == [("start", "db"), ("start", "web"), ("stop", "web"), ("stop", "db")]


def test_those_that_follow_the_carp_master_go_in_order_and_the_others_are_left_alone() -> None:
    services = {
        "web": command(after=["db"], run_on="carp-master"),
        "db": command(run_on="carp-master"),
        "ssh": command(),
        "old": command(run_on="never"),
    }
    manager = FakeManager({"web": Fake(), "db": Fake(), "ssh": Fake(), "old": running()})
    control = controlled(manager, services)
    assert control.astray(False) == []
    assert control.astray(True) == ["db", "web"]
    assert control.astray(True, ["web", "ssh"]) == ["web"]
    assert words(control.follow(True, ["web", "db"])) == [("db", "start", "done"), ("web", "start", "done")]
    assert control.astray(True) == []
    assert control.astray(False) == ["db", "web"]
    assert words(control.follow(False, ["web", "db"])) == [("web", "stop", "done"), ("db", "stop", "done")]
    assert manager.calls == [("start", "db"), ("start", "web"), ("stop", "web"), ("stop", "db")]


def test_one_that_fails_does_not_keep_the_others_from_their_turn() -> None:
    services = {"a": command(), "b": command(after=["a"])}
    manager = FakeManager({"a": Fake(fails=True), "b": Fake()})
    results = controlled(manager, services).act(Action.START, ["a", "b"])
    assert words(results) == [("a", "start", "failed"), ("b", "start", "done")]
    assert results[0].reason == "cannot start service a: it is failed: it ended by itself with status 1"
    assert results[0].output == "last words of a"


def test_restart_all_restarts_what_runs_or_failed_and_says_why_the_others_were_left() -> None:
    services = {
        "d": command(after=["b"]),
        "b": command(),
        "c": command(),
        "e": command(run_on="never"),
        "f": command(),
        "g": command(run_on="carp-master"),
    }
    manager = FakeManager(
        {
            "d": running(),
            "b": Fake(FAILED, fails=True),
            "c": Fake(),
            "e": running(),
            "f": Fake(ServiceState.MASKED, reason="f is masked"),
            "g": Fake(),
        }
    )
    told: list[ActionResult] = []
    results = controlled(manager, services).restart_all(told.append)
    assert told == results
    assert words(results) == [
        ("b", "restart", "failed"),
        ("c", "restart", "skipped"),
        ("d", "restart", "done"),
        ("e", "restart", "skipped"),
        ("f", "restart", "skipped"),
        ("g", "restart", "skipped"),
    ]
    reasons = {result.name: result.reason for result in results}
    assert reasons["c"] == "stopped"
    assert reasons["e"] == "bound elsewhere: run_on is never"
    assert reasons["f"] == "masked: f is masked"
    assert "not MASTER" in reasons["g"]
    assert manager.calls == [("restart", "b"), ("restart", "d")]


def test_a_restart_that_leaves_the_old_process_is_a_failure() -> None:
    manager = FakeManager({"a": running(101)}, next_pid=100)
    [result] = controlled(manager, {"a": command()}).act(Action.RESTART, ["a"])
    assert result.reason == "cannot restart service a: it still runs with its old process, pid 101"


def test_a_stop_that_does_not_take_is_a_failure() -> None:
    class Stubborn(FakeManager):
        def stop(self, name: str, service: object, deadline_s: float) -> None:
            self.calls.append(("stop", name))

    [result] = controlled(Stubborn({"a": running()}), {"a": command()}).act(Action.STOP, ["a"])
    assert result.result is Result.FAILED
    assert result.reason == "cannot stop service a: it is still running after 10 s"


def test_after_a_failure_a_change_touches_no_further_service() -> None:
    services = {"a": command(), "b": command(after=["a"]), "c": command(after=["b"])}
    manager = FakeManager({"a": running(), "b": Fake(RUNNING, 8, dies_on_reload=True), "c": running(9)})
    results = controlled(manager, services).after_change(dict.fromkeys("abc", OnChange.RELOAD))
    assert words(results) == [("a", "reload", "done"), ("b", "reload", "failed"), ("c", "reload", "skipped")]
    assert results[2].reason == "not touched, for b had failed"
    assert manager.calls == [("reload", "a"), ("reload", "b")]


def test_a_failed_service_is_mended_by_a_change() -> None:
    manager = FakeManager({"a": Fake(FAILED, reason="status 1")})
    [result] = controlled(manager, {"a": command()}).after_change({"a": OnChange.RELOAD})
    assert (result.action, result.result) == (Action.RESTART, Result.DONE)
    assert result.reason.startswith("it was failed: status 1, so it was restarted; running, pid ")


def test_a_check_that_never_answers_makes_the_change_a_failure_with_its_output() -> None:
    clock = HandClock()
    service = command(health={"exec": ["/bin/ls", "/no/such/file"], "within": 2})
    manager = FakeManager({"a": running()})
    services = controlled(manager, {"a": service}, pause=clock.pause)
    services = Services(
        {"a": service}, {service.manager: manager}, clock, node="fw1", reloads=Remembered(), pause=clock.pause
    )
    [result] = services.after_change({"a": OnChange.RELOAD})
    assert result.result is Result.FAILED
    assert result.reason == "cannot reload service a: not well within 2 s: /bin/ls: status 2"
    assert "No such file or directory" in result.output


def test_what_the_report_raises_ends_the_run_between_two_services() -> None:
    class Stop(Exception):
        pass

    def report(result: ActionResult) -> None:
        raise Stop

    manager = FakeManager({"a": running(), "b": running(8)})
    with pytest.raises(Stop):
        controlled(manager, {"a": command(), "b": command()}).after_change(dict.fromkeys("ab", OnChange.RELOAD), report)
    assert manager.calls == [("reload", "a")]


def test_putting_back_stops_what_did_not_run_before_it_starts_what_did() -> None:
    services = {"a": command(), "b": command(after=["a"]), "c": command(after=["b"]), "d": command()}
    manager = FakeManager({"a": running(), "b": Fake(), "c": Fake(), "d": running(9)})
    control = controlled(manager, services)
    before = control.statuses()
    manager.fakes["a"] = Fake(FAILED)
    manager.fakes["b"] = running(8)
    manager.fakes["c"] = running(10)
    results = control.restore(before, dict.fromkeys("abc", OnChange.RELOAD))
    assert words(results) == [("c", "stop", "done"), ("b", "stop", "done"), ("a", "restart", "done")]
    assert manager.fakes["d"].pid == 9


def test_putting_back_what_had_failed_before_is_no_new_failure() -> None:
    manager = FakeManager({"a": Fake(FAILED)})
    control = controlled(manager, {"a": command()})
    before = control.statuses()
    manager.fakes["a"] = Fake(RUNNING, 8, fails=True)
    [result] = control.restore(before, {"a": OnChange.RELOAD})
    assert result.result is Result.DONE
    assert result.reason.startswith("failed as before: cannot restart service a")


def test_a_successful_load_is_remembered_from_its_beginning_and_a_failed_one_is_not() -> None:
    remembered = Remembered()
    manager = FakeManager({"a": running(), "b": Fake(RUNNING, 8, dies_on_reload=True), "c": running(9)})
    control = controlled(manager, dict.fromkeys("abc", command()), reloads=remembered)
    control.act(Action.RELOAD, ["a", "b"])
    control.act(Action.STOP, ["c"])
    assert list(remembered.times) == ["a"]
    assert remembered.times["a"] == HandClock().utc().timestamp()


def test_a_manager_that_the_node_does_not_have_is_unknown_and_never_green() -> None:
    control = controlled(FakeManager({}), {"a": command(manager="supervisor", program="a")})
    [status] = control.statuses()
    assert (status.state, status.health) == (ServiceState.UNKNOWN, HealthWord.UNKNOWN)
    assert status.reason == "node.yaml names no managers.supervisor"
    for results in (
        control.act(Action.START, ["a"]),
        control.after_change({"a": OnChange.RELOAD}),
        control.restart_all(),
    ):
        assert results[0].result is Result.FAILED
        assert "node.yaml names no managers.supervisor" in results[0].reason


def test_a_changed_definition_is_pending_until_a_restart_and_a_reload_does_not_help() -> None:
    fake = running()
    fake.started_at = 1000.0
    changed: list[tuple[float, str]] = []
    remembered = Remembered()
    control = controlled(
        FakeManager({"a": fake}),
        {"a": command()},
        newest_definition=lambda _name: changed[-1] if changed else None,
        reloads=remembered,
    )

    def pending() -> str:
        [status] = control.statuses()
        assert status.restart_pending is bool(status.pending_why)
        return status.pending_why

    assert pending() == ""
    changed.append((900.0, "/etc/fake/a.service"))
    assert pending() == ""
    changed.append((1100.0, "/etc/nginx/nginx.conf"))
    assert pending() == "", "that is none of its manager's"
    changed.append((1100.0, "/etc/fake/a.service"))
    assert pending() == (
        "/etc/fake/a.service changed at 1970-01-01T00:18:20Z; it last read its files at 1970-01-01T00:16:40Z, "
        "and a reload does not change how it runs"
    )
    remembered.put("a", 1200.0)
    assert pending()
    fake.started_at = 1300.0
    assert pending() == ""


def test_definitions_are_read_where_a_file_of_them_changed() -> None:
    manager = FakeManager({"a": running()})
    control = controlled(manager, {"a": command()})
    assert not control.read_definitions(["/etc/nginx/nginx.conf"])
    assert manager.calls == []
    assert control.read_definitions(["/etc/nginx/nginx.conf", "/etc/fake/a.service", "/etc/fake/b.service"])
    assert manager.calls == [("read", "definitions")]


def test_a_node_has_supervisor_only_where_it_names_the_socket(tmp_path: Path) -> None:
    node = Node(node="fw1", role=Role.BACKUP, state_dir=tmp_path)
    assert sorted(managers_of(node, SystemClock())) == ["command", "systemd"]
    named = node.model_copy(update={"managers": Managers(supervisor=SupervisorAccess(socket=tmp_path / "s"))})
    assert sorted(managers_of(named, SystemClock())) == ["command", "supervisor", "systemd"]
