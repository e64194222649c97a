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
@pass_settings
def command(settings: Settings, path: str | None, limit: int) -> None:
    """Show the history, of everything or of one path."""
    with client(settings) as core:
        reply = core.call("log", {"path": named(path) if path else None, "limit": limit}, deadline_s=60)
    settings.show(reply, lambda: "\n".join(_entry(settings, one) for one in reply["commits"]) or "No commit yet.")


def _entry(settings: Settings, one: dict[str, Any]) -> str:
    tags = "".join(settings.paint(f" [{tag}]", "green") for tag in one["tags"])
    lines = [
        f"{settings.paint(one['commit'][:10], 'yellow')}  {one['at']}  {one['via']:<8} "
        f"{printable(one['author'])} on {printable(one['node'])}{tags}",
        f"    {printable(one['subject'])}",
    ]
    shown = one["paths"][:_PATHS]
    rest = len(one["paths"]) - len(shown)
    if shown:
        lines.append(
            settings.paint(f"    {printable(', '.join(shown))}{f' and {rest} more' if rest > 0 else ''}", "dim")
        )
    return "\n".join(lines)
