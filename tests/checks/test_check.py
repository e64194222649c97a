"""What comes of a check: content, refusing, hanging, flooding, forking, missing; isolated and on the folder stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncsrv.checks import confine
from syncsrv.checks.check import Checker, CheckResult, Status, run_checks, run_in_folder
from syncsrv.checks.stage import StageError
from syncsrv.process import OUTPUT_KEPT
from tests.checks.stagekit import TOP, Node, elsewhere
from tests.disk.kit import mounted
from tests.support.wait import until

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: mount namespaces")


@pytest.fixture(params=[pytest.param(True, marks=needs_root, id="isolated"), pytest.param(False, id="folder")])
def isolate(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path, changes={"etc/app/main.conf": "staged\n"})
    made.write("etc/app/main.conf", "live\n")
    return made


def running(word: str) -> list[int]:
    """The processes whose command line has ``word`` as a whole argument."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in arguments:
                found.append(int(process.name))
    return found


def test_a_content_check(node: Node, isolate: bool) -> None:
    result = node.sh("cat {stage}/etc/app/main.conf; echo to stderr >&2", isolate=isolate)
    assert result.ok
    assert (result.status, result.output, result.isolated) == (Status.OK, "staged\nto stderr\n", isolate)
    assert (result.why, result.remedy) == ("", "")
    assert 0 < result.seconds < 20
    assert result.sentence().endswith("is content")


def test_a_refusing_check_is_told_in_its_own_words(node: Node, isolate: bool) -> None:
    result = node.sh("echo first; echo 'unknown directive \"lissten\" in x.conf:3' >&2; echo; exit 3", isolate=isolate)
    assert not result.ok
    assert result.status is Status.FAILED
    assert result.output == 'first\nunknown directive "lissten" in x.conf:3\n\n'
    assert result.why == "exited with 3"
    assert result.sentence().endswith('exited with 3: first | unknown directive "lissten" in x.conf:3')
    assert result.remedy
    assert result.shown().startswith('first\nunknown directive "lissten" in x.conf:3')


def test_a_check_that_is_killed(node: Node, isolate: bool) -> None:
    result = node.sh("kill -SEGV $$", isolate=isolate)
    assert (result.status, result.why) == (Status.FAILED, "was ended by SIGSEGV")


def test_a_hanging_check_ends_with_its_deadline_and_all_that_it_started(node: Node, isolate: bool) -> None:
    mark = f"86400.{os.getpid()}1"
    script = f"echo begun; setsid sleep {mark} & (trap '' TERM INT HUP; sleep {mark}) & sleep {mark}"
    result = node.sh(script, isolate=isolate, deadline_s=0.5)
    assert (result.status, result.output) == (Status.TIMEOUT, "begun\n")
    assert result.why == "did not end within 0.5 s"
    assert result.seconds < 5
    assert running(mark) == []


def test_what_a_check_leaves_running_ends_with_it(node: Node, isolate: bool) -> None:
    mark = f"86400.{os.getpid()}2"
    result = node.sh(
        f"setsid sh -c 'setsid sleep {mark} & sleep {mark} & exec sleep {mark}' & echo done", isolate=isolate
    )
    assert (result.status, result.output) == (Status.OK, "done\n")
    assert running(mark) == []


def test_a_flood_is_bounded(node: Node, isolate: bool) -> None:
    result = node.sh("echo head; yes | head -c 30000000; echo tail; exit 1", isolate=isolate)
    assert result.status is Status.FAILED
    assert len(result.output) <= OUTPUT_KEPT + 100
    assert result.output.startswith("head\ny\n")
    assert result.output.endswith("y\ntail\n")
    assert result.sentence().endswith(": y | y | y | tail")


def test_output_that_is_no_text(node: Node, isolate: bool) -> None:
    assert node.sh("printf 'a\\377\\000b'", isolate=isolate).output == "a\\xff\0b"


@pytest.mark.parametrize("argv", [["syncsrv-no-such-program", "-t"], ["/usr/sbin/syncsrv-no-such-program"]])
def test_a_program_that_is_not_installed(node: Node, isolate: bool, argv: list[str]) -> None:
    result = node.check(*argv, isolate=isolate)
    assert (result.status, result.output) == (Status.MISSING, "")
    assert result.why == "cannot be run (No such file or directory)"
    assert result.remedy.startswith(f"install {argv[0]} on this node")


