"""``syncsrv core``: the process that has the right to change things. Started by serve, or by its own unit."""

from __future__ import annotations

import os
import select
import signal
import socket

import click

from syncsrv.cli.output import Settings, pass_settings

SUPERVISED = "SYNCSRV_SUPERVISED"
"""Set by serve: standard input is a pipe from it, and its end is ours."""


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Run the process that applies changes (started by serve).

    It ends on SIGTERM, reads its configuration again on SIGHUP, and, under serve, ends when serve does.
    """
    from syncsrv import log, signals
    from syncsrv.clock import SystemClock
    from syncsrv.core.app import App

    signals.unblock()
    os.umask(0o077)
    log.start("core")
    ours, theirs = socket.socketpair()
    for handle in (ours, theirs):
        handle.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        app = App(settings.config, SystemClock())
        app.start()
        try:
            _until_told(ours, app.reload_if_valid)
        finally:
            app.stop()
    finally:
        signal.set_wakeup_fd(-1)  # a signal may still come when the socket has gone


def _until_told(signals: socket.socket, reload: object) -> None:
    """Wait for a signal that ends us, or for the end of serve."""
    assert callable(reload)
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    if os.environ.get(SUPERVISED):
        poll.register(0, select.POLLIN)
    while True:
        for handle, _ in poll.poll():
            if handle != signals.fileno():
                return
            told = signals.recv(64)
            if signal.SIGTERM in told or signal.SIGINT in told:
                return
            if signal.SIGHUP in told:
                reload()
