"""Take a node off its machine's systemd: what it runs and what install wrote. Configuration and history stay.

So does the process carp while this node is MASTER: nothing that is removed moves an address.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from syncsrv import durable
from syncsrv.config.rundir import DEFAULT
from syncsrv.errors import SyncsrvError
from syncsrv.failover.asking import Client
from syncsrv.failover.outcome import key_of
from syncsrv.install import systemd
from syncsrv.install.install import await_jobs
from syncsrv.install.outcome import Outcome
from syncsrv.install.systemd import START_S, SystemdError, states
from syncsrv.install.units import CARP, CORE, DOOR, SERVICES, SYSUSERS, TARGET, TMPFILES, UNITS_FOLDER, WEB


def remove(*, dry_run: bool, say: Callable[[str], None]) -> Outcome:
    """Stop core, door and web, and remove what ``install`` wrote; carp too unless this node may be MASTER.

    Args:
        dry_run: only tell.
        say: takes a sentence while it waits.

    Raises:
        SyncsrvError: as the sentence says; another run goes on from there.
    """
    outcome = Outcome(dry_run)
    run_dir = run_dir_of(TMPFILES)
    now = states((TARGET, *SERVICES))
    stays = _why_it_stays(run_dir) if now[CARP].runs else ""
    if (UNITS_FOLDER / TARGET).exists():
        outcome.step("have nothing started at boot", lambda: systemd.run("systemctl", "disable", "-q", TARGET))
    if now[CORE].runs and not dry_run:
        await_jobs(run_dir, say)
    for unit in (TARGET, CORE, DOOR, WEB):
        if now[unit].active not in ("inactive", "failed"):
            outcome.step(f"stop {unit}", partial(_stop, unit))
    if now[CARP].active not in ("inactive", "failed") and not stays:
        outcome.step(f"stop {CARP}", partial(_stop, CARP))
    paths = [UNITS_FOLDER / unit for unit in (TARGET, CORE, DOOR, WEB)] + [SYSUSERS]
    if not stays:
        paths += [UNITS_FOLDER / CARP, TMPFILES]
    for path in paths:
        if path.exists():
            outcome.step(f"remove {path}", partial(durable.remove, path))
    if not dry_run:
        systemd.run("systemctl", "daemon-reload")
        for unit in (TARGET, *SERVICES):
            with contextlib.suppress(SystemdError):  # of most nothing is known any more
                systemd.run("systemctl", "reset-failed", "--", unit)
    if stays:
        outcome.remarks.append(
            f"{CARP} goes on: {stays}. Move the addresses with `syncsrv vip switchover`, or end it all the same with "
            f"`systemctl stop {CARP}`, which hands them over; then run `syncsrv install --remove` again"
        )
    return outcome


def _why_it_stays(run_dir: Path) -> str:
    """Why a carp process that runs is not to be stopped; empty where it holds nothing."""
    if "StatusText=waits" in systemd.run("systemctl", "show", "-p", "StatusText", "--", CARP):
        return ""
    try:
        with Client(run_dir) as client:
            report = client.report()
    except SyncsrvError as error:
        return f"it cannot be asked whether this node is MASTER ({error.message})"
    held = [key_of(vip) for vip in report.vips if vip.state == "MASTER"]
    return f"this node is MASTER of {', '.join(held)}" if held else ""


def run_dir_of(written: Path) -> Path:
    """Where the sockets are, by what install wrote there: node.yaml may be gone by now."""
    try:
        found = re.search(r"(?m)^d (\S+) ", written.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = None
    return Path(found[1]) if found else DEFAULT


def _stop(unit: str) -> None:
    systemd.run("systemctl", "stop", "--", unit, deadline_s=START_S)
