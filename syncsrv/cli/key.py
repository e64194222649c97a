"""``syncsrv key``: the public half, for `peers:` in the other node's node.yaml."""

from __future__ import annotations

import click

from syncsrv.cli.output import Settings, pass_settings


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Print this node's public key.

    One OpenSSH line, as it stands under peers in the other node's node.yaml.
    """
    from syncsrv.config.load import load_node
    from syncsrv.store.signing import Signer

    node = load_node(settings.config)
    line = Signer.load(node.state_dir / "key", f"syncsrv-{node.node}").public_line
    settings.show({"key": line}, lambda: line)