def test_a_file_that_is_no_program(node: Node, isolate: bool) -> None:
    plain = node.write("usr/plain", "")
    strange = node.write("usr/strange", "\x7fno program", mode=0o755)
    assert node.check(str(plain), isolate=isolate).why == "cannot be run (Permission denied)"
    assert node.check(str(strange), isolate=isolate).why == "cannot be run (Exec format error)"


def test_an_argument_that_no_program_can_get(node: Node, isolate: bool) -> None:
    result = node.check("true", "a\0mode=folder", isolate=isolate)
    assert (result.status, result.why) == (Status.MISSING, "cannot be run (its argv contains a NUL)")


def test_its_environment_and_its_input_are_bare(node: Node, isolate: bool) -> None:
    script = (
        "env | sort | grep -v '^\\(_\\|PWD\\|SHLVL\\)='; pwd; cat; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l"
    )
    result = node.sh(script, isolate=isolate)
    lines = dict(line.partition("=")[::2] for line in result.output.splitlines()[:6])
    stage = lines.pop("STAGE")
    assert lines == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "ROOT": str(node.root),
        "AREA": "app",
        "NODE": "fw1",
    }
    assert stage == str(node.root) if isolate else stage.startswith(str(node.state / "stage"))
    assert result.output.splitlines()[6:] == ["/", "/dev/null", "4"]  # 0, 1, 2 and the one that ls itself opens


def test_a_check_has_its_signals_as_usual(node: Node, isolate: bool) -> None:
    said = node.sh("sed -n 's/^Sig\\(Ign\\|Blk\\):\\s*//p' /proc/self/status", isolate=isolate).output
    # 32 and 33 are the C library's own; GNU make hands them down as ignored, and nobody can set them otherwise.
    own = 1 << 31 | 1 << 32
    assert [int(mask, 16) & ~own for mask in said.split()] == [0, 0]


def test_a_check_dies_with_the_process_that_runs_it(node: Node, tmp_path: Path, isolate: bool) -> None:
    mark = f"86400.{os.getpid()}3{isolate:d}"
    code = (
        "from pathlib import Path\nfrom tests.checks.stagekit import Node\n"
        f"Node(Path({str(tmp_path)!r})).sh('sleep {mark}', deadline_s=60, isolate={isolate})"
    )
    core = subprocess.Popen(
        [sys.executable, "-c", code], cwd=TOP, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP)}
    )
    try:
        until(lambda: running(mark), what="the check")
    finally:
        core.kill()
        core.wait()
    until(lambda: not running(mark), what="the end of the check after its parent's kill -9")


def test_checks_of_several_areas_come_one_by_one_and_the_stage_goes_with_the_last(node: Node, isolate: bool) -> None:
    live = node.live()
    checker = Checker(
        node="fw1",
        root=node.root,
        workspace=node.state / "stage",
        read_blob=node.blobs.read,
        hidden=[node.state],
        deadline_s=5,
        isolate=isolate,
    )
    checks = {"app": ["cat", "{stage}/etc/app/main.conf"], "other": ["false"], "third": ["sh", "-c", "echo $AREA"]}
    coming = checker.run(node.planned(live), live, {"app": [b"etc/app"]}, checks)
    first = next(coming)
    assert (first.area, first.output) == ("app", "staged\n")
    assert len(list((node.state / "stage").iterdir())) == 1
    rest = list(coming)
    assert [(one.area, one.status, one.output) for one in rest] == [
        ("other", Status.FAILED, ""),
        ("third", Status.OK, "third\n"),
    ]
    assert list((node.state / "stage").iterdir()) == []


def test_checks_do_not_see_what_another_wrote(node: Node) -> None:
    with node.stage() as stage:
        write = "echo x >{stage}/etc/app/main.conf; cat {stage}/etc/app/main.conf"
        results = run_checks(
            stage, {"one": ["sh", "-c", write], "two": ["cat", "{stage}/etc/app/main.conf"]}, node="fw1"
        )
    assert [one.output for one in results] == ["x\n", "staged\n"] or not IS_ROOT


