"""``syncsrv web``: the process that serves the page, for a unit of its own; serve starts it with its sockets ready."""

from __future__ import annotations

import click

from syncsrv.cli.output import Settings, pass_settings


@click.command()
@pass_settings
def command(settings: Settings) -> int:
    """Run the process that serves the page (started by serve).

    It has no right and no file, and no key but that of its TLS. Without serve it ends when core does, and when the
    page's certificate or address changes: whoever starts it has to start it again.
    """
    from syncsrv.config.rundir import run_dir_of
    from syncsrv.version import __version__
    from syncsrv.web.main import main

    socket = run_dir_of(settings.config) / "web.sock"
    return main(["--socket", str(socket), "--version-text", __version__, "web"])
