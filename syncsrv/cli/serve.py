"""``syncsrv serve``: starts the processes of a node, starts again what ends, and takes all down together."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from syncsrv import log, signals
from syncsrv.cli.core import SUPERVISED
from syncsrv.cli.output import Settings, pass_settings
from syncsrv.errors import SyncsrvError
from syncsrv.single import only_one
from syncsrv.version import __version__

READY_S = 60.0
"""For core to come up: it may have to undo or finish what a crash left."""

STOP_S = 40.0
AGAIN_S = 1.0
"""Before a process that ended is started again; doubled each time until AGAIN_MOST_S."""

AGAIN_MOST_S = 30.0

LINK_AGAIN_S = 0.2
"""Between two looks whether core, just started, takes connections of web."""

LOOK_S = 1.0
"""Between two looks whether virtual addresses are configured, while carp does not run."""

WANTED_MOST = 16

_PYTHON = (sys.executable, "-Es", "-m")


@click.command()
@click.option("--carp-through", default="[]", hidden=True, help="JSON list of words that the argv of carp follows.")
@pass_settings
def command(settings: Settings, carp_through: str) -> int:
    """Start and supervise all processes of this node.

    Stays in the foreground and logs to standard error. SIGTERM ends all; SIGHUP reads the three files again, and
    what is wrong in them changes nothing (see `syncsrv status`).
    """
    from syncsrv.config.load import load

    signals.unblock()
    node = load(settings.config).node
    with only_one("serve", node.state_dir / "serve.lock"):
        return _Serve(settings.config, node.run_dir, node.state_dir, json.loads(carp_through)).run()


class _Process:
    """One supervised process."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self._again_s = AGAIN_S
        self.start_at = 0.0
        self._began_at = 0.0
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._began_at = time.monotonic()
        self.child = self._start()

    def ended(self) -> int | None:
        """Its exit status once; then it is due to be started again after a pause that grows while it keeps ending."""
        if self.child is None or self.child.poll() is None:
            return None
        status = self.child.returncode
        self.child = None
        if time.monotonic() - self._began_at > AGAIN_MOST_S:
            self._again_s = AGAIN_S
        if status == 0 and time.monotonic() - self._began_at > AGAIN_S:  # it wants to begin anew
            self.start_at = 0.0
            return status
        self.start_at = time.monotonic() + self._again_s
        self._again_s = min(self._again_s * 2, AGAIN_MOST_S)
        return status