def test_a_check_on_a_folder_of_somebodys(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "reports").mkdir()
    (tmp_path / "clone/x").write_text("x\n")
    argv = ["sh", "-c", "cat {stage}/x; echo $ROOT $NODE"]
    result = run_in_folder(tmp_path / "clone", "app", argv, reports=tmp_path / "reports", node="clone")
    assert (result.status, result.output) == (Status.OK, f"x\n{tmp_path}/clone clone\n")
    assert "absolute includes were read from this machine" in result.shown()


def without(capability: str) -> tuple[str, ...]:
    """The command that starts a program as root with all capabilities but one."""
    return ("setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}")


class TestWithoutTheRight:
    """As an ordinary user, and as root without CAP_SYS_ADMIN: the folder stage, and the result says so."""

    OTHERS = (
        # its own user namespace, so that a Python below /root can still be executed
        pytest.param(("unshare", "--user", "--map-user=65534", "--map-group=65534"), "not running as root", id="uid"),
        pytest.param(without("sys_admin"), "running without CAP_SYS_ADMIN", id="sys_admin"),
        pytest.param(without("setpcap"), "drop capability 2: Operation not permitted", id="found by trying"),
    )

    @needs_root
    @pytest.mark.parametrize("enter, why", OTHERS)
    def test_the_folder_holds_the_complete_stage(self, short_tmp: Path, enter: tuple[str, ...], why: str) -> None:
        node = Node(short_tmp)
        node.write("etc/app/kept", "kept\n")
        node.write("etc/app/gone", "gone\n")
        node.write("etc/app/secret", "secret\n", mode=0o600)
        argv = ["sh", "-c", "id -u; cd {stage}/etc/app; ls; cat *; echo $STAGE; cat /proc/self/status | grep NoNew"]
        changes = {"etc/app/gone": None, "etc/app/new": "new\n"}
        answer = elsewhere(enter, short_tmp, argv, changes=changes)
        assert answer["status"] == "ok", answer
        assert not answer["isolated"]
        assert answer["note"] == f"not isolated, {why}: absolute includes were read from the live system"
        lines = answer["output"].splitlines()
        assert lines[1:7] == ["kept", "new", "secret", "kept", "new", "secret"]
        assert lines[7].startswith(str(short_tmp / "state/stage"))
        assert lines[8] == "NoNewPrivs:\t1"
        assert answer["left"] == []

    def test_the_reason_is_asked_for_once(self) -> None:
        assert confine.why_not_isolated() == ("" if IS_ROOT else "not running as root")


def outcome(node: Node, isolate: bool) -> str:
    """What a good check says of the disk; empty where it had room."""
    try:
        result = node.sh("true", isolate=isolate)
    except StageError as error:
        return str(error)
    return result.note if result.ok and isolate else "" if result.ok else result.sentence()


@needs_root
@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("inodes", range(2, 8))
def test_a_full_disk_is_an_error_with_a_name_wherever_it_is_met(
    node: Node, tmp_path: Path, isolate: bool, inodes: int
) -> None:
    """A file system that takes so many names and no more: the stage, what stands in it, the report."""
    stage = node.state / "stage"
    stage.mkdir(mode=0o700)
    with mounted(stage, "-t", "tmpfs", "-o", f"nr_inodes={inodes},mode=700", "tmpfs"):
        said = outcome(node, isolate)
        assert said == "" or "No space left on device" in said
        assert list(stage.iterdir()) == []


def test_a_result_of_every_kind_reads_as_a_sentence() -> None:
    def result(status: Status, why: str, output: str = "") -> CheckResult:
        return CheckResult("dns", ("nft", "-c", "-f", "/etc/my rules"), status, output, 0.1, True, "a note", why)

    refused = result(Status.FAILED, "exited with 1", "a\nError: syntax\n")
    assert refused.sentence() == "its check `nft -c -f '/etc/my rules'` exited with 1: a | Error: syntax"
    assert refused.shown() == "a\nError: syntax\n(a note)"
    assert "run `nft" in result(Status.TIMEOUT, "did not end within 60 s").remedy
    assert "correct the check of area dns" in result(Status.MISSING, "cannot be run (x)").remedy
    assert signal.SIGSEGV.name == "SIGSEGV"
