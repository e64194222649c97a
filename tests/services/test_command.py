"""What is particular to services that bring their own commands; the rest is in test_contract.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from syncsrv.clock import SystemClock
from syncsrv.config.model import ManagerKind, Service
from syncsrv.services.base import ServiceActionError, ServiceState, ServiceStatus
from syncsrv.services.command import LOG_LIMIT, Commands
from tests.services.kit import command_bench
from tests.support.wait import until


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-ES", "-c", code)


def service(**argv: tuple[str, ...]) -> Service:
    given = {"start": ("/bin/true",), "stop": ("/bin/true",), "status": ("/bin/true",)} | argv
    return Service.model_validate({"manager": ManagerKind.COMMAND} | given)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands("fw1", tmp_path / "logs", SystemClock())


def read(commands: Commands, code: str, deadline_s: float = 5) -> ServiceStatus:
    return commands.statuses({"s": service(status=python(code))}, deadline_s)["s"]


@pytest.mark.parametrize(
    "code, state",
    [
        ("raise SystemExit(0)", ServiceState.RUNNING),
        ("raise SystemExit(3)", ServiceState.STOPPED),
        ("raise SystemExit(1)", ServiceState.UNKNOWN),
        ("raise SystemExit(4)", ServiceState.UNKNOWN),
        ("import os; os.kill(os.getpid(), 9)", ServiceState.UNKNOWN),
    ],
)
def test_the_exit_status_of_status_is_the_state(commands: Commands, code: str, state: ServiceState) -> None:
    assert read(commands, code).state is state


def test_any_other_status_is_unknown_with_what_was_said(commands: Commands) -> None:
    status = read(commands, "print('pid file\\nis damaged'); raise SystemExit(4)")
    assert status.reason == "its status command ended with status 4: pid file is damaged"
    assert read(commands, "import os; os.kill(os.getpid(), 9)").reason == "its status command was ended by signal 9"


def test_a_status_that_hangs_is_unknown_and_holds_up_no_other(commands: Commands) -> None:
    hangs = service(status=python("import signal; signal.pause()"))
    readings = commands.statuses({"a": hangs, "b": service(), "c": hangs, "d": hangs}, 0.5)
    assert readings["a"].state is ServiceState.UNKNOWN
    assert readings["a"].reason == "its status command did not end within 0.5 s and was killed"
    assert readings["b"].state is ServiceState.RUNNING


def test_all_are_asked_at_once(commands: Commands, tmp_path: Path) -> None:
    """Each answers when it has met the others."""
    place = tmp_path / "place"
    place.mkdir()
    meets = f"""
import pathlib, sys, time
place = pathlib.Path({str(place)!r})
(place / sys.argv[1]).touch()
while len(list(place.iterdir())) < 3:
    time.sleep(0.01)
