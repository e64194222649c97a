"""Put a node under systemd, and bring what is there up to date: the same command, which does what is missing.

What runs is compared by what it was started with, not by what this run wrote, so that one that was cut off is finished
by the next. The process carp is started and never restarted: no address moves because a program was installed.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from syncsrv import durable
from syncsrv.control.ask import Client
from syncsrv.errors import SyncsrvError
from syncsrv.install import program, systemd
from syncsrv.install.outcome import InstallError, Outcome
from syncsrv.install.systemd import START_S, SystemdError, UnitState, states
from syncsrv.install.units import (
    CARP,
    CORE,
    DOOR,
    SERVICES,
    SYSUSERS,
    TARGET,
    TMPFILES,
    UNITS_FOLDER,
    WEB,
    Node,
    built_of,
    files,
)
from syncsrv.privilege import installed
from syncsrv.single import RunningError, only_one

JOBS_S = 900.0
"""For jobs under way: core's end would abort them."""
_LOOK_S = 1.0
_USERS = ("syncsrv-door", "syncsrv-web")


def install(node: Node, *, dry_run: bool, say: Callable[[str], None]) -> Outcome:
    """Do what is missing.

    Args:
        node: what is installed, whose configuration was found well.
        dry_run: only tell.
        say: takes a sentence while it waits.

    Raises:
        SyncsrvError: as the sentence says; what was done stays, and another run goes on from there.
    """
    wanted = files(node)
    _refuse_under_serve(node.state_dir)
    outcome = Outcome(dry_run)
    changed = [path for path, text in wanted.items() if _current(path) != text]
    if changed:
        program.check_usable(node.program)
    for path in changed:
        outcome.step(f"write {path}", partial(_write, path, wanted[path]))
    if SYSUSERS in changed or not all(map(installed, _USERS)):
        outcome.step(f"make the users {' and '.join(_USERS)}", lambda: systemd.run("systemd-sysusers", str(SYSUSERS)))
    if TMPFILES in changed or not node.run_dir.is_dir():
        outcome.step(f"make {node.run_dir}", lambda: systemd.run("systemd-tmpfiles", "--create", str(TMPFILES)))
    if not dry_run:
        if changed:  # another program has another build in its units
            program.compile_all()
        systemd.run("systemctl", "daemon-reload")
    if not _is_enabled():
        outcome.step("have all started at boot", lambda: systemd.run("systemctl", "enable", "-q", TARGET))
    built = {service: built_of(wanted[UNITS_FOLDER / service]) for service in SERVICES}
    _start(node, built, outcome, say)
    return outcome


def _start(node: Node, built: Mapping[str, str], outcome: Outcome, say: Callable[[str], None]) -> None:
    """What does not run, and, but for carp, what runs as something older."""
    before = states(SERVICES)
    if not before[CARP].runs:
        outcome.step(f"start {CARP}", partial(_systemctl, "start", CARP))
    if not before[CORE].runs:
        outcome.step(f"start {CORE}", partial(_systemctl, "start", CORE))
    elif before[CORE].built != built[CORE]:
        if not outcome.dry_run:
            await_jobs(node.run_dir, say)
        outcome.step(f"restart {CORE}, and with it {DOOR} and {WEB}", partial(_systemctl, "restart", CORE))
    else:
        for service in (DOOR, WEB):
            if before[service].built != built[service]:
                outcome.step(f"restart {service}", partial(_systemctl, "restart", service))
    if outcome.dry_run:
        _remark_on_carp(before[CARP], built[CARP], outcome)
        return
    _systemctl("start", TARGET)
    after = states(SERVICES)
    for service, state in after.items():
        if state.active != "active":
            said = systemd.last_words(service)
            raise InstallError(
                f"{service} is {state.active or 'unknown'} though all is installed" + (f": {said}" if said else ""),
                f"see `systemctl status {service}`, correct that, and run `syncsrv install` again",
            )
    _remark_on_carp(after[CARP], built[CARP], outcome)


def _remark_on_carp(state: UnitState, built: str, outcome: Outcome) -> None:
    if state.runs and state.built != built:
        outcome.remarks.append(
            f"{CARP} still runs what it was started with ({state.built or 'which is not known'}): an install never "
            f"moves an address; `systemctl restart {CARP}` hands this node's addresses over first, so do that on the "
            "node that is BACKUP, and then, once that one is well, here"
        )


def await_jobs(run_dir: Path, say: Callable[[str], None], *, deadline_s: float = JOBS_S) -> None:
    """Until core has no job under way; at once where it does not answer.

    Raises:
        InstallError: one goes on for longer than ``deadline_s`` seconds.
    """
    ends_at = time.monotonic() + deadline_s
    said = ""
    while running := _running(run_dir):
        if time.monotonic() >= ends_at:
            raise InstallError(
                f"cannot restart core: {running} is still under way after {deadline_s:g} s",
                "wait for it or abort it, and run `syncsrv install` again",
            )
        if running != said:
            said = running
            say(f"waiting for {running}, which the end of core would abort")
        select.poll().poll(_LOOK_S * 1000)


def _running(run_dir: Path) -> str:
    try:
        with Client(run_dir / "core.sock") as core:
            jobs = core.call("status", {}, deadline_s=10.0)["jobs"]
    except SyncsrvError:  # it is being started, or hangs: then there is nothing to wait for
        return ""
    assert isinstance(jobs, list)
    return ", ".join(f"job {job['job']} ({job['kind']})" for job in jobs if job["state"] == "running")


def _refuse_under_serve(state_dir: Path) -> None:
    lock = state_dir / "serve.lock"
    if not lock.exists():
        return
    try:
        only_one("serve", lock).close()
    except RunningError as error:
        raise InstallError(
            "cannot install: `syncsrv serve` runs on this node, and the units would do the same",
            "end it, which hands this node's addresses over, and run `syncsrv install` again",
        ) from error


def _is_enabled() -> bool:
    return "UnitFileState=enabled" in systemd.run("systemctl", "show", "-p", "UnitFileState", "--", TARGET)


def _systemctl(verb: str, unit: str) -> None:
    try:
        systemd.run("systemctl", verb, "--", unit, deadline_s=START_S)
    except SystemdError as error:  # which only says where to look
        said = systemd.last_words(unit)
        raise InstallError(said or error.message, f"see `systemctl status {unit}`, and install again") from error


def _current(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, text.encode(), 0o644)
