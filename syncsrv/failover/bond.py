"""The agent's side of the socket to its guardian: its will whenever that changes, beats in between."""

from __future__ import annotations

import socket

from syncsrv.failover import will
from syncsrv.failover.will import BEAT, Will

BEATS = 5
"""In the time that the guardian is patient for."""


class Bond:
    """Never waits: a guardian that is stopped hears the latest will when it goes on.

    Args:
        handle: the socket's descriptor, of which this becomes the owner.
    """

    def __init__(self, handle: int) -> None:
        self._socket = socket.socket(fileno=handle)
        self._socket.setblocking(False)
        self._will = Will()
        self._unsaid = True
        self._beat_at = 0.0
        self.gone = False
        """The guardian has died."""

    def fileno(self) -> int:
        """Readable when the guardian has died: it says nothing."""
        return self._socket.fileno()

    def leave(self, latest: Will) -> None:
        """Have the guardian keep this will in place of the one before; no message where it is the same."""
        if latest != self._will:
            self._will = latest
            self._unsaid = True
        if self._unsaid:
            self._unsaid = not self._send(will.encode(latest))

    def beat(self, now: float) -> float:
        """Say that the agent lives, when it is time to; when it is time again, monotonic seconds."""
        if now >= self._beat_at:
            self._beat_at = now + self._will.patience_s / BEATS
            if self._unsaid:
                self.leave(self._will)
            else:
                self._send(BEAT)
        self._beat_at = min(self._beat_at, now + self._will.patience_s / BEATS)  # a new will may be less patient
        return self._beat_at

    def close(self) -> None:
        """The guardian hears nothing more."""
        self._socket.close()

    def _send(self, data: bytes) -> bool:
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self.gone = True
            return False
        return True
