"""Ask the carp process over ``run_dir/carp.sock``: what core and the command line use."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from syncsrv.errors import SyncsrvError
from syncsrv.failover.messages import (
    LARGEST,
    SOCKET,
    Answer,
    Apply,
    Ask,
    AskReport,
    BadMessageError,
    PeerServes,
    Refused,
    Report,
    TableCame,
    Watch,
    decode_answer,
    encode_ask,
)

DEADLINE_S = 2.0


class CarpAwayError(SyncsrvError):
    """No carp process listens, it went away, or it does not answer in time."""

    code = "carp-away"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"cannot ask the carp process at {path}: {why}",
            "it runs while `syncsrv serve` does, or syncsrv-carp.service, and virtual addresses are configured; its "
            "log says why it ended",
        )


class CarpRefusedError(SyncsrvError):
    """The carp process understood and said no."""

    code = "carp-refused"


class Client:
    """One connection to the carp process.

    Args:
        run_dir: this node's.
        deadline_s: seconds for the connection.

    Raises:
        CarpAwayError: nobody listens.
    """

    def __init__(self, run_dir: Path, *, deadline_s: float = DEADLINE_S) -> None:
        self._path = run_dir / SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # While others wait to be accepted, connect waits too; but only on a socket that blocks.
            wait = struct.pack("ll", int(deadline_s), int(deadline_s % 1 * 1_000_000) or 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
            self._connect()
        except OSError as error:
            self._socket.close()
            raise CarpAwayError(self._path, _why(error)) from error

    def fileno(self) -> int:
        """For select: readable when a Report of ``watch`` is there."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def report(self, *, deadline_s: float = DEADLINE_S) -> Report:
        """How it is now.

        Raises:
            CarpAwayError: it does not answer.
            CarpRefusedError: it refused.
            BadMessageError: it answered nonsense.
        """
        return _report(self._ask(AskReport(), deadline_s))

    def watch(self, *, deadline_s: float = DEADLINE_S) -> Report:
        """How it is now, as ``report``; each later one is for ``next``, and nothing else can be asked here."""
        return _report(self._ask(Watch(), deadline_s))

    def next(self, *, deadline_s: float) -> Report:
        """The next Report after ``watch``.

        Args:
            deadline_s: seconds; the agent sends one each WATCH_S seconds at least.

        Raises:
            CarpAwayError: none came in time, or the carp process went away.
            BadMessageError: it sent nonsense.
        """
        return _report(self._receive(time.monotonic() + deadline_s))

    def apply(self, order: Apply | PeerServes | TableCame, *, deadline_s: float = DEADLINE_S) -> None:
        """Have it work with other settings, another intent, told ready, told what a peer says, or whether the
        peer's connections are known here.

        Raises:
            CarpRefusedError: it cannot, and nothing has changed.
            CarpAwayError: it does not answer.
            BadMessageError: it answered nonsense.
        """
        answer = self._ask(order, deadline_s)
        if isinstance(answer, Refused):
            raise CarpRefusedError(answer.error)

    def _connect(self) -> None:
        """By way of /proc where the path is longer than the 107 bytes that a socket's address holds."""
        if len(os.fsencode(self._path)) <= 107:
            self._socket.connect(str(self._path))
            return
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)

    def _ask(self, ask: Ask, deadline_s: float) -> Answer:
        ends_at = time.monotonic() + deadline_s
        try:
            self._socket.settimeout(deadline_s)
            self._socket.send(encode_ask(ask))
        except OSError as error:
            raise CarpAwayError(self._path, _why(error)) from error
        return self._receive(ends_at)

    def _receive(self, ends_at: float) -> Answer:
        try:
            self._socket.settimeout(max(0.001, ends_at - time.monotonic()))
            data = self._socket.recv(LARGEST + 1)
        except OSError as error:
            raise CarpAwayError(self._path, _why(error)) from error
        if not data:
            raise CarpAwayError(self._path, "it ended")
        if len(data) > LARGEST:
            raise BadMessageError(f"a message of more than {LARGEST} bytes")
        return decode_answer(data)


def _report(answer: Answer) -> Report:
    if isinstance(answer, Refused):
        raise CarpRefusedError(answer.error)
    if not isinstance(answer, Report):
        raise BadMessageError("it answered something else than was asked")
    return answer


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError | BlockingIOError):
        return "it does not answer in time"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "it does not run"
    return (error.strerror or str(error)).lower()
