"""How a command reaches core."""

from __future__ import annotations

import os

from syncsrv.cli.output import Settings
from syncsrv.config.rundir import run_dir_of
from syncsrv.control.ask import Client
from syncsrv.version import __version__


def client(settings: Settings) -> Client:
    """A connection to this node's core, speaking for whoever called sudo."""
    return Client(run_dir_of(settings.config) / "core.sock", person=os.environ.get("SUDO_USER"), version=__version__)


def named(path: str) -> str:
    """A path argument as core knows it: absolute below the managed root, see ``show_path``."""
    from syncsrv.plan.tree import show_path

    return show_path(os.fsencode(path).strip(b"/"))
