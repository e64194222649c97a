"""``syncsrv sync``: the button. On the master it tags and asks the backups; on a backup it pulls."""

from __future__ import annotations

import click

from syncsrv.cli.follow import follow
from syncsrv.cli.output import Settings, pass_settings
from syncsrv.cli.values import DURATION, print_started
from syncsrv.cli.where import client


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option(
    "--area",
    "areas",
    multiple=True,
    metavar="NAME",
    help="Only this area; may be given several times. Default: all, cluster.yaml included.",
)
@click.option("--rev", metavar="REV", help="A tag, or a commit to be tagged, instead of what is live.")
@click.option("--reason", default="", help="Why; kept in the tag and in the history.")
@click.option("--dry-run", is_flag=True, help="Run the plan, the guards and the checks on the backup; change nothing.")
@click.option("--restart-all", is_flag=True, help="Restart all services that run or have failed, in order.")
@click.option(
    "--confirm-within",
    type=DURATION,
    metavar="DURATION",
    help="Revert unless confirmed in time, e.g. 10m (this version refuses it).",
)
@click.option(
    "--force", multiple=True, metavar="GUARD", help="Go on although this guard fires; several times for several."
)
@click.option("--no-wait", is_flag=True, help="Print the job's id and return.")
@pass_settings
def command(
    settings: Settings,
    nodes: tuple[str, ...],
    areas: tuple[str, ...],
    rev: str | None,
    reason: str,
    dry_run: bool,
    restart_all: bool,
    confirm_within: float | None,
    force: tuple[str, ...],
    no_wait: bool,
) -> int:
    """Tag the configuration and bring it to the backups.

    On a master: commits what is pending, tags it and has each NODE (default: every backup) fetch, check and apply the
    tag. On a backup: fetches and applies its master's newest tag. Waits for the end and shows each step.

    Exit status 0: every node is done or was equal already; else 1: one failed; else 4: a guard refused; else 3: one
    cannot be reached.
    """
    body = {
        "nodes": list(nodes),
        "areas": list(areas),
        "rev": rev,
        "reason": reason,
        "dry_run": dry_run,
        "restart_all": restart_all,
        "confirm_within_s": confirm_within,
        "force": list(force),
    }
    with client(settings) as core:
        job = core.call("sync", body, deadline_s=30)["job"]
        if no_wait:
            return print_started(settings, job)
        return follow(settings, core, job, "Dry run" if dry_run else "Synchronize")
