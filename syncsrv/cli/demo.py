"""``syncsrv demo``: the main job on two nodes of this machine, in a minute."""

from __future__ import annotations

import json
import sys

import click

from syncsrv.cli.output import Settings, pass_settings, printable


@click.command()
@click.option("--once", is_flag=True, help="End after the walk (the default without a terminal).")
@click.option("--keep", is_flag=True, help="Leave the directory at the end, and print where it is.")
@pass_settings
def command(settings: Settings, once: bool, keep: bool) -> int:
    """Show the main job on this machine: two nodes, one edit, one sync.

    Needs neither root nor the network. Exit status 0 only if every step held; nothing is left behind.
    """
    from syncsrv.clock import SystemClock
    from syncsrv.demo.play import play
    from syncsrv.demo.show import Show

    show = Show(settings.paint, printable, quiet=settings.as_json)
    stay = not (once or settings.as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    status = play(show, SystemClock(), stay=stay, keep=keep)
    if settings.as_json:
        print(json.dumps(show.data()))
    return status