"""
    waiting = {name: service(status=(*python(meets), name)) for name in "abc"}
    readings = commands.statuses(waiting, 30)
    assert {one.state for one in readings.values()} == {ServiceState.RUNNING}


def test_a_status_that_is_not_there_is_unknown(commands: Commands) -> None:
    status = commands.statuses({"s": service(status=("/no/such/program",))}, 5)["s"]
    assert status.state is ServiceState.UNKNOWN
    assert "cannot run /no/such/program" in status.reason


def test_a_pid_is_believed_only_where_there_is_such_a_process(commands: Commands) -> None:
    assert read(commands, f"print('running, PID: {os.getpid()}.')").pid == os.getpid()
    assert read(commands, "print('running, pid 4194999')").pid is None
    assert read(commands, "print('rapid 1')").pid is None


def test_commands_see_only_what_they_are_given(commands: Commands, tmp_path: Path) -> None:
    code = f"import os; open({str(tmp_path / 'env')!r}, 'w').write(repr((dict(os.environ), os.getcwd())))"
    commands.start("s", service(start=python(code)), 5)
    env, folder = eval((tmp_path / "env").read_text())
    env.pop("LC_CTYPE", None)  # Python's own
    assert sorted(env) == ["LANG", "NODE", "PATH", "SERVICE"]
    assert (env["SERVICE"], env["NODE"], folder) == ("s", "fw1", "/")


def test_a_daemons_files_are_not_hidden_by_cores_umask(commands: Commands, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        commands.start("s", service(start=("/bin/touch", str(tmp_path / "log"))), 5)
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("verb", ["start", "stop", "reload", "restart"])
def test_a_command_that_fails_gives_its_status_and_its_output(commands: Commands, verb: str) -> None:
    failing = service(**{verb: python("print('line 7: bad word'); raise SystemExit(2)")})
    with pytest.raises(ServiceActionError) as caught:
        getattr(commands, verb)("s", failing, 5)
    assert str(caught.value) == f"cannot {verb} service s: {sys.executable} ended with status 2"
    assert caught.value.output == "line 7: bad word"


def test_a_start_that_stays_is_killed_with_its_group_and_told_what_it_should_do(
    commands: Commands, tmp_path: Path
) -> None:
    stays = python(
        "import os, signal; pid = os.fork(); "
        f"pid and open({str(tmp_path / 'child')!r}, 'w').write(str(pid)); signal.pause()"
    )
    with pytest.raises(ServiceActionError, match=r"did not end within 0.5 s and was killed .it must return while"):
        commands.start("s", service(start=stays), 0.5)
    child = int((tmp_path / "child").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child), what="the end of the group")


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_without_a_reload_command_there_is_no_reload(commands: Commands) -> None:
    assert not commands.can_reload("s", service())
    assert commands.can_reload("s", service(reload=("/bin/true",)))
    with pytest.raises(ServiceActionError, match="cannot reload service s: it has no reload command"):
        commands.reload("s", service(), 5)


def test_a_restart_command_is_used_where_there_is_one(commands: Commands, tmp_path: Path) -> None:
    touched = tmp_path / "restarted"
    commands.restart("s", service(restart=("/bin/touch", str(touched)), stop=("/bin/false",), start=("/bin/false",)), 5)
    assert touched.exists()


def test_without_one_it_is_stopped_only_where_it_is_not_stopped_already(commands: Commands, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    say = {verb: python(f"open({str(trace)!r}, 'a').write('{verb} ')") for verb in ("start", "stop")}
    commands.restart("s", service(**say), 5)
    assert trace.read_text() == "stop start "
    trace.unlink()
    commands.restart("s", service(**say, status=python("raise SystemExit(3)")), 5)
    assert trace.read_text() == "start "


def test_a_daemon_outlives_its_start_command_and_may_go_on_printing(short_tmp: Path) -> None:
    with command_bench(short_tmp) as bench:
        bench.conf("chatty")
        bench.manager.start("d", bench.service, 10)
        pid = bench.loaded()[0]
        log = short_tmp / "logs" / "d.log"
        assert log.stat().st_mode & 0o777 == 0o600
        bench.manager.reload("d", bench.service, 10)
        until(lambda: log.read_text().count("signal SIGHUP") == 1, what="a line after the start command has ended")
        bench.manager.reload("d", bench.service, 10)
        until(lambda: log.read_text().count("signal SIGHUP") == 2, what="another one")
        assert bench.loaded() == (pid, "chatty")
        assert bench.manager.last_words("d", bench.service).endswith("signal SIGHUP")


def test_what_a_daemon_prints_is_bounded_under_it(short_tmp: Path) -> None:
    with command_bench(short_tmp) as bench:
        bench.conf("chatty")
        bench.manager.start("d", bench.service, 10)
        log = short_tmp / "logs" / "d.log"
        with log.open("ab") as file:
            file.truncate(LOG_LIMIT + 1)
        assert bench.manager.statuses({"d": bench.service}, 10)["d"].state is ServiceState.RUNNING
        assert log.stat().st_size == 0
        bench.manager.reload("d", bench.service, 10)
        until(lambda: log.read_text() == "signal SIGHUP\n", what="the daemon's next line at the beginning")


def test_an_output_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceActionError, match=r"its output file .*/file/logs/s.log cannot be written"):
        Commands("fw1", tmp_path / "file" / "logs", SystemClock()).start("s", service(), 5)
