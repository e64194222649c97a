"""``syncsrv diff``: what Synchronize would bring, or what differs between revisions."""

from __future__ import annotations

from typing import Any

import click

from syncsrv.cli.changes import file_lines, without_patches
from syncsrv.cli.output import Settings, pass_settings
from syncsrv.cli.where import client
from syncsrv.errors import SyncsrvError

SOME = 1


class CannotCompareError(SyncsrvError):
    """For this command alone 1 says that something differs, so an error is always 2."""

    code = "cannot-compare"
    exit_status = 2


@click.command()
@click.argument("revs", nargs=-1, metavar="[A [B]]")
@click.option("--stat", is_flag=True, help="Only which files, not their text.")
@click.option("--area", "areas", multiple=True, metavar="NAME", help="Only this area; may be given several times.")
@pass_settings
def command(settings: Settings, revs: tuple[str, ...], stat: bool, areas: tuple[str, ...]) -> int:
    """Show what a sync would change, or what differs between revisions.

    Without a revision: what `syncsrv sync` would bring to each backup (on a backup: to this node). With A: from A to
    what is live here; with A and B: between them. Revisions are written as for `syncsrv show`.

    Exit status 0: nothing differs, 1: something does, 2: it could not be found out.
    """
    if len(revs) > 2:
        raise click.UsageError("at most two revisions can be compared")
    body = {"revs": list(revs), "areas": list(areas), "patch": not stat and not settings.as_json}
    try:
        with client(settings) as core:
            reply = core.call("diff", body, deadline_s=120)
    except SyncsrvError as error:
        raise CannotCompareError(error.message, error.remedy) from error
    nodes = reply["nodes"]
    shown = {name: {**node, "files": without_patches(node["files"])} for name, node in nodes.items()}
    settings.show({"nodes": shown}, lambda: "\n".join(_lines(settings, nodes, stat, named=not revs)))
    return SOME if any(node["files"] for node in nodes.values()) else 0


def _lines(settings: Settings, nodes: dict[str, Any], stat: bool, *, named: bool) -> list[str]:
    lines = []
    for name, node in nodes.items():
        if named:
            age = (
                f", as it was {node['age_s']:.0f} s ago: it cannot be reached now" if node["age_s"] is not None else ""
            )
            count = len(node["files"])
            what = "nothing to bring" if not count else f"{count} path{'' if count == 1 else 's'} would change"
            gone = f", {node['deletions']} deleted" if node["deletions"] else ""
            lines.append(settings.paint(f"{name}: {what}{gone}{age}", "bold"))
            if node["unseen"]:
                lines.append(
                    f"  {name} does not know {', '.join(node['unseen'])} yet, so what it has there is missing here; "
                    "`syncsrv sync --dry-run` looks"
                )
        elif not node["files"]:
            lines.append("Nothing differs.")
        lines += file_lines(settings, node["files"], stat=stat)
    return lines
