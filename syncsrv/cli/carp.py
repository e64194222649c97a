"""``syncsrv carp``: the process that owns the virtual addresses, for a unit of its own; serve starts it by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.notify import VARIABLES, of_environment


@click.command()
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="As in node.yaml, which is not read then: addresses are held also while that is broken.",
)
@click.option("--wait", is_flag=True, help="Wait until an address is configured, instead of ending.")
@pass_settings
def command(settings: Settings, state_dir: Path | None, wait: bool) -> None:
    """Run the process that holds virtual addresses (started by serve).

    It works with what core wrote last, also while core is away, and ends with 0 when no address is configured. SIGTERM
    makes it hand its addresses over first.
    """
    if state_dir is None:
        from syncsrv.config.load import load_node

        state_dir = load_node(settings.config).state_dir
    notifier = of_environment(os.environ)
    told = ["--state-dir", str(state_dir), *(["--wait"] if wait else [])]
    if notifier:
        told += ["--notify", notifier.address]
    if notifier.watchdog_s is not None:
        told += ["--watchdog-s", str(notifier.watchdog_s)]
    argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", *told, "carp"]
    environ = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    # What was needed to read the configuration stays out of its locked memory.
    os.execve(argv[0], argv, environ)  # noqa: S606 - it is our own interpreter, and no shell is wanted
