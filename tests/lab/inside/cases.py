"""What particular units do under a real systemd: run inside a machine of the lab, see ../test_services.py."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.services.base import Action, HealthWord, Result, ServiceState, ServiceStatus
from syncsrv.services.control import Services
from tests.lab.inside.units import FOLDER, Units, control, reading, systemctl
from tests.services.kit import Remembered
from tests.support.wait import until

WELL = {"health": {"exec": ["/bin/true"], "within": 1}}
"""For units whose health is of no concern, so that no test waits for two seconds of steadiness."""
NGINX = {"health": {"tcp": "127.0.0.1:80"}, "on_change": "reload"}
UNBOUND = {"health": {"tcp": "127.0.0.1:53"}, "after": ["nginx"]}
BROKEN = Path("/etc/nginx/conf.d/broken.conf")


@pytest.fixture
def units() -> Iterator[Units]:
    with Units() as units:
        yield units


@pytest.fixture
def daemons() -> Iterator[None]:
    """Debian's nginx and unbound, stopped afterwards."""
    yield
    BROKEN.unlink(missing_ok=True)
    systemctl("stop", "nginx", "unbound")
    systemctl("reset-failed", "nginx", "unbound", check=False)


def test_debians_daemons_from_start_to_stop(daemons: None) -> None:
    services = control({"unbound": UNBOUND, "nginx": NGINX})
    began = datetime.now(UTC)
    started = services.act(Action.START, ["unbound", "nginx"])
    assert [(one.name, one.result) for one in started] == [("nginx", Result.DONE), ("unbound", Result.DONE)], started
    for status in services.statuses():
        assert (status.state, status.health, status.enabled) == (ServiceState.RUNNING, HealthWord.OK, "disabled")
        assert status.pid is not None
        assert Path(f"/proc/{status.pid}/comm").read_text().strip() == status.name
        assert status.memory is not None
        assert status.memory > 1_000_000
        assert status.since_utc is not None
        assert abs(status.since_utc - began) < timedelta(seconds=10)
        assert (status.restarts, status.reason, status.log) == (0, "", "")
    before = {status.name: status.pid for status in services.statuses()}
    again = services.restart_all()
    assert [(one.name, one.action, one.result) for one in again] == [
        ("nginx", Action.RESTART, Result.DONE),
        ("unbound", Action.RESTART, Result.DONE),
    ], again
    after = {status.name: status.pid for status in services.statuses()}
    assert not set(before.values()) & set(after.values())
    [reloaded] = services.act(Action.RELOAD, ["nginx"])
    assert (reloaded.result, reloaded.reason) == (Result.DONE, f"running, pid {after['nginx']} kept")
    assert "nginx" in {one.name: one.log for one in services.with_logs(["nginx"])}["nginx"]
    stopped = services.act(Action.STOP, ["nginx", "unbound"])
    assert [(one.name, one.result) for one in stopped] == [("unbound", Result.DONE), ("nginx", Result.DONE)], stopped
    assert {status.state for status in services.statuses()} == {ServiceState.STOPPED}


def test_one_that_crashes_is_started_again_by_systemd_and_that_is_counted(daemons: None) -> None:
    services = control({"unbound": UNBOUND})
    services.act(Action.START, ["unbound"])
    first = reading(services, "unbound").pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: reading(services, "unbound").restarts == 1, what="another unbound")
    status = seen(services, "unbound", ServiceState.RUNNING)
    assert (status.pid != first, status.restarts, status.log) == (True, 1, "")
    [result] = services.act(Action.RESTART, ["unbound"])
    assert result.result is Result.DONE
    assert reading(services, "unbound").restarts == 0, "a person has seen to it"


