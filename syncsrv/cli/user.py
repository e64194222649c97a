"""``syncsrv user``: who may log in, with which role, keys and tokens."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from syncsrv.cli.output import Settings, pass_settings, printable, table
from syncsrv.cli.where import client
from syncsrv.errors import UsageError
from syncsrv.plan.words import counted

CALL_S = 30.0
ROLES = click.Choice(["viewer", "operator", "admin"])


@click.group()
def command() -> None:
    """Add, list, change and remove users.

    Users clone the repository with their SSH key, and will log in to the page. Roles: viewer, operator, admin; each
    includes the ones before. A backup has its master's users too.
    """


@command.command()
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="What the user may do; each includes the ones before.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--ssh-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    metavar="FILE",
    help="A public ssh-ed25519 key (id_ed25519.pub), for `git clone`; one more each time.",
)
@pass_settings
def add(settings: Settings, name: str, role: str, password_stdin: bool, ssh_key: Path | None) -> None:
    """Add a user, or change one: role, password, one more key."""
    body = {
        "name": name,
        "role": role,
        "password": _password(name) if password_stdin else None,
        "ssh_key": ssh_key.read_text(errors="replace").strip() if ssh_key else None,
    }
    _show(settings, _call(settings, "user-add", body), name)


@command.command("list")
@pass_settings
def list_(settings: Settings) -> None:
    """List the users."""
    _show(settings, _call(settings, "user-list", {}))


@command.command()
@click.argument("name")
@pass_settings
def remove(settings: Settings, name: str) -> None:
    """Remove a user with all keys and tokens."""
    reply = _call(settings, "user-remove", {"name": name})
    settings.show(reply, lambda: f"{name} is removed.")


@command.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_settings
def passwd(settings: Settings, name: str, password_stdin: bool) -> None:
    """Set a user's password, of at least 8 characters; asks for it on a terminal.

    It ends every log-in of the user to the page.
    """
    if not password_stdin and not sys.stdin.isatty():
        raise UsageError("cannot ask for a password: there is no terminal", "use --password-stdin")
    _show(settings, _call(settings, "user-passwd", {"name": name, "password": _password(name)}), name)


@command.command()
@click.argument("name")
@pass_settings
def token(settings: Settings, name: str) -> None:
    """Make a token for the API; it is shown once."""
    reply = _call(settings, "user-token", {"name": name})
    settings.show(reply, lambda: str(reply["token"]))


@command.command()
@click.argument("name")
@pass_settings
def revoke(settings: Settings, name: str) -> None:
    """Revoke all API tokens of a user."""
    reply = _call(settings, "user-revoke", {"name": name})
    settings.show(reply, lambda: f"No token of {name} is good any more.")


def _password(name: str) -> str:
    if sys.stdin.isatty():
        password: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


def _call(settings: Settings, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    with client(settings) as core:
        return core.call(verb, body, deadline_s=CALL_S)


def _show(settings: Settings, reply: dict[str, Any], name: str | None = None) -> None:
    """All users, or for people the one that was changed."""
    rows = [
        (
            one["name"],
            one["role"],
            "password" if one["password"] else "no password",
            counted(len(one["keys"]), "key"),
            counted(one["tokens"], "token"),
            "" if one["local"] else "from the master",
        )
        for one in reply["users"]
        if name in {None, one["name"]}
    ]
    settings.show(reply, lambda: _table(rows))


def _table(rows: Sequence[Sequence[str]]) -> str:
    return table([[printable(cell) for cell in row] for row in rows]) or "No user."
