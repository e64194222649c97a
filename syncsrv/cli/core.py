"""``syncsrv core``: the process that has the right to change things. Started by serve, or by its own unit."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from syncsrv.cli.output import Settings, pass_settings
from syncsrv.errors import SyncsrvError, UsageError

if TYPE_CHECKING:
    from syncsrv.core.pulse import Pulse
    from syncsrv.notify import Notifier

SUPERVISED = "SYNCSRV_SUPERVISED"
"""Set by serve: standard input is a pipe from it, and its end is ours."""

PAUSE_S = 5.0
"""Before a core that could not start ends, where systemd starts another one a second later: that may go on for long."""


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Run the process that applies changes (started by serve).

    It ends on SIGTERM, reads its configuration again on SIGHUP, and, under serve, ends when serve does.
    """
    from syncsrv import log, signals
    from syncsrv.cli.systemd import notifier_of
    from syncsrv.clock import SystemClock
    from syncsrv.core.app import App
    from syncsrv.core.pulse import Pulse
    from syncsrv.notify import Notifier

    signals.unblock()
    os.umask(0o077)
    log.start("core")
    ours, theirs = socket.socketpair()
    for handle in (ours, theirs):
        handle.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    notifier = Notifier() if os.environ.get(SUPERVISED) else notifier_of(os.environ)
    clock = SystemClock()
    try:
        try:
            app = App(settings.config, clock)
            app.start()
        except SyncsrvError as error:
            if notifier and error.exit_status != UsageError.exit_status:  # after that one systemd starts none
                notifier.status(f"cannot start: {error.message}")
                select.select([ours], [], [], PAUSE_S)
            raise
        core = app.core
        pulse = Pulse(core.live.config.node.run_dir / "core.sock", lambda: core.timetable.fired_at, clock)
        try:
            notifier.ready(f"{core.live.config.node.role} {core.live.config.node.node}")
            _until_told(ours, app.reload_if_valid, pulse, notifier)
        finally:
            notifier.stopping("ends its jobs")
            app.stop()
    finally:
        signal.set_wakeup_fd(-1)  # a signal may still come when the socket has gone


def _until_told(signals: socket.socket, reload: Callable[[], None], pulse: Pulse, notifier: Notifier) -> None:
    """Wait for a signal that ends us, or for the end of serve; meanwhile tell systemd that core still works."""
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    if os.environ.get(SUPERVISED):
        poll.register(0, select.POLLIN)
    every_s = notifier.every_s
    while True:
        for handle, _ in poll.poll(None if every_s is None else every_s * 1000):
            if handle != signals.fileno():
                return
            told = signals.recv(64)
            if signal.SIGTERM in told or signal.SIGINT in told:
                return
            if signal.SIGHUP in told:
                notifier.reloading()
                reload()
                notifier.ready()
        if every_s is not None and pulse.beats(2 * every_s):
            notifier.alive()
