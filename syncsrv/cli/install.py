"""``syncsrv install``: units, users and what is started at boot; upgrade and removal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from syncsrv.cli.output import Settings, pass_settings, warn
from syncsrv.errors import SyncsrvError

if TYPE_CHECKING:
    from syncsrv.install.outcome import Outcome


class CannotInstallError(SyncsrvError):
    """Nothing was done: this is not the user, or the machine, for it."""

    code = "install"


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--remove", "removing", is_flag=True, help="Stop and remove what an installation made.")
@pass_settings
def command(settings: Settings, dry_run: bool, removing: bool) -> None:
    """Have systemd run this node, now and at each boot.

    Writes a unit for each of core, door, web and carp, makes the users of door and web, and starts all. Run it again
    after an upgrade of the program: core, door and web are restarted where they run something older, after the job that
    is under way; carp never is, so no address moves by it.

    With --remove core, door and web are stopped and the units removed; carp goes on while this node is MASTER.
    Configuration, history and the users of the system stay.
    """
    from syncsrv.install import systemd

    if not systemd.is_there():
        raise CannotInstallError(
            "cannot install: systemd does not run this machine",
            "have whatever does start `syncsrv serve`, which stays in the foreground; SIGTERM ends it",
        )
    if os.geteuid() != 0 and not dry_run:
        raise CannotInstallError("cannot install: only root may do that", "run it as root, or look with --dry-run")
    outcome = _remove(dry_run) if removing else _install(settings, dry_run)
    data = {"dry_run": dry_run, "removed": removing, "steps": outcome.steps, "remarks": outcome.remarks}
    settings.show(data, lambda: _told(settings, outcome, removing=removing))


def _install(settings: Settings, dry_run: bool) -> Outcome:
    from syncsrv.config.load import load
    from syncsrv.install.install import install
    from syncsrv.install.program import this
    from syncsrv.install.units import Node

    node = load(settings.config).node
    return install(Node(this(), settings.config, node.state_dir, node.run_dir), dry_run=dry_run, say=warn)


def _remove(dry_run: bool) -> Outcome:
    from syncsrv.install.remove import remove

    return remove(dry_run=dry_run, say=warn)


def _told(settings: Settings, outcome: Outcome, *, removing: bool) -> str:
    lines = [f"would {step}" if outcome.dry_run else step for step in outcome.steps]
    if not lines:
        lines = ["There is nothing to remove." if removing else "All is installed and runs what it should."]
    elif not outcome.dry_run:
        done = "Removed." if removing else "Installed; `syncsrv status` says how the node does."
        lines = [*(f"  {line}" for line in lines), settings.paint(done, "green")]
    return "\n".join([*lines, *(f"Remark: {remark}." for remark in outcome.remarks)])
