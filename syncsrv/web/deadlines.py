"""Deadlines of sockets that workers wait for: one thread ends what a client draws out."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_EVERY_S = 0.25


class Deadlines:
    """At most one for each socket. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: dict[socket.socket, tuple[float, int]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()

    def arm(self, sock: socket.socket, seconds: float, how: int = socket.SHUT_RD) -> None:
        """Shut the socket down in ``seconds``: for reading, so that an answer can still be sent, or as ``how`` says."""
        with self._lock:
            self._armed[sock] = (time.monotonic() + seconds, how)

    def off(self, sock: socket.socket) -> None:
        """It came in time."""
        with self._lock:
            self._armed.pop(sock, None)

    def hurry(self) -> None:
        """Whoever is still reading has read enough."""
        with self._lock:
            self._armed = {sock: (0.0 if how == socket.SHUT_RD else at, how) for sock, (at, how) in self._armed.items()}

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            now = time.monotonic()
            with self._lock:
                due = [(sock, how) for sock, (at, how) in self._armed.items() if at < now]
                for sock, _ in due:
                    del self._armed[sock]
            for sock, how in due:
                with contextlib.suppress(OSError):  # it ended by itself
                    # SSLSocket.shutdown would take the TLS object away from the worker that reads from it.
                    socket.socket.shutdown(sock, how)
