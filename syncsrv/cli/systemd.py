"""What systemd says to the processes that units start: it is in the environment, which only the command line reads."""

from __future__ import annotations

import faulthandler
from collections.abc import Mapping
from pathlib import Path

import click

from syncsrv.notify import Notifier, of_environment


def notifier_of(environ: Mapping[str, str]) -> Notifier:
    """The way to tell systemd how this process does; where it looks, a process that hangs says where before it ends.

    Args:
        environ: of this process.
    """
    notifier = of_environment(environ)
    if notifier.watchdog_s is not None:
        faulthandler.enable()  # SIGABRT of the watchdog
    return notifier


run_dir_option = click.option(
    "--run-dir",
    envvar="SYNCSRV_RUN_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="As in node.yaml, which a user without rights may not read.",
)
"""The argv of each process ends in its word, so units say it by the environment."""
