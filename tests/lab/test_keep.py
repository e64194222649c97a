"""`make lab KEEP=1`, as a person uses it."""

from __future__ import annotations

import shlex
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support import keeper
from tests.support.wait import until

TOP = Path(__file__).parents[2]

pytestmark = pytest.mark.long


def machines_of(pid: int) -> list[str]:
    """The keepers whose life hangs on a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = []
    for child in children.read_text().split():
        line = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"keeper.py" in line:
            found.append(child)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("bootable", "testroot")
def test_a_person_looks_around_and_nothing_is_left(number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "tests.lab.keep"]
    with subprocess.Popen(argv, cwd=TOP, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        while not said or "lan up" not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], said
        keepers = machines_of(process.pid)
        assert len(keepers) == 2
        pages = [line.split()[1] for line in said if "https://" in line]
        shells = [line for line in said if line.lstrip().startswith("nsenter -t")]
        own = set()
        for shell in shells:
            (line,) = Path(f"/proc/{shell.split()[2]}/cgroup").read_text().split("0::/")[1:]
            own |= {top / line.split("/")[0] for top in keeper.hierarchies()}
        assert all(path.exists() for path in own)
        for name, page, shell in zip(("fw1", "fw2"), pages, shells, strict=True):
            untrusting = ssl._create_unverified_context()  # the page made its certificate itself
            with urllib.request.urlopen(f"{page}healthz", context=untrusting) as answer:
                assert answer.read() == b"ok\n"
            argv = [*shlex.split(shell), "-c", "hostname; syncsrv status --json >/dev/null"]
            assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == f"{name}\n"
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == (-number if number is signal.SIGKILL else 0), rest
    until(lambda: not [pid for pid in keepers if Path(f"/proc/{pid}").exists()], what="the end of the machines")
    assert not [path for path in own if path.exists()]
