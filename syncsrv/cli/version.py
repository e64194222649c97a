"""``syncsrv version``."""

from __future__ import annotations

import platform

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.version import PROTOCOL, __version__


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Print the version."""
    python = platform.python_version()
    settings.show(
        {"version": __version__, "protocol": PROTOCOL, "python": python},
        lambda: f"syncsrv {__version__} (protocol {PROTOCOL}, Python {python})",
    )
