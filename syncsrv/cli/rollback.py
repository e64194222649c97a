"""``syncsrv rollback``: an older commit's content, as a new commit, through the one engine."""

from __future__ import annotations

import click

from syncsrv.cli.follow import follow
from syncsrv.cli.output import Settings, pass_settings
from syncsrv.cli.where import client


@click.command()
@click.argument("rev")
@click.option("--area", "areas", multiple=True, metavar="NAME", help="Only this area; may be given several times.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--dry-run", is_flag=True, help="Run the plan, the guards and the checks; change nothing.")
@click.option(
    "--force", multiple=True, metavar="GUARD", help="Go on although this guard fires; several times for several."
)
@pass_settings
def command(
    settings: Settings, rev: str, areas: tuple[str, ...], reason: str, dry_run: bool, force: tuple[str, ...]
) -> int:
    """Restore an earlier revision, as a new commit.

    REV is written as for `syncsrv show`. All areas but cluster are restored, unless --area names them; areas that REV
    knew nothing of are left alone. Only this node changes: on a master, `syncsrv sync` brings it to the backups.

    Exit status 0: done, or equal already; 1: failed; 4: a guard refused.
    """
    body = {"rev": rev, "areas": list(areas), "reason": reason, "dry_run": dry_run, "force": list(force)}
    with client(settings) as core:
        job = core.call("rollback", body, deadline_s=30)["job"]
        return follow(settings, core, job, f"Roll back to {rev}")
