"""What is particular to systemd, against what a real systemctl 252 printed; the rest is in test_contract.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import ManagerKind, Service
from syncsrv.services.base import DefinitionsError, ServiceActionError, ServiceState, ServiceStatus
from syncsrv.services.procfs import resident
from syncsrv.services.systemd import Systemd, drop_ins
from syncsrv.services.unitstate import parse_show
from tests.services.kit import Bench, HandClock, systemd_bench

RECORDED = Path(__file__).parent / "recorded" / "show-252.txt"
BROKEN = RECORDED.with_name("show-252-broken.txt")
"""Units that are broken in one way each, and some of Debian's."""
UNITS = ["t", "bad", "once", "again", "masked", "nothere", "broken", "disabled", "noreload"]


def unit(name: str) -> Service:
    return Service(manager=ManagerKind.SYSTEMD, unit=name)


def printing(folder: Path, text: str, status: int = 0) -> str:
    """A systemctl that prints this, whatever it is asked."""
    program = folder / "systemctl"
    program.write_text(f"#!{sys.executable} -ES\nprint({text!r}, end='')\nraise SystemExit({status})\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, ServiceStatus]:
    text = BROKEN.read_text()
    names = [block["Id"].removesuffix(".service") for block in parse_show(text)]
    systemd = Systemd(HandClock(36400.0), printing(tmp_path, text))
    return systemd.statuses({name: unit(f"{name}.service") for name in names}, 10)


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, ServiceStatus]:
    systemd = Systemd(HandClock(1775.0), printing(tmp_path, RECORDED.read_text()))
    return systemd.statuses({name: unit(f"{name}.service") for name in UNITS}, 10)


@pytest.mark.parametrize(
    "name, state, reason",
    [
        ("t", ServiceState.RUNNING, ""),
        ("bad", ServiceState.FAILED, "it ended with status 1"),
        ("once", ServiceState.RUNNING, ""),
        ("again", ServiceState.STARTING, "it ended with status 1; it is started again"),
        ("masked", ServiceState.MASKED, "masked.service is masked"),
        ("nothere", ServiceState.MISSING, "systemd has no unit nothere.service"),
        (
            "broken",
            ServiceState.FAILED,
            "systemd could not load broken.service: Unit broken.service has a bad unit file setting.",
        ),
        ("disabled", ServiceState.STOPPED, ""),
        ("noreload", ServiceState.RUNNING, ""),
    ],
)
def test_the_recorded_states_in_our_words(
    recorded: dict[str, ServiceStatus], name: str, state: ServiceState, reason: str
) -> None:
    assert (recorded[name].state, recorded[name].reason) == (state, reason)


@pytest.mark.parametrize(
    "name, state, reason",
    [
        ("nginx", ServiceState.RUNNING, ""),
        ("prefail", ServiceState.FAILED, "a command that its unit runs beside its main process failed, such as Exec"),
        (
            "loop",
            ServiceState.STARTING,
            "it ended with status 3 (systemd has started it again 4 times); it is started again",
        ),
        ("deaf", ServiceState.RUNNING, "it is being stopped; systemd kills what is left of it after 6s"),
        ("badreload", ServiceState.RUNNING, "its last reload failed (exit-code)"),
        ("act", ServiceState.STOPPED, "act.socket may start it"),
        ("killed", ServiceState.FAILED, "it was ended by signal 9 (SIGKILL)"),
        ("missingexec", ServiceState.FAILED, "its program could not be executed"),
        ("notifier", ServiceState.FAILED, "it did not start or stop within the time that its unit gives it"),
        ("once", ServiceState.STOPPED, "it is a oneshot: it runs to its end and is stopped then (RemainAfterExit="),
        ("fresh", ServiceState.RUNNING, "it runs on, but systemd has no unit fresh.service"),
        ("inst@x", ServiceState.RUNNING, ""),
        ("unbound", ServiceState.FAILED, "it ended with status 1 (systemd has started it again 5 times)"),
    ],
)
def test_what_is_broken_is_said_in_a_sentence(
    broken: dict[str, ServiceStatus], name: str, state: ServiceState, reason: str
) -> None:
    assert broken[name].state is state
    assert broken[name].reason.startswith(reason)
    assert bool(broken[name].reason) is bool(reason)


def test_the_facts_of_a_unit(broken: dict[str, ServiceStatus]) -> None:
    assert [broken[name].enabled for name in ("nginx", "inst@x", "loop", "fresh")] == [
        *("enabled", "disabled", "static", None)
    ]
    assert [broken[name].restarts for name in ("nginx", "loop", "unbound")] == [0, 4, 5]
    assert (broken["once"].oneshot, broken["nginx"].oneshot) == (True, False)
    assert broken["nginx"].loaded_as == "36397906841.36397906859"
    assert broken["loop"].loaded_as == ""
    assert broken["badreload"].reloaded_at is None, "it failed"
    assert broken["nginx"].reloaded_at is not None


