"""``syncsrv init``: a directory becomes a node's configuration, with its key, repository and first user.

The state is made first and node.yaml last, each by rename: an init that was cut off can be run again, and what has a
node.yaml is whole.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import string
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.errors import SyncsrvError, UsageError

if TYPE_CHECKING:
    from syncsrv.config.model import Node

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_EXAMPLE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class InitError(SyncsrvError):
    """The node cannot be made; what was there is as it was."""

    code = "init"


@click.command()
@click.option("--node", required=True, metavar="NAME", help="This node's name.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["master", "backup"]),
    help="master: changes are made here; backup: they come from the master.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    show_default=True,
    metavar="DIR",
    help="The managed tree; another one for tests.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/syncsrv"),
    show_default=True,
    metavar="DIR",
    help="History, key and users.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=Path("/run/syncsrv"),
    show_default=True,
    metavar="DIR",
    help="Sockets.",
)
@click.option(
    "--ssh",
    metavar="ADDR:PORT",
    help="Where this node listens for its peers.  [default: port 8022 of an interface named sync, else of 127.0.0.1]",
)
@click.option(
    "--web", metavar="ADDR:PORT", default="127.0.0.1:8443", show_default=True, help="Where the page will be served."
)
@pass_settings
def command(
    settings: Settings, node: str, role: str, root: Path, state_dir: Path, run_dir: Path, ssh: str | None, web: str
) -> None:
    """Make a node's configuration, key and repository.

    Writes commented node.yaml and cluster.yaml into the configuration directory (see `syncsrv --help`), and makes the
    state directory with the key, an empty repository and the user admin. Nothing that exists is overwritten.
    """
    from syncsrv import durable
    from syncsrv.core.people import create_admin
    from syncsrv.store.repo import Store
    from syncsrv.store.signing import Signer, generate_key

    directory = settings.config
    values = {
        "node": node,
        "role": role,
        "root": os.path.abspath(root),
        "state_dir": os.path.abspath(state_dir),
        "run_dir": os.path.abspath(run_dir),
        "ssh": ssh or proposed_listen(),
        "web": web,
    }
    if os.path.lexists(directory / "node.yaml"):
        raise InitError(
            f"cannot make a node in {directory}: there is a node.yaml already",
            "edit it, or give another directory with --config; where only the state directory is missing, move "
            "node.yaml away, run this, and put it back",
        )
    texts = _texts(values)
    made = _parsed(texts["node.yaml"])
    try:
        _private_directory(directory, must_be_private=False)
        _private_directory(made.state_dir, must_be_private=True)
        key = made.state_dir / "key"
        if not key.exists():
            generate_key(key)
        line = Signer.load(key, f"syncsrv-{made.node}").public_line
        if not (made.state_dir / "config.git").exists():
            Store.create(made.state_dir / "config.git")
        password = None if (made.state_dir / "people.json").exists() else create_admin(made.state_dir)
        for name in ("cluster.yaml", "node.yaml"):
            if not os.path.lexists(directory / name):
                durable.write(directory / name, texts[name].encode())
    except OSError as error:
        raise InitError(
            f"cannot make {error.filename or directory}: {error.strerror or error}",
            "run as root, or give directories of your own with --config, --state-dir and --run-dir",
        ) from error
    data = {
        "node": made.node, "role": made.role.value, "config": str(directory), "state_dir": str(made.state_dir),
        "key": line, "user": "admin", "password": password,
    }  # fmt: skip
    settings.show(data, lambda: _told(settings, made, directory, line, password))


def proposed_listen() -> str:
    """``ADDR:8022`` of the interface between the nodes, where one is named so; else of loopback."""
    for _, device in socket.if_nameindex():
        if "sync" in device.lower() and (address := _ipv4(device)):
            return f"{address}:8022"
    return "127.0.0.1:8022"


def _ipv4(device: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            answer = fcntl.ioctl(handle, _SIOCGIFADDR, struct.pack("256s", os.fsencode(device)))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _texts(values: dict[str, str]) -> dict[str, str]:
    from syncsrv import shipped
    from syncsrv.config.yamledit import flow

    folder = shipped.folder("templates") / "init"
    written = {key: flow(value) for key, value in values.items()}
    written["peer"] = "fw2" if values["node"] != "fw2" else "fw1"
    written["example_key"] = _EXAMPLE_KEY
    texts = {}
    for name in ("node.yaml", "cluster.yaml"):
        text = string.Template((folder / name).read_text(encoding="utf-8")).substitute(written)
        texts[name] = re.sub(r"(?m)^([^#\n]*\S) +# ", lambda line: f"{line[1]:<32} # ", text)
    return texts


def _parsed(text: str) -> Node:
    """What node.yaml will say; a value that makes no sense ends here, before anything is written."""
    from syncsrv.config.load import parse_node
    from syncsrv.config.problem import ConfigurationError

    try:
        return parse_node(text.encode("utf-8", "surrogateescape"), "node.yaml")
    except ConfigurationError as error:
        first = error.problems[0]
        raise UsageError(
            f"cannot make a node: {first.key_path} {first.message}", "give another value on the command line"
        ) from error


def _private_directory(path: Path, *, must_be_private: bool) -> None:
    """Make a directory 0700 with its parents; one that is there and not empty keeps its mode.

    Raises:
        InitError: what is there is no directory, or others can look into it.
    """
    if not path.is_dir():
        if os.path.lexists(path):
            raise InitError(f"cannot use {path}: it is not a directory", "give another one")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        path.chmod(0o700)
        return
    empty = not any(path.iterdir())
    if empty:
        path.chmod(0o700)
    elif must_be_private and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InitError(f"cannot keep keys in {path}: others can look into it", f"run `chmod 700 {path}`")


def _told(settings: Settings, node: Node, directory: Path, line: str, password: str | None) -> str:
    user = (
        f"The page's user is {settings.paint('admin', 'bold')}, password {settings.paint(password, 'bold')}; "
        "it is shown only now."
        if password
        else "The users of an earlier init were kept; `syncsrv user passwd admin` sets a new password."
    )
    lines = [
        f"{settings.paint('Made', 'green')} the {node.role} {node.node}: configuration in {directory}, "
        f"state in {node.state_dir}.",
        f"Its key, for `peers:` in the other node's node.yaml:\n  {line}",
        user,
    ]
    if node.ssh.listen.startswith("127."):
        lines.append(
            "Peers cannot reach it yet: set ssh.listen in node.yaml to an address on the link between the nodes."
        )
    lines.append(
        "Next: list what to manage under `areas:` in cluster.yaml, then `syncsrv check`, and `syncsrv install`, or "
        "`syncsrv serve` where systemd is not to run it."
    )
    return "\n".join(lines)
