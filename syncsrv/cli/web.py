"""``syncsrv web``: the process that serves the page, for a unit of its own; serve starts it with its sockets ready."""

from __future__ import annotations

import os
from pathlib import Path

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.cli.systemd import notifier_of, run_dir_option
from syncsrv.errors import UsageError


@click.command()
@click.option("--fingerprint", is_flag=True, help="Print the SHA-256 of the page's certificate, and end.")
@run_dir_option
@pass_settings
def command(settings: Settings, run_dir: Path | None, fingerprint: bool) -> int:
    """Run the process that serves the page (started by serve).

    It has no right and no file, and no key but that of its TLS. Without serve it ends when core does, and when the
    page's certificate or address changes: whoever starts it has to start it again. Started by systemd, it waits for
    core first.

    With --fingerprint it serves nothing: compare what that prints with what a browser shows before the first log-in.
    """
    if fingerprint:
        found = _fingerprint(settings)
        settings.show({"fingerprint": found}, lambda: found)
        return 0
    from syncsrv.config.rundir import run_dir_of
    from syncsrv.version import __version__
    from syncsrv.web.main import main

    socket = (run_dir or run_dir_of(settings.config)) / "web.sock"
    return main(["--socket", str(socket), "--version-text", __version__, "web"], notifier_of(os.environ))


def _fingerprint(settings: Settings) -> str:
    """As browsers show it.

    Raises:
        UsageError: the page is served without TLS.
        TlsError: there is no certificate yet, or it cannot be read.
    """
    from syncsrv.config.load import load_node
    from syncsrv.config.model import TlsFiles
    from syncsrv.core.certificate import certificate_of_files, kept_certificate

    node = load_node(settings.config)
    if isinstance(node.web.tls, TlsFiles):
        return certificate_of_files(node.web.tls).fingerprint
    if node.web.tls == "none":
        raise UsageError("cannot print the page's certificate: it has none", "see `web: {tls:}` in node.yaml")
    return kept_certificate(node.state_dir / "web" / "page.pem").fingerprint
