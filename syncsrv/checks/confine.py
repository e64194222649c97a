"""Start sandbox.py for one program and read what it reports; the parent's side of it."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import syncsrv
from syncsrv import process
from syncsrv.checks.stage import Stage

_GRACE_S = 10.0
"""Beyond the program's deadline, for building and leaving the view."""

_START = "import sys; sys.path.append(sys.argv.pop()); from syncsrv.checks.sandbox import main; sys.exit(main())"
"""With -I -S: neither the environment nor site-packages cost time or change what runs as root."""

_CAP_SYS_ADMIN = 1 << 21


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run.

    Attributes:
        argv: program and arguments.
        env: its whole environment.
        deadline_s: seconds that it may take.
        stop: whoever holds it may end it earlier; it then counts as ended by the deadline.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    deadline_s: float
    stop: process.Stop | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. Exactly one of ``exit``, ``timeout``, ``missing`` and ``refused`` says so.

    Attributes:
        exit: its exit status, negative for a signal.
        timeout: the deadline ended it.
        missing: why it could not be executed.
        refused: why it was not even tried: the kernel's reason against isolation.
        notes: what a reader should know about its view.
        output: what it printed, bounded.
        seconds: all in all.
    """

    output: str
    seconds: float
    exit: int | None = None
    timeout: bool = False
    missing: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()


def isolated(stage: Stage, program: Program) -> Ended:
    """Run it where the staged files stand at their real paths and nothing it does lasts.

    Raises:
        StageError, FileError: the stage could not be built.
    """
    order = [
        ("mode", "isolated"),
        ("root", os.fspath(stage.root)),
        ("layer", os.fspath(stage.layer())),
        ("scratch", os.fspath(stage.directory("scratch"))),
        *(("top", os.fsdecode(top)) for top in stage.tops),
        *(("hidden", os.fspath(path)) for path in stage.hidden),
    ]
    return _run(stage.directory("reports"), order, program)


def plainly(reports: Path, program: Program) -> Ended:
    """Run it as we are; what it leaves running is killed.

    Args:
        reports: directory of ours for the report.
        program: what to run.
    """
    return _run(reports, [("mode", "folder")], program)


def why_not_isolated() -> str:
    """Why checks cannot be isolated on this machine; empty where they can, which was tried."""
    try:
        return _tried()
    except OSError as error:
        return f"it could not be tried ({error.strerror or error})"


@functools.cache
def _tried() -> str:
    """The same, found out once in a process's life: rights and kernel stay what they are, a full disk does not."""
    if os.geteuid() != 0:
        return "not running as root"
    held = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if held is None or not int(held[1], 16) & _CAP_SYS_ADMIN:
        return "running without CAP_SYS_ADMIN"
    with tempfile.TemporaryDirectory(prefix="syncsrv-probe-") as home:
        folders = {name: Path(home, name) for name in ("root", "layer", "scratch")}
        for folder in folders.values():
            folder.mkdir()
        order = [("mode", "probe"), *((name, os.fspath(folder)) for name, folder in folders.items()), ("top", "")]
        return _run(Path(home), order, Program(("probe",), {}, _GRACE_S)).refused


def _run(reports: Path, order: Iterable[tuple[str, str]], program: Program) -> Ended:
    try:
        handle, report = tempfile.mkstemp(prefix="report-", dir=reports)
    except OSError as error:
        return Ended("", 0.0, refused=f"{reports} cannot be written: {error.strerror or error}")
    os.close(handle)
    fields = [
        *order,
        ("report", report),
        ("deadline_s", str(program.deadline_s)),
        *(("env", f"{name}={value}") for name, value in program.env.items()),
        *(("arg", argument) for argument in program.argv),
    ]
    if any("\0" in value for _, value in fields):
        return Ended("", 0.0, missing="its argv contains a NUL")
    text = b"\0".join(os.fsencode(f"{key}={value}") for key, value in fields)
    ours = Path(syncsrv.__file__).parents[1]
    completed = process.run(
        [sys.executable, "-I", "-S", "-c", _START, os.fspath(ours)],
        env={},
        deadline_s=program.deadline_s + _GRACE_S,
        stdin=text,
        stop=program.stop,
    )
    return _read(Path(report).read_text("utf-8", "surrogateescape"), completed)


def _read(report: str, completed: process.Completed) -> Ended:
    said: dict[str, list[str]] = {}
    for line in report.splitlines():
        word, _, text = line.partition(" ")
        said.setdefault(word, []).append(text)
    notes = tuple(said.get("note", ()))
    if "error" in said:
        return Ended("", completed.seconds, refused=said["error"][0], notes=notes)
    if "missing" in said:
        return Ended(completed.text, completed.seconds, missing=said["missing"][0], notes=notes)
    if "timeout" in said or completed.status is None:
        return Ended(completed.text, completed.seconds, timeout=True, notes=notes)
    if "exit" in said:
        return Ended(completed.text, completed.seconds, exit=int(said["exit"][0]), notes=notes)
    last = completed.text.strip().rpartition("\n")[2]
    return Ended("", completed.seconds, refused=f"its process ended without a report: {last}", notes=notes)