@pytest.mark.parametrize("counted", ["[not set]", str(2**64 - 1)])
def test_memory_is_what_systemd_counts_or_what_the_main_process_has(tmp_path: Path, counted: str) -> None:
    def memory(said: str) -> tuple[int | None, str]:
        text = f"Id=t.service\nLoadState=loaded\nActiveState=active\nSubState=running\n{said}\n"
        status = Systemd(SystemClock(), printing(tmp_path, text)).statuses({"t": unit("t.service")}, 10)["t"]
        return status.memory, status.memory_of

    assert memory(f"MemoryCurrent=35651584\nMainPID={os.getpid()}") == (35651584, "service")
    assert memory(f"MemoryCurrent={counted}\nMainPID=0") == (None, "")
    found, of = memory(f"MemoryCurrent={counted}\nMainPID={os.getpid()}")
    assert of == "process"
    assert found == pytest.approx(resident(os.getpid()), rel=0.2)


@pytest.mark.parametrize(
    "said, state, reason",
    [
        ("LoadState=masked\nActiveState=active", ServiceState.RUNNING, "it runs on, but t.service is masked"),
        (
            "LoadState=not-found\nActiveState=deactivating\nSubState=stop-sigterm\nTimeoutStopUSec=infinity",
            ServiceState.RUNNING,
            "it is being stopped; systemd has no unit t.service",
        ),
        (
            "LoadState=not-found\nActiveState=failed\nResult=signal",
            ServiceState.MISSING,
            "systemd has no unit t.service",
        ),
        (
            "LoadState=loaded\nActiveState=active\nSubState=running\nNeedDaemonReload=yes",
            ServiceState.RUNNING,
            "its unit file has changed; it runs as the old one says until it is restarted",
        ),
        (
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart-queued\nResult=watchdog\nNRestarts=1",
            ServiceState.STARTING,
            "it did not answer its watchdog in time (systemd has started it again 1 time); it is started again",
        ),
        (
            "LoadState=loaded\nActiveState=activating\nSubState=start-pre",
            ServiceState.STARTING,
            "it is being started (start-pre)",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nResult=core-dump\nExecMainCode=3\nExecMainStatus=11",
            ServiceState.FAILED,
            "it crashed: it was ended by signal 11 (SIGSEGV)",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nResult=start-limit-hit\nExecMainCode=1\nExecMainStatus=1\nNRestarts=5",
            ServiceState.FAILED,
            "it ended too often in too short a time, and systemd has given up (systemd has started it again 5 times)",
        ),
        ("LoadState=loaded\nActiveState=failed\nResult=new-word", ServiceState.FAILED, "systemd says new-word"),
    ],
)
def test_what_is_rare_is_said_too(tmp_path: Path, said: str, state: ServiceState, reason: str) -> None:
    status = Systemd(SystemClock(), printing(tmp_path, f"Id=t.service\n{said}\n")).statuses(
        {"t": unit("t.service")}, 10
    )["t"]
    assert (status.state, status.reason) == (state, reason)


def test_the_recorded_times_are_turned_into_wall_time(recorded: dict[str, ServiceStatus]) -> None:
    now = HandClock(1775.0).utc().timestamp()
    status = recorded["t"]
    assert status.pid == 23137
    assert status.started_at == pytest.approx(now - (1775.0 - 1773.928261), abs=1e-4)
    assert status.since_utc is not None
    assert status.since_utc.timestamp() == pytest.approx(now - (1775.0 - 1773.928585), abs=1e-4)
    assert recorded["once"].pid is None
    assert recorded["once"].started_at is not None
    assert recorded["bad"].since_utc is not None
    assert recorded["masked"].since_utc is None


def test_a_reload_by_hand_is_seen(tmp_path: Path) -> None:
    reloaded = RECORDED.read_text().split("\n\n")[0].replace("=1773928585\nActive", "=1774500000\nActive")
    systemd = Systemd(HandClock(1775.0), printing(tmp_path, reloaded))
    status = systemd.statuses({"t": unit("t.service")}, 10)["t"]
    now = HandClock(1775.0).utc().timestamp()
    assert status.reloaded_at == pytest.approx(now - 0.5, abs=1e-4)


def test_a_warning_before_the_first_unit_does_no_harm() -> None:
    warned = 'Invalid unit name "a b" escaped as "a\\x20b" (maybe you should use systemd-escape?).\nId=a\n\nId=b\n'
    assert [block["Id"] for block in parse_show(warned)] == ["a", "b"]


