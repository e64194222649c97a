"""``syncsrv show``: one revision with what it changed."""

from __future__ import annotations

import click

from syncsrv.cli.changes import file_lines, without_patches
from syncsrv.cli.log import who
from syncsrv.cli.output import Settings, pass_settings, printable
from syncsrv.cli.where import client


@click.command()
@click.argument("rev")
@click.option("--stat", is_flag=True, help="Only which files, not their text.")
@pass_settings
def command(settings: Settings, rev: str, stat: bool) -> None:
    """Show one revision and what it changed.

    REV is a commit as `syncsrv log` prints it, a tag (sync/000003), HEAD, or HEAD~1 for the one before.
    """
    with client(settings) as core:
        reply = core.call("show", {"rev": rev, "patch": not stat and not settings.as_json}, deadline_s=60)
    one = reply["commit"]

    def human() -> str:
        tags = "".join(f" [{tag}]" for tag in one["tags"])
        head = [
            settings.paint(f"commit {one['commit']}{tags}", "yellow"),
            f"by     {who(one)} via {one['via']}, {one['at']}",
            "",
            *(f"    {printable(line)}" for line in (one["subject"], *reply["body"].splitlines())),
            "",
        ]
        return "\n".join(head + file_lines(settings, reply["files"], stat=stat))

    settings.show({**reply, "files": without_patches(reply["files"])}, human)
