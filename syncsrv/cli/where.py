"""How a command reaches core."""

from __future__ import annotations

import os

from syncsrv.cli.output import Settings, letters
from syncsrv.config.rundir import run_dir_of
from syncsrv.control.ask import Client
from syncsrv.control.errors import Body
from syncsrv.version import __version__


class _ForPeople(Client):
    """What peers, files and programs said arrives as letters that cannot steer a terminal."""

    def call(self, verb: str, body: Body | None = None, *, deadline_s: float) -> Body:
        reply: Body = letters(super().call(verb, body, deadline_s=deadline_s))
        return reply


def client(settings: Settings) -> Client:
    """A connection to this node's core, speaking for whoever called sudo."""
    made = Client if settings.as_json else _ForPeople
    return made(run_dir_of(settings.config) / "core.sock", person=os.environ.get("SUDO_USER"), version=__version__)


def named(path: str) -> str:
    """A path argument as core knows it: absolute below the managed root, see ``show_path``."""
    from syncsrv.plan.tree import show_path

    return show_path(os.fsencode(path).strip(b"/"))
