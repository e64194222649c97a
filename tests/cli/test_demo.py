"""``syncsrv demo`` as people run it, and as somebody ends it in the middle."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

import syncsrv
from syncsrv.demo.walk import STEPS
from tests.support.leftovers import left_running, nothing_left
from tests.support.wait import until

CHECKOUT = Path(syncsrv.__file__).parents[1]
DEMO = (sys.executable, "-Es", "-m", "syncsrv", "demo")
WALK_S = 100
"""Far more than a walk takes, even where other tests run at the same time."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def place(short_tmp: Path) -> Iterator[Path]:
    """Where a demo makes its directory; whatever happens in it, nothing may be left here."""
    with nothing_left(short_tmp):
        yield short_tmp


def environment(place: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm", "TMPDIR": str(place)}


@dataclass(frozen=True, slots=True)
class Ended:
    status: int
    out: str


def run(argv: Sequence[str], place: Path) -> Ended:
    done = subprocess.run(
        argv, env=environment(place), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=WALK_S, check=False,
    )  # fmt: skip
    assert done.stderr == "", done.stdout + done.stderr
    return Ended(done.returncode, done.stdout)


def test_every_step_holds_and_nothing_is_left(place: Path) -> None:
    done = run([*DEMO, "--once"], place)
    assert done.status == 0, done.out
    assert f"All {len(STEPS)} steps held" in done.out
    assert len(re.findall(r"^      ok  \d+\.\d\d s$", done.out, re.MULTILINE)) == len(STEPS)
    assert "\x1b" not in done.out
    assert "upstream is NAME HOST:PORT" in done.out, "the check's own words are not shown"
    assert "left out" not in done.out or not (shutil.which("git") and shutil.which("ssh-keygen"))


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def readable_python(place: Path) -> Path:
    """An interpreter with all that syncsrv needs, in a folder that everybody may read: a checkout may be root's own."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [path for path in (sys.executable, f"/usr/bin/{version}") if Path(path).exists()]
    for interpreter in found:
        subprocess.run([interpreter, "-m", "venv", "--without-pip", "--clear", place], check=True)
        if run_as_nobody([place / "bin/python", "-c", ""]).returncode == 0:
            break
    else:
        pytest.skip(f"none of {', '.join(found)} may be executed by an ordinary user")
    packages = place / "lib" / version / "site-packages"
    unneeded = shutil.ignore_patterns(
        "*.pth", "__editable__*", "syncsrv*", "mypy*", "*__mypyc*", "_pytest", "hypothesis*", "ruff*"
    )
    libraries = sysconfig.get_path("purelib")
    shutil.copytree(libraries, packages, ignore=unneeded, copy_function=link_or_copy, dirs_exist_ok=True)
    for name in ("syncsrv", "templates", "sample-repo"):
        shutil.copytree(CHECKOUT / name, packages / name)
    for path in (packages, *packages.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return place / "bin/python"


NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env")
"""env executes the program: setpriv itself still has root's rights when it does."""


def run_as_nobody(argv: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NOBODY, *argv], cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.sample(2)
def test_an_ordinary_user_can_run_it(short_tmp: Path) -> None:
    short_tmp.chmod(0o755)
    home = short_tmp / "tmp"
    home.mkdir()
    home.chmod(0o1777)
    python = [*NOBODY, str(readable_python(short_tmp / "p"))] if os.geteuid() == 0 else [sys.executable]
    with nothing_left(home):
        done = run([*python, "-Es", "-m", "syncsrv", "demo", "--json"], home)
    told = json.loads(done.out)
    assert (done.status, told["result"]) == (0, "ok"), done.out
    assert [step["name"] for step in told["steps"]] == [step.name for step in STEPS]
    assert {step["result"] for step in told["steps"]} == {"ok"}


class Terminal:
    """A demo whose standard streams are a terminal; as a context manager, so that it ends with the test."""

    def __init__(self, argv: Sequence[str], place: Path) -> None:
        self.shown = ""
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        try:
            self.demo: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment(place),
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.demo.terminate()
        self.demo.wait(60)
        os.close(self._ours)

    def await_text(self, text: str) -> None:
        until(lambda: text in self._read() or self.demo.poll() is not None, WALK_S, text)
        assert text in self._read(), self.shown

    def end(self, number: signal.Signals) -> int:
        self.demo.send_signal(number)
        until(lambda: self._read() and self.demo.poll() is not None, 60, "the demo's end")
        self._read()
        return self.demo.wait()

    def _read(self) -> str:
        try:
            while data := os.read(self._ours, 65536):
                self.shown += data.decode(errors="replace")
        except OSError:
            pass  # nothing more now, or nobody holds the other end any more
        return self.shown


@pytest.mark.sample(2)
def test_on_a_terminal_both_nodes_go_on_running_until_ctrl_c(place: Path) -> None:
    with Terminal(DEMO, place) as terminal:
        terminal.await_text("/state")
        assert f"All {len(STEPS)} steps held" in terminal.shown, terminal.shown
        assert "\x1b[32;1mok\x1b[0m" in terminal.shown
        (line,) = re.findall(r"^  (.* status)\r$", terminal.shown, re.MULTILINE)
        asked = subprocess.run(shlex.split(line), env=environment(place), capture_output=True, text=True, check=True)
        assert "in_sync" in asked.stdout
        assert terminal.end(signal.SIGINT) == 0
        assert "Every process is ended, and every file removed." in terminal.shown


@pytest.mark.sample(2)
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_in_the_middle_leaves_nothing(place: Path, number: signal.Signals, status: int) -> None:
    with Terminal([*DEMO, "--once"], place) as terminal:
        terminal.await_text("fw2$ syncsrv serve")  # the very moment when something is being started
        assert left_running(place)
        assert terminal.end(number) == status, terminal.shown
