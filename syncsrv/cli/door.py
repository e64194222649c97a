"""``syncsrv door``: the process that speaks SSH, for a unit of its own; serve starts it with its socket ready-made."""

from __future__ import annotations

import os
from pathlib import Path

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.cli.systemd import notifier_of, run_dir_option


@click.command()
@run_dir_option
@pass_settings
def command(settings: Settings, run_dir: Path | None) -> int:
    """Run the process that speaks SSH (started by serve).

    It has no key and no right: it ends when core does. Started by systemd, it waits for core first.
    """
    from syncsrv.config.rundir import run_dir_of
    from syncsrv.transport.door import main
    from syncsrv.version import __version__

    socket = (run_dir or run_dir_of(settings.config)) / "door.sock"
    return main(["--socket", str(socket), "--version-text", __version__, "door"], notifier_of(os.environ))
