"""Services under a real systemd: what its systemctl prints, what its units do, and what we make of it.

Service control has to stand in the machine, where the numbers of its processes are those of its /proc. So these tests
bring what they need along, and run pytest in there.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support import netns
from tests.support.machines import Machine
from tests.support.testroot import TestRoot
from tests.support.wait import until

TOP = Path(__file__).parents[2]
PLACE = "opt/inside"
BROUGHT = (
    *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
    *("pytest", "pluggy", "iniconfig", "packaging", "pygments", "hypothesis", "sortedcontainers"),
)
"""Whose modules service control imports, and pytest and the top of the tests."""

INI = """\
[pytest]
pythonpath = . lib
filterwarnings = error
markers = sample
addopts = -ra --import-mode=importlib -p no:cacheprovider
python_files = promises.py cases.py
"""


@pytest.fixture(scope="module")
def machine(bootable: None, testroot: TestRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    layer = tmp_path_factory.mktemp("layer")
    place = layer / PLACE
    for part in ("syncsrv", "tests"):
        shutil.copytree(TOP / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BROUGHT:
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (place / "lib" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), place / "lib" / file)
    (place / "pytest.ini").write_text(INI)
    spaces = netns.Lab()
    try:
        with Machine("services", testroot, spaces, layers=[layer]) as machine:
            machine.boot()
            yield machine
    finally:
        spaces.close()


def passes(machine: Machine, *words: str) -> str:
    """Run tests inside; all that pytest said."""
    argv = ("python3", "-B", "-m", "pytest", "-c", "pytest.ini", *words)
    done = machine.run("env", "-C", f"/{PLACE}", "PYTHONPATH=lib", *argv, check=False, deadline_s=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(100)
def test_a_real_systemd_keeps_the_promises_of_every_manager(machine: Machine) -> None:
    said = passes(machine, "tests/lab/inside/promises.py", "--durations=5")
    assert "skipped" not in said
    print(said)


def test_units_that_work_break_hang_and_change(machine: Machine) -> None:
    apart = "not does_not_answer and not after_a_boot"
    print(passes(machine, "tests/lab/inside/cases.py", "-k", apart, "--durations=5"))


def test_a_systemd_that_hangs_makes_nobody_wait_for_ever(machine: Machine) -> None:
    ready = machine.disk / "srv/ready"
    said: Future[str] = Future()

    def inside() -> None:
        try:
            said.set_result(passes(machine, "tests/lab/inside/cases.py", "-k", "does_not_answer"))
        except AssertionError as error:
            said.set_exception(error)

    thread = threading.Thread(target=inside)
    thread.start()
    try:
        until(lambda: ready.exists() or said.done(), 30, "the test inside")
        os.kill(machine.pid, signal.SIGSTOP)
        assert "1 passed" in said.result(60)
    finally:
        os.kill(machine.pid, signal.SIGCONT)
        thread.join()


def test_a_boot_reads_every_file_anew(machine: Machine) -> None:
    boot = "tests/lab/inside/cases.py", "-k", "after_a_boot"
    passes(machine, *boot)
    machine.kill()
    machine.boot()
    passes(machine, *boot)
