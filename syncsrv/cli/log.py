"""``syncsrv log``: who changed what, when and why."""

from __future__ import annotations

from typing import Any

import click

from syncsrv.cli.output import Settings, pass_settings, printable
from syncsrv.cli.where import client, named

_PATHS = 5


@click.command()
@click.argument("path", required=False)
@click.option("-n", "limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many.")
@click.option("--area", metavar="NAME", help="Only what touches this area.")
@click.option("--author", metavar="TEXT", help="Only by people or nodes with TEXT in their name.")
@click.option("--via", metavar="WAY", help="Only what came this way: watch, cli, web, push, sync, rollback or adopt.")
@click.option("--node", metavar="NAME", help="The history of this peer, as it was last fetched.")
@pass_settings
def command(settings: Settings, /, path: str | None, limit: int, **only: str | None) -> None:
    """Show the history, of everything or of one path.

    PATH is a file or a directory as seen under root, such as /etc/hosts. Newest first.
    """
    asked = {name: value for name, value in only.items() if value}
    with client(settings) as core:
        reply = core.call("log", {"path": named(path) if path else None, "limit": limit, **asked}, deadline_s=60)
    nothing = f"No commit of {named(path)}: it is in no area, or was never there." if path else "No commit yet."
    nothing = "No commit is like that." if asked.keys() - {"node"} else nothing
    settings.show(reply, lambda: "\n".join(_entry(settings, one) for one in reply["commits"]) or nothing)


def who(one: dict[str, Any]) -> str:
    """``alice on fw1``, or ``fw1`` for what a node committed by itself."""
    author, node = printable(one["author"]), printable(one["node"])
    return author if author == node else f"{author} on {node}"


def _entry(settings: Settings, one: dict[str, Any]) -> str:
    tags = "".join(settings.paint(f" [{tag}]", "green") for tag in one["tags"])
    lines = [
        f"{settings.paint(one['commit'][:10], 'yellow')}  {one['at']}  {one['via']:<8} {who(one)}{tags}",
        f"    {printable(one['subject'])}",
    ]
    shown = one["paths"][:_PATHS]
    rest = len(one["paths"]) - len(shown)
    if shown:
        lines.append(
            settings.paint(f"    {printable(', '.join(shown))}{f' and {rest} more' if rest > 0 else ''}", "dim")
        )
    return "\n".join(lines)
