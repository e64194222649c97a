"""Accept connections on a listening socket that other processes hold too."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable


class StoppedError(Exception):
    """Nobody wants to accept any more."""


class Listener:
    """A listening socket that core keeps for the next door: we stop accepting, we do not end it.

    Args:
        sock: listening; closed here at the end.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._wake, self._stop = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self.thread = threading.Thread(name="ssh accept", daemon=True)

    def start(self, accept: Callable[[Listener], None]) -> None:
        """Run ``accept`` in a thread; it calls our ``accept`` until StoppedError."""
        self.thread = threading.Thread(target=accept, args=(self,), name="ssh accept", daemon=True)
        self.thread.start()

    def accept(self) -> tuple[socket.socket, tuple[object, ...]]:
        """The next connection.

        Raises:
            StoppedError: nobody wants one any more.
            OSError: as the system says.
        """
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._wake in ready:
                raise StoppedError
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # another process took it, or it left
                return self._sock.accept()

    def stop(self) -> None:
        """End the thread, close our copy."""
        self._stop.close()
        self.thread.join()
        self._selector.close()
        self._wake.close()
        self._sock.close()