def test_nginx_refuses_a_broken_file_at_a_reload_and_goes_on_and_at_a_restart_and_says_why(daemons: None) -> None:
    changed = [datetime.now(UTC).timestamp() - 60]
    services = control({"nginx": NGINX}, newest_change=lambda _name: changed[-1])
    services.act(Action.START, ["nginx"])
    first = reading(services, "nginx")
    BROKEN.write_text("lissten 80;\n")
    changed.append(BROKEN.stat().st_ctime)
    until(lambda: reading(services, "nginx").restart_pending, what="the file to be newer")
    [reload] = services.act(Action.RELOAD, ["nginx"])
    assert reload.result is Result.FAILED
    assert 'unknown directive "lissten" in /etc/nginx/conf.d/broken.conf:1' in reload.output
    assert "its last reload failed (exit-code)" in reload.reason
    status = reading(services, "nginx")
    assert (status.state, status.pid, status.reason) == (
        ServiceState.RUNNING,
        first.pid,
        "its last reload failed (exit-code)",
    )
    assert status.restart_pending, "it has not read it"
    [restart] = services.act(Action.RESTART, ["nginx"])
    assert restart.result is Result.FAILED
    assert 'unknown directive "lissten" in /etc/nginx/conf.d/broken.conf:1' in restart.output
    status = reading(services, "nginx")
    assert (status.state, status.health) == (ServiceState.FAILED, HealthWord.FAILING)
    assert 'unknown directive "lissten"' in status.log
    assert "such as ExecStartPre=" in status.reason
    BROKEN.unlink()
    [mended] = services.restart_all()
    assert mended.result is Result.DONE
    assert not reading(services, "nginx").restart_pending


class Set(SystemClock):
    """A clock that is set: what one reads now, moved by so much."""

    def __init__(self) -> None:
        self.by = timedelta()

    def utc(self) -> datetime:
        return super().utc() + self.by