@pytest.mark.parametrize(
    "text, status, reason",
    [
        (
            "Failed to connect to bus: Host is down\n",
            1,
            "systemctl ended with status 1: Failed to connect to bus: Host",
        ),
        ("", 0, "systemctl told of 0 units where 1 were asked for"),
        ("Id=a\n\nId=b\n", 0, "systemctl told of 2 units where 1 were asked for"),
        ("LoadState=loaded\n", 0, "systemd calls its state nothing"),
        ("", 0, ""),
        ("MainPID=[not set]\nId=t.service\nLoadState=loaded\nActiveState=maintenance\n", 0, "its state maintenance"),
    ],
)
def test_what_cannot_be_read_is_unknown(tmp_path: Path, text: str, status: int, reason: str) -> None:
    found = Systemd(SystemClock(), printing(tmp_path, text, status)).statuses({"t": unit("t.service")}, 10)["t"]
    assert found.state is ServiceState.UNKNOWN
    assert reason in found.reason


def test_without_systemctl_everything_is_unknown(tmp_path: Path) -> None:
    systemd = Systemd(SystemClock(), str(tmp_path / "none"), str(tmp_path / "none"))
    with pytest.raises(DefinitionsError, match=r"cannot make systemd read its changed definitions .*: cannot run "):
        systemd.read_definitions(10)
    assert "cannot run" in systemd.statuses({"t": unit("t.service")}, 10)["t"].reason
    assert not systemd.can_reload("t", unit("t.service"))
    assert systemd.last_words("t", unit("t.service")) == ""
    for act in (systemd.start, systemd.stop, systemd.restart, systemd.reload):
        with pytest.raises(ServiceActionError, match="service t: cannot run "):
            act("t", unit("t.service"), 10)


@pytest.fixture
def bench(short_tmp: Path) -> Iterator[Bench]:
    with systemd_bench(short_tmp) as made:
        yield made


def test_all_units_are_read_in_one_call(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "counting"
    program.write_text(
        f"#!{sys.executable} -ES\nimport os, sys\nopen({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        f"program = {str(bench.folder.parent / 'systemctl')!r}\nos.execv(program, [program, *sys.argv[1:]])\n"
    )
    program.chmod(0o755)
    services = {"a": unit("d.service"), "b": unit("masked.service"), "c": unit("gone.service"), "d": unit("d")}
    states = [status.state.value for status in Systemd(SystemClock(), str(program)).statuses(services, 10).values()]
    assert states == ["stopped", "masked", "missing", "stopped"]
    assert (tmp_path / "calls").read_text() == "x"


def test_more_restarts_than_systemd_likes_go_through(bench: Bench) -> None:
    pids = set()
    for _ in range(7):
        bench.manager.restart("d", bench.service, 10)
        pids.add(bench.manager.statuses({"d": bench.service}, 10)["d"].pid)
    assert len(pids) == 7


def test_refusals_are_systemds_own_words(bench: Bench) -> None:
    with pytest.raises(
        ServiceActionError, match=r"cannot start service s: Failed to start masked.service: Unit .*masked"
    ):
        bench.manager.start("s", unit("masked.service"), 10)
    with pytest.raises(ServiceActionError, match=r"cannot stop service s: Failed to stop gone.service: .* not loaded"):
        bench.manager.stop("s", unit("gone.service"), 10)


def test_a_job_that_does_not_end_is_left_at_the_deadline(bench: Bench) -> None:
    with pytest.raises(ServiceActionError, match=r"systemd was not done within 0.5 s, its job goes on"):
        bench.manager.start("s", unit("hang.service"), 0.5)


def test_only_units_that_say_so_can_be_reloaded(bench: Bench) -> None:
    assert bench.manager.can_reload("s", unit("d.service"))
    assert not bench.manager.can_reload("s", unit("hang.service"))
    assert not bench.manager.can_reload("s", unit("gone.service"))


def test_drop_ins_are_found_of_the_unit_and_of_its_template(tmp_path: Path) -> None:
    for name in ("a.service.d/x.conf", "i@.service.d/t.conf", "i@1.service.d/u.conf", "i@1.service.d/no.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a.service.d/masked.conf").symlink_to("/dev/null")
    folders = [str(tmp_path), str(tmp_path / "none")]
    assert drop_ins("a.service", folders) == {"x.conf"}
    assert drop_ins("i@1.service", folders) == {"t.conf", "u.conf"}
    assert drop_ins("b.service", folders) == drop_ins("", folders) == set()
