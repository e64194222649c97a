"""syncsrv as it is installed elsewhere, for the machines of the lab: the built wheel and what uv.lock says beside it.

It is a folder that lies over the test root: a virtual environment in /opt/syncsrv with the root's own Python, and the
command in /usr/local/bin; as README.md says, but with uv in the place of pip, which the root has not.
"""

from __future__ import annotations

import contextlib
import fcntl
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tests.support.testroot import TestRoot

TOP = Path(__file__).parents[2]
HOME = Path("/opt/syncsrv")
COMMAND = Path("/usr/local/bin/syncsrv")
PYTHON = "3.11"
"""Of the root's suite."""


def make(root: TestRoot, layer: Path) -> None:
    """Build the wheel, and install it and what it needs into an empty folder.

    Raises:
        AssertionError: uv failed; with what it said.
    """
    layer.chmod(0o755)
    home = layer / HOME.relative_to("/")
    packages = home / f"lib/python{PYTHON}/site-packages"
    packages.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
        needed = f"{scratch}/requirements.txt"
        _uv("export", "--frozen", "--no-dev", "--no-emit-project", "-o", needed)
        _uv("build", "--wheel", "-o", scratch, "-p", sys.executable)
        (wheel,) = Path(scratch).glob("*.whl")
        there = [f"--python-platform={platform.machine()}-manylinux_2_28", f"--python-version={PYTHON}"]
        install = ["pip", "install", "-p", sys.executable, f"--target={packages}", "--only-binary=:all:", *there]
        _uv(*install, "--require-hashes", "-r", needed)
        _uv(*install, "--no-deps", str(wheel))
    root.run("python3", "-m", "compileall", "-q", "-j2", f"-s{layer}", packages, binds=[layer], deadline_s=300)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    programs = home / "bin"
    (packages / "bin").rename(programs)
    for program in programs.iterdir():
        first, rest = program.read_text().split("\n", 1)
        assert first == f"#!{sys.executable}", first
        program.write_text(f"#!{HOME}/bin/python3\n{rest}")
    (programs / "python3").symlink_to("/usr/bin/python3")
    command = layer / COMMAND.relative_to("/")
    command.parent.mkdir(parents=True)
    command.symlink_to(HOME / "bin/syncsrv")


@contextlib.contextmanager
def shared(root: TestRoot, folder: Path, build: Callable[[TestRoot, Path], None] = make) -> Iterator[Path]:
    """The layer in a folder that several processes name at once: the first one makes it, the last one removes it."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = folder / "layer"
    with (folder / "users.lock").open("w") as users:
        with _one_at_a_time(folder):
            if _alone(users):
                _empty(folder)  # of what one that was killed has left
                making = folder / "making"
                making.mkdir()
                build(root, making)
                making.rename(layer)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield layer
        finally:
            with _one_at_a_time(folder):
                fcntl.flock(users, fcntl.LOCK_UN)
                if _alone(users):
                    _empty(folder)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Nobody begins or ends meanwhile: who uses it takes no lock of its own without this one."""
    with (folder / "change.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _uv(*words: str) -> None:
    argv = [sys.executable, str(TOP / ".ci/bootstrap.py"), "uv", "--quiet", *words]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"uv {words[0]}: {done.stdout}{done.stderr}"