class _Serve:
    def __init__(self, directory: Path, run_dir: Path, state_dir: Path, carp_through: list[str]) -> None:
        self._directory = directory
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._life, self._life_end = os.pipe()
        self._signals, wakeup = socket.socketpair()
        self._signals.setblocking(False)
        wakeup.setblocking(False)
        self._wakeup = wakeup
        self._core = _Process("core", self._start_core)
        self._door = _Process("door", self._start_door)
        self._web = _Process("web", self._start_web)
        self._all = (self._core, self._door, self._web)
        self._carp = _Process("carp", self._start_carp)
        self._carp_through = carp_through
        self._carp_told = ""
        self._links: socket.socket | None = None
        self._wanted = 0
        self._link_at = 0.0
        self._over = False

    def run(self) -> int:
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        try:
            self._see_to_carp()
            self._core.start()
            if not self._wait_for_core():
                return 0 if self._over else self._failed_start()
            self._door.start()
            self._web.start()
            self._say(f"serving {self._directory}")
            self._supervise()
        finally:
            self._stop()
            signal.set_wakeup_fd(-1)  # a signal may still come when the socket has gone
        return 0

    def _supervise(self) -> None:
        while True:
            for number in self._told():
                if number in (signal.SIGTERM, signal.SIGINT):
                    return
                if number == signal.SIGHUP and self._core.child is not None:
                    self._core.child.send_signal(signal.SIGHUP)
            for process in self._all:
                status = process.ended()
                if status is not None:
                    self._say(f"{process.name} ended with {status}; it is started again")
                if process.child is None and time.monotonic() >= process.start_at:
                    if process is self._door and self._core.child is None:
                        continue
                    self._start_again(process)
            self._see_to_carp()
            self._link()

    def _see_to_carp(self) -> None:
        """It runs while virtual addresses are configured, whatever the others do."""
        status = self._carp.ended()
        if status:
            self._say(f"carp ended with {status}; it is started again")
        if self._carp.child is None and time.monotonic() >= self._carp.start_at:
            if self._has_addresses():
                self._carp.start()
            else:
                self._carp.start_at = time.monotonic() + LOOK_S

    def _has_addresses(self) -> bool:
        """Whether core has written down that there are any; what cannot be read is told of once."""
        from syncsrv.failover.settings import BadSettingsError, load

        try:
            found = load(self._state_dir)
        except BadSettingsError as error:
            if self._carp_told != error.message:
                self._say(f"carp is not started: {error}")
            self._carp_told = error.message
            return False
        self._carp_told = ""
        return found is not None and bool(found.vips)

    def _start_again(self, process: _Process) -> None:
        try:
            process.start()
        except SyncsrvError as error:  # core is not up yet: the next round tries again
            self._say(f"{process.name} is not started yet: {error.message}")
            process.start_at = time.monotonic() + AGAIN_S

    def _told(self) -> list[int]:
        """Signals since the last time; waits for one, or until something is due."""
        waiting = [process.start_at for process in (*self._all, self._carp) if process.child is None]
        if self._wanted:
            waiting.append(self._link_at)
        sources = [self._signals] if self._links is None else [self._signals, self._links]
        wait_s = max(0.05, min(waiting) - time.monotonic()) if waiting else None
        readable, _, _ = select.select(sources, [], [], wait_s)
        if self._links in readable:
            self._read_links(self._links)
        return list(self._signals.recv(256)) if self._signals in readable else []

    def _start_core(self) -> subprocess.Popen[bytes]:
        """Core ends when its standard input does: at our own end at the latest."""
        argv = [*_PYTHON, "syncsrv", "--config", str(self._directory), "core"]
        return subprocess.Popen(argv, stdin=self._life, env={**os.environ, SUPERVISED: "1"})

    def _start_carp(self) -> subprocess.Popen[bytes]:
        """It hands its addresses over and ends when its standard input does."""
        argv = [*_PYTHON, "syncsrv.failover.guardian", "--state-dir", str(self._state_dir), "--life-fd", "0", "carp"]
        return subprocess.Popen([*self._carp_through, *argv], stdin=self._life)

    def _start_door(self) -> subprocess.Popen[bytes]:
        """The door gets its connection to core ready-made: it may not be able to reach the socket itself."""
        from syncsrv.control.ask import connect_socket

        with connect_socket(self._run_dir / "door.sock") as link:
            told = ["--link-fd", str(link.fileno()), "--version-text", __version__]
            argv = [*_PYTHON, "syncsrv.transport.door", *told, "door"]
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[link.fileno()])

    def _start_web(self) -> subprocess.Popen[bytes]:
        """Web gets its connections with core over a socket of ours: it outlives core, and reaches no path itself."""
        self._unlink()
        self._links, theirs = socket.socketpair()
        with theirs:
            told = ["--links-fd", str(theirs.fileno()), "--version-text", __version__]
            argv = [*_PYTHON, "syncsrv.web.main", *told, "web"]
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def _unlink(self) -> None:
        if self._links is not None:
            self._links.close()
        self._links = None
        self._wanted = 0

    def _read_links(self, links: socket.socket) -> None:
        """Each byte asks for a connection."""
        try:
            asked = links.recv(WANTED_MOST)
        except OSError:
            asked = b""
        self._wanted = min(self._wanted + len(asked), WANTED_MOST)
        if not asked:  # it has ended, and will be started again
            self._unlink()

    def _link(self) -> None:
        from syncsrv.control.ask import CoreAwayError, hand_over

        while self._links is not None and self._wanted and time.monotonic() >= self._link_at:
            try:
                hand_over(self._links, self._run_dir / "web.sock")
                self._wanted -= 1
            except CoreAwayError:  # it is being started again
                self._link_at = time.monotonic() + LINK_AGAIN_S
            except OSError:
                self._unlink()

    def _wait_for_core(self) -> bool:
        """Until core answers; False when it ended first, or we were told to end."""
        from syncsrv.control.ask import CoreAwayError, connect

        ends_at = time.monotonic() + READY_S
        reload = False
        while time.monotonic() < ends_at:
            child = self._core.child
            if child is None or child.poll() is not None:
                return False
            try:
                connect(self._run_dir / "core.sock", deadline_s=2.0).close()
                if reload:  # it may have read its configuration before that was changed
                    child.send_signal(signal.SIGHUP)
                return True
            except CoreAwayError:
                self._see_to_carp()
                readable, _, _ = select.select([self._signals], [], [], 0.05)
                told = self._signals.recv(256) if readable else b""
                if signal.SIGTERM in told or signal.SIGINT in told:
                    self._over = True
                    return False
                reload = reload or signal.SIGHUP in told
        return False

    def _failed_start(self) -> int:
        child = self._core.child
        status = child.poll() if child is not None else None
        self._say("core did not start" if status is None else f"core ended with {status}")
        return status if status is not None and status > 0 else 1

    def _stop(self) -> None:
        """Carp, door and web first: a peer serves, and nobody comes in any more; then core, which ends its jobs."""
        os.close(self._life_end)
        ends_at = time.monotonic() + STOP_S
        first = (self._carp, self._door, self._web)
        for process in first:
            if process.child is not None:
                process.child.terminate()
        for process in (*first, self._core):
            if process.child is None:
                continue
            process.child.terminate()
            try:
                process.child.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{process.name} does not end; it is killed, and what it did is undone at the next start")
                process.child.kill()
                process.child.wait()

    def _say(self, text: str) -> None:
        log.say("serve", text)