def test_restart_pending_through_reloads_by_hand_restarts_and_a_clock_that_is_set(
    daemons: None, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    conf.write_text("one")
    clock, remembered = Set(), Remembered()
    services = control({"nginx": NGINX}, clock, newest_change=lambda _name: conf.stat().st_ctime, reloads=remembered)

    def pending() -> bool:
        return reading(services, "nginx").restart_pending

    def change() -> None:
        began = datetime.now(UTC).timestamp()
        until(lambda: conf.write_text("more") and conf.stat().st_ctime > began + 0.05, what="a newer file")

    services.act(Action.START, ["nginx"])
    assert not pending()
    change()
    assert pending()
    systemctl("reload", "nginx")
    until(lambda: not pending(), what="the reload by hand to be seen")
    for by in (timedelta(hours=2), timedelta(hours=-2), timedelta()):
        clock.by = by
        assert not pending(), by
    change()
    assert pending()
    for by in (timedelta(hours=2), timedelta(hours=-2), timedelta()):
        clock.by = by
        assert pending(), by
    systemctl("restart", "nginx")
    until(lambda: not pending(), what="the restart by hand to be seen")
    change()
    assert pending()
    [result] = services.act(Action.RELOAD, ["nginx"])
    assert result.result is Result.DONE
    assert not pending()


def test_an_instance_is_a_unit_like_any_other(units: Units) -> None:
    units.put("inst@.service", "ExecStart=sleep infinity", install="WantedBy=multi-user.target")
    names = ["inst@x", r"inst@a\x2db.service", "inst@10.0.0.1:80", "inst@a.b.service"]
    services = control(dict.fromkeys(names, WELL))
    systemctl("enable", "inst@x")
    assert [one.result for one in services.act(Action.START, names)] == [Result.DONE] * 4
    readings = {one.name: one for one in services.statuses()}
    assert {one.state for one in readings.values()} == {ServiceState.RUNNING}
    assert len({one.pid for one in readings.values()}) == 4
    assert (readings["inst@x"].enabled, readings[names[1]].enabled) == ("enabled", "disabled")
    services.act(Action.STOP, ["inst@x"])
    systemctl("disable", "inst@x")
    assert [one.state.value for one in services.statuses()].count("running") == 3
    [template] = control(["inst@.service"]).statuses()
    assert template.state is ServiceState.UNKNOWN
    assert "inst@.service" in template.reason


def test_a_masked_one_is_not_started_and_one_that_runs_can_be_stopped(units: Units) -> None:
    units.put("m.service", "ExecStart=sleep infinity")
    services = control({"m": WELL})
    services.act(Action.START, ["m"])
    systemctl("mask", "--runtime", "m")
    unit = FOLDER / "m.service"
    unit.rename(unit.with_name("m.away"))  # a file in /etc hides the mask in /run
    systemctl("daemon-reload")
    try:
        status = reading(services, "m")
        assert (status.state, status.enabled) == (ServiceState.RUNNING, "masked-runtime")
        assert status.reason == "it runs on, but m.service is masked"
        [restart] = services.act(Action.RESTART, ["m"])
        assert restart.result is Result.FAILED
        assert "Unit m.service is masked" in restart.reason
        assert reading(services, "m").pid == status.pid
        [stop] = services.act(Action.STOP, ["m"])
        assert stop.result is Result.DONE
        status = reading(services, "m")
        assert (status.state, status.health) == (ServiceState.MASKED, HealthWord.NONE)
        [start] = services.act(Action.START, ["m"])
        assert (start.result, start.reason) == (
            Result.FAILED,
            "cannot start service m: masked: m.service is masked",
        )
        [skipped] = services.restart_all()
        assert skipped.result is Result.SKIPPED
    finally:
        systemctl("unmask", "--runtime", "m")
        unit.with_name("m.away").rename(unit)


def test_a_oneshot_is_started_to_its_end(units: Units) -> None:
    units.put("good.service", "Type=oneshot\nExecStart=echo did it")
    units.put("bad.service", "Type=oneshot\nExecStart=sh -c 'echo no licence; exit 4'")
    units.put("stays.service", "Type=oneshot\nRemainAfterExit=yes\nExecStart=true")
    services = control({"good": WELL, "bad": WELL, "stays": WELL})
    results = {one.name: one for one in services.act(Action.START, ["good", "bad", "stays"])}
    assert {name: one.result.value for name, one in results.items()} == {
        "good": "done",
        "bad": "failed",
        "stays": "done",
    }
    assert "it is a oneshot: it runs to its end" in results["good"].reason
    assert "no licence" in results["bad"].output
    states = {one.name: one for one in services.statuses()}
    assert [states[name].state.value for name in ("good", "bad", "stays")] == ["stopped", "failed", "running"]
    assert states["bad"].reason == "it ended with status 4"
    assert "no licence" in states["bad"].log
    assert states["good"].log == ""
    assert [one.result.value for one in services.act(Action.RESTART, ["good"])] == ["done"]


def test_one_that_ends_and_is_started_for_ever_is_seen_by_its_count(units: Units) -> None:
    units.put(
        "loop.service",
        "Restart=always\nRestartSec=0.2\nExecStart=sh -c 'echo I end; exit 3'",
        unit="StartLimitIntervalSec=0",
    )
    often = ["/bin/sh", "-c", "[ $(systemctl show -p NRestarts --value loop) -gt 1 ]"]
    services = control({"loop": {"health": {"exec": often, "within": 2}}})
    [result] = services.act(Action.START, ["loop"])
    assert result.result is Result.FAILED, "it answers, and ends, and answers"
    until(lambda: (reading(services, "loop").restarts or 0) > 2, what="some restarts")
    status = seen(services, "loop", ServiceState.STARTING)
    assert status.reason.startswith("it ended with status 3 (systemd has started it again ")
    assert "I end" in status.log
    [stop] = services.act(Action.STOP, ["loop"])
    assert stop.result is Result.DONE
    assert reading(services, "loop").state is ServiceState.STOPPED


def test_one_that_systemd_gave_up_is_started_by_us_all_the_same(units: Units) -> None:
    units.put("quick.service", "Restart=always\nRestartSec=0\nExecStart=sh -c '[ -e /run/well ] && exec sleep 1d'")
    services = control({"quick": WELL})
    services.act(Action.START, ["quick"])
    status = seen(services, "quick", ServiceState.FAILED)
    assert status.reason == "it ended with status 1 (systemd has started it again 5 times)"
    assert "Job for quick.service failed" in systemctl("start", "quick", check=False)
    Path("/run/well").touch()
    [result] = services.act(Action.START, ["quick"])
    Path("/run/well").unlink()
    assert result.result is Result.DONE, result
    assert reading(services, "quick").restarts == 0


def test_a_stop_that_hangs_is_told_and_systemd_kills_it_when_its_own_time_is_over(units: Units) -> None:
    units.put("deaf.service", "TimeoutStopSec=1\nExecStart=sh -c 'trap \"\" TERM; while :; do sleep 0.2; done'")
    impatient, patient = (control({"deaf": WELL}, action_s=action_s) for action_s in (0.5, 30.0))
    patient.act(Action.START, ["deaf"])
    [result] = impatient.act(Action.STOP, ["deaf"])
    assert result.result is Result.FAILED
    assert result.reason == (
        "cannot stop service deaf: systemd was not done within 0.5 s, its job goes on: "
        "it is being stopped; systemd kills what is left of it after 1s"
    )
    assert reading(patient, "deaf").state is ServiceState.RUNNING
    [result] = patient.act(Action.STOP, ["deaf"])
    assert result.result is Result.DONE, result
    assert result.reason == "failed: it did not start or stop within the time that its unit gives it"
    pid = patient.act(Action.START, ["deaf"]) and reading(patient, "deaf").pid
    [result] = patient.act(Action.RESTART, ["deaf"])
    assert result.result is Result.DONE, result
    assert f"(was {pid})" in result.reason
    assert result.seconds > 0.9


def test_one_that_never_says_that_it_is_ready(units: Units) -> None:
    units.put("mute.service", "Type=notify\nTimeoutStartSec=1\nExecStart=sleep infinity")
    [result] = control({"mute": WELL}).act(Action.START, ["mute"])
    assert result.result is Result.FAILED
    assert "Job for mute.service failed because a timeout was exceeded" in result.reason
    assert "it did not start or stop within the time that its unit gives it" in result.reason


def test_a_socket_may_start_it_again(units: Units) -> None:
    units.put("a.socket", "ListenStream=/run/a.sock", section="Socket")
    units.put("a.service", "ExecStart=sleep infinity")
    services = control({"a": WELL, "a.socket": WELL})
    services.act(Action.START, ["a.socket"])
    assert reading(services, "a.socket").state is ServiceState.RUNNING
    services.act(Action.START, ["a"])
    [result] = services.act(Action.STOP, ["a"])
    assert (result.result, result.reason) == (Result.DONE, "stopped: a.socket may start it")


def test_a_unit_file_that_changed_is_read_before_a_start_and_said_after_it(units: Units) -> None:
    units.put("c.service", "ExecStart=sleep 1001\nExecReload=true")
    services = control({"c": WELL})
    services.act(Action.START, ["c"])
    edit(FOLDER / "c.service", "1001", "1002")
    status = reading(services, "c")
    assert status.unit_changed
    assert status.reason == "its unit file has changed; it runs as the old one says until it is restarted"
    [reload] = services.act(Action.RELOAD, ["c"])
    assert reload.reason.endswith("; its changed unit file was read, which the process takes up when it is restarted")
    assert command(status.pid) == "sleep 1001"
    edit(FOLDER / "c.service", "1002", "1003")
    [restart] = services.act(Action.RESTART, ["c"])
    assert restart.reason.endswith("; its changed unit file was read, and it runs as that says")
    status = reading(services, "c")
    assert (command(status.pid), status.unit_changed, status.reason) == ("sleep 1003", False, "")
    edit(FOLDER / "c.service", "ExecStart=", "ExecStart=relative/")
    [stop] = services.act(Action.STOP, ["c"])
    assert stop.result is Result.DONE, "by what it was started with"
    [start] = services.act(Action.START, ["c"])
    assert start.result is Result.FAILED
    status = reading(services, "c")
    assert (status.state, status.reason) == (
        ServiceState.FAILED,
        "systemd could not load c.service: Unit c.service has a bad unit file setting.",
    )


def test_a_drop_in_folder_that_is_new_is_found_when_we_brought_it(units: Units) -> None:
    units.put("c.service", "ExecStart=sleep 1001")
    services = control({"c": WELL})
    services.act(Action.START, ["c"])
    (FOLDER / "c.service.d").mkdir()
    (FOLDER / "c.service.d/o.conf").write_text("[Service]\nExecStart=\nExecStart=sleep 1002\n")
    assert not services.read_definitions(["/etc/nginx/nginx.conf", "/etc/systemd/system"])
    assert services.read_definitions(["/etc/nginx/nginx.conf", "/etc/systemd/system/c.service.d/o.conf"])
    services.act(Action.RESTART, ["c"])
    assert command(reading(services, "c").pid) == "sleep 1002"
    (FOLDER / "c.service.d/o.conf").unlink()
    (FOLDER / "c.service.d").rmdir()
    systemctl("daemon-reload")
    (FOLDER / "c.service.d").mkdir()
    (FOLDER / "c.service.d/by-hand.conf").write_text("[Service]\nExecStart=\nExecStart=sleep 1003\n")
    assert systemctl("show", "-p", "NeedDaemonReload", "c") == "NeedDaemonReload=no\n", "systemd does not see it"
    services.act(Action.RESTART, ["c"])
    assert command(reading(services, "c").pid) == "sleep 1003"
    assert not control([]).read_definitions(["/etc/systemd/system/c.service"]), "no service is under systemd"


def test_a_unit_that_is_new_or_gone(units: Units) -> None:
    services = control({"n": WELL})
    assert reading(services, "n").state is ServiceState.MISSING
    assert reading(services, "n").restarts is None
    [result] = services.act(Action.START, ["n"])
    assert result.reason == "cannot start service n: missing: systemd has no unit n.service"
    units.put("n.service", "ExecStart=sleep infinity")
    assert [one.result for one in services.act(Action.START, ["n"])] == [Result.DONE]
    (FOLDER / "n.service").unlink()
    systemctl("daemon-reload")
    status = reading(services, "n")
    assert (status.state, status.reason) == (ServiceState.RUNNING, "it runs on, but systemd has no unit n.service")
    assert [one.result for one in services.act(Action.STOP, ["n"])] == [Result.DONE]
    assert reading(services, "n").state is ServiceState.MISSING


def test_without_the_message_bus_systemd_still_answers() -> None:
    systemctl("stop", "dbus.socket", "dbus.service")
    try:
        assert reading(control(["cron-that-is-not-there"]), "cron-that-is-not-there").state is ServiceState.MISSING
    finally:
        systemctl("start", "dbus.socket")


def test_after_a_boot_nothing_is_pending(units: Units) -> None:
    """The unit is enabled and the machine was switched off by the test outside, in between."""
    conf = Path("/srv/conf")
    booted = conf.exists()
    if not booted:
        units.put("b.service", "ExecStart=sleep infinity", install="WantedBy=multi-user.target")
        systemctl("enable", "--now", "b")
    services = control({"b": WELL}, newest_change=lambda _name: conf.stat().st_ctime)
    if not booted:
        units.keep()
        began = datetime.now(UTC).timestamp()
        until(lambda: conf.write_text("new") and conf.stat().st_ctime > began + 0.05, what="a newer file")
        assert reading(services, "b").restart_pending
        return
    status = reading(services, "b")
    assert (status.state, status.enabled, status.restart_pending) == (ServiceState.RUNNING, "enabled", False)


def test_a_systemd_that_does_not_answer_costs_its_deadline_and_is_unknown() -> None:
    """Process 1 is stopped by the test outside, which waits for the file."""
    Path("/srv/ready").touch()
    until(lambda: Path("/proc/1/stat").read_text().split()[2] == "T", what="process 1 to be stopped")
    began = time.monotonic()
    [status] = control(["nginx"]).statuses()
    assert 4.5 < time.monotonic() - began < 8
    assert (status.state, status.reason) == (ServiceState.UNKNOWN, "systemctl did not end within 5 s")


def seen(services: Services, name: str, state: ServiceState) -> ServiceStatus:
    """The first reading in which the service is in this state."""

    def found() -> ServiceStatus | None:
        status = reading(services, name)
        return status if status.state is state else None

    status = until(found, what=f"{name} to be {state}")
    assert status is not None
    return status


def edit(file: Path, old: str, new: str) -> None:
    """Change a file so that its time is another one too: systemd goes by that."""
    text, before = file.read_text(), file.stat().st_mtime
    assert old in text
    until(lambda: file.write_text(text.replace(old, new)) and file.stat().st_mtime > before, what="another time")


def command(pid: int | None) -> str:
    """What the process was started as."""
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").replace("\0", " ")
