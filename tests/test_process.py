"""Programs under a deadline: their whole group ends, what they say is bounded, and a daemon they leave lives on."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest

from syncsrv.process import OUTPUT_KEPT, Completed, NotStartedError, Stop, run
from tests.support.wait import until

ENV = {"PATH": os.defpath, "ONLY": "this"}


def sh(script: str, deadline_s: float = 20.0, **more: object) -> Completed:
    return run(["/bin/sh", "-c", script], env=ENV, deadline_s=deadline_s, **more)  # type: ignore[arg-type] # run's own


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_status_and_both_streams_in_order() -> None:
    done = sh("echo one; echo two >&2; echo three; exit 7")
    assert (done.status, done.output, done.truncated) == (7, b"one\ntwo\nthree\n", False)
    assert 0 < done.seconds < 20
    assert sh("kill -TERM $$").status == -signal.SIGTERM
    assert sh("printf 'caf\\351'").text == "caf\\xe9"


def test_its_environment_directory_and_input_are_only_what_it_is_given() -> None:
    done = run(["/usr/bin/env"], env=ENV, deadline_s=20)
    assert dict(line.split("=", 1) for line in done.text.splitlines()) == ENV
    assert sh("pwd; cat").text == "/\n"
    assert sh("umask", umask=0o027).text == "0027\n"
    assert sh("pwd", cwd=Path("/usr")).text == "/usr\n"


def test_standard_input_is_fed_whole_however_slowly_it_is_read() -> None:
    data = bytes(range(256)) * 4096
    done = run(
        [sys.executable, "-c", "import sys,hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"],
        env=ENV, deadline_s=20, stdin=data,
    )  # fmt: skip
    assert done.text.strip() == hashlib.sha256(data).hexdigest()


def test_a_program_that_does_not_read_its_input_ends_as_it_likes() -> None:
    assert sh("exec 0<&-; exit 3", stdin=b"x" * 1_000_000).status == 3
    assert sh("exit 4", stdin=b"").status == 4


def test_a_flood_is_kept_by_its_head_and_its_tail() -> None:
    done = sh("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last")
    assert (done.status, done.truncated) == (0, True)
    assert done.output.startswith(b"first\nxxx")
    assert done.output.endswith(b"xxxlast\n")
    assert b"[... output dropped ...]" in done.output
    assert len(done.output) <= OUTPUT_KEPT + 100
    exact = sh(f"head -c {OUTPUT_KEPT} /dev/zero")
    assert (len(exact.output), exact.truncated) == (OUTPUT_KEPT, False)


def test_an_endless_flood_ends_at_the_deadline() -> None:
    done = sh("while :; do echo flood; done", 0.5)
    assert (done.status, done.truncated) == (None, True)
    assert done.seconds < 10


def test_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    """Also a child that ignores the signals that ask politely."""
    child = f"(trap '' TERM; sleep 1000 & echo $! > {tmp_path}/1; wait)"
    done = sh(f"trap '' TERM INT; {child} & echo $! > {tmp_path}/2; echo said; wait", 1.0)
    assert (done.status, done.output) == (None, b"said\n")
    pids = [int((tmp_path / name).read_text()) for name in ("1", "2")]
    until(lambda: not any(map(alive, pids)), what="the group to be gone")


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    done = sh(f"sleep 1000 & echo $! > {tmp_path}/pid; echo started")
    assert (done.status, done.output) == (0, b"started\n")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_daemon_that_a_start_command_leaves_lives_on_and_can_write(tmp_path: Path) -> None:
    """Its output is a file that it holds; a pipe of ours would break under it."""
    log = tmp_path / "log"
    log.write_text("before\n")
    script = (
        f"(while test ! -e {tmp_path}/go; do sleep 0.05; done; echo alive) & echo $! > {tmp_path}/pid; echo started"
    )
    done = sh(script, output_to=log)
    assert (done.status, done.output) == (0, b"started\n"), "only what it said itself, not what stood there before"
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    (tmp_path / "go").touch()
    until(lambda: log.read_text() == "before\nstarted\nalive\n", what="the daemon to write")
    until(lambda: not alive(pid), what="the daemon to end")


def test_a_flood_into_a_file_is_read_back_in_bounds(tmp_path: Path) -> None:
    done = sh("echo first; head -c 3000000 /dev/zero; echo last", output_to=tmp_path / "log")
    assert done.status == 0
    assert done.truncated
    assert len(done.output) <= OUTPUT_KEPT + 100
    assert done.output.startswith(b"first\n")


@pytest.mark.parametrize("kind", ["missing", "not executable", "no interpreter", "a directory"])
def test_what_cannot_be_executed_is_an_error_with_a_remedy(tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program"
    if kind == "a directory":
        program.mkdir()
    elif kind != "missing":
        program.write_text("#!/no/such/interpreter\n")
        program.chmod(0o755 if kind == "no interpreter" else 0o644)
    with pytest.raises(NotStartedError, match=f"cannot run {program}: ") as said:
        run([str(program), "x"], env=ENV, deadline_s=5)
    assert said.value.argv == (str(program), "x")
    assert said.value.remedy


def test_no_shell_reads_the_arguments() -> None:
    assert run(["/bin/echo", "$HOME; `id` && *", "a b"], env=ENV, deadline_s=5).text == "$HOME; `id` && * a b\n"


def test_no_descriptor_of_ours_reaches_it(tmp_path: Path) -> None:
    handle = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(handle, True)
    try:
        listed = run(["/bin/ls", "/proc/self/fd"], env=ENV, deadline_s=5).text.split()
    finally:
        os.close(handle)
    assert len(listed) == 4, "three streams and the directory that it reads"


def test_many_runs_leave_no_descriptor_and_no_child_behind() -> None:
    def held() -> tuple[int, set[str]]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), set(children)

    sh("true")
    before = held()
    for _ in range(20):
        sh("exec >&-; true", stdin=b"x" * 100)
        with pytest.raises(NotStartedError):
            run(["/no/such"], env=ENV, deadline_s=1)
        sh("sleep 100", 0.01)
    assert held() == before


def test_who_holds_the_stop_ends_it_before_its_deadline_and_what_comes_after_too() -> None:
    stop = Stop()
    timer = threading.Timer(0.2, stop.ask)
    timer.start()
    done = sh("echo begun; sleep 1000", 60, stop=stop)
    assert (done.status, done.output) == (None, b"begun\n")
    assert done.seconds < 30
    assert sh("sleep 1000", 60, stop=stop).status is None, "a later one of the same job"
    timer.join()


def with_room_for(descriptors: int, script: str) -> str:
    """Run a script with so many descriptors left to us; why it was not run, empty where it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.dup(0)]
    while held[-1] != len(os.listdir("/proc/self/fd")) - 2:  # the gaps below are filled
        held.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + descriptors, before[1]))
    try:
        sh(script, stdin=b"x")
    except NotStartedError as error:
        return error.message
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for handle in held:
            os.close(handle)
    return ""


def test_without_descriptors_nothing_runs_unwatched(tmp_path: Path) -> None:
    refused = [with_room_for(room, f"sleep 0.2; touch {tmp_path}/{room}") for room in range(14)]
    first = refused.index("")
    assert first > 5
    assert all("Too many open files" in why for why in refused[:first])
    assert not any(refused[first:])
    assert {int(path.name) for path in tmp_path.iterdir()} == set(range(first, 14)), "what was not watched was ended"
