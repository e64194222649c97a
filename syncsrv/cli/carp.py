"""``syncsrv carp``: the process that owns the virtual addresses, for a unit of its own; serve starts it by itself."""

from __future__ import annotations

import os
import sys

import click

from syncsrv.cli.output import Settings, pass_settings


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Run the process that holds virtual addresses (started by serve).

    It works with what core wrote last, also while core is away, and ends with 0 when no address is configured. SIGTERM
    makes it hand its addresses over first.
    """
    from syncsrv.config.load import load_node

    state_dir = load_node(settings.config).state_dir
    argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(state_dir), "carp"]
    # What was needed to read the configuration stays out of its locked memory.
    os.execv(argv[0], argv)  # noqa: S606 - it is our own interpreter, and no shell is wanted
