"""Tell systemd how this process does, as sd_notify(3) says: that it is ready, what it does, that it still works.

Only the command line reads the environment, which says where to; everything else is given a Notifier. One that was told
nothing says nothing, so nobody has to ask whether systemd is there.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
VARIABLES = (SOCKET, WATCHDOG_USEC, WATCHDOG_PID)
"""What systemd puts into the environment for us, and for no program that we start."""

PINGS = 4
"""In the time after which systemd counts us as hung: some may come late on a busy machine."""


class Notifier:
    """One for each process.

    Args:
        address: of systemd's datagram socket; ``@`` begins an abstract name. Empty: nobody listens.
        watchdog_s: seconds without a sign of life after which systemd ends this process; None: it does not look.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.address = address
        self.watchdog_s = watchdog_s if address else None
        self._socket: socket.socket | None = None
        self._alive_at = 0.0
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._connect()  # now: a process that gives up its rights finds no path later

    def __bool__(self) -> bool:
        return self._socket is not None

    @property
    def every_s(self) -> float | None:
        """How often to say ``alive``; None: never."""
        return None if self.watchdog_s is None else self.watchdog_s / PINGS

    def ready(self, status: str = "") -> None:
        """It does what it is for, also again after ``reloading``; ``status`` is for people, one line."""
        self._say("READY=1", status)

    def reloading(self) -> None:
        """It reads its configuration again; ``ready`` ends that."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", "")

    def stopping(self, status: str = "") -> None:
        """It was told to end, and does."""
        self._say("STOPPING=1", status)

    def status(self, status: str) -> None:
        """What it does now, for people, one line."""
        self._say("", status)

    def alive(self) -> None:
        """It works. For the loop that does the work, at least each ``every_s`` seconds; what is more is not sent."""
        every_s = self.every_s
        now = time.monotonic()
        if every_s is not None and now - self._alive_at >= every_s / 2:
            self._alive_at = now
            self._say("WATCHDOG=1", "")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, what: str, status: str) -> None:
        if self._socket is None:
            return
        said = f"STATUS={' '.join(status.split())}" if status else ""
        data = "\n".join(filter(None, (what, said))).encode("utf-8", "backslashreplace")
        try:
            self._socket.send(data)
        except OSError as error:  # systemd may have made its socket anew
            log.debug("cannot tell systemd %s: %s", what, error)
            self._connect()
            try:
                self._socket.send(data)
            except OSError as again:
                log.debug("cannot tell systemd %s: %s", what, again)

    def _connect(self) -> None:
        assert self._socket is not None
        name = self.address
        try:
            self._socket.connect("\0" + name[1:] if name.startswith("@") else name)
        except (OSError, ValueError) as error:
            log.warning("cannot tell systemd anything at %s: %s", name, error)


def of_environment(environ: Mapping[str, str]) -> Notifier:
    """What systemd told this very process at its start; a Notifier that says nothing where it did not start it.

    Args:
        environ: the process's.
    """
    address = environ.get(SOCKET, "")
    if not address.startswith(("/", "@")):  # vsock: is for a whole machine
        return Notifier()
    pid = environ.get(WATCHDOG_PID, "")
    micros = environ.get(WATCHDOG_USEC, "")
    ours = pid in ("", str(os.getpid()))
    return Notifier(address, int(micros) / 1e6 if ours and micros.isdecimal() and int(micros) else None)
