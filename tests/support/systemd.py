"""A socket in systemd's place: what a process of ours tells it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.wait import until


class Systemd:
    """Hears one process.

    Args:
        path: of the socket.
        watchdog_s: what the process is told.
    """

    def __init__(self, path: Path, watchdog_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        self._words: Counter[str] = Counter()
        self._awaited: Counter[str] = Counter()
        self.status = ""
        """The last one."""

    def heard(self, word: str) -> int:
        """How often until now."""
        while True:
            try:
                lines = self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self._words[word]
            self._words.update(lines)
            self.status = next((line for line in lines if line.startswith("STATUS=")), self.status)

    def await_word(self, word: str, deadline_s: float = 20) -> None:
        """Until it is said, or was since the last time that it was waited for."""
        until(lambda: self.heard(word) > self._awaited[word], deadline_s, f"{word} to be said")
        self._awaited[word] = self.heard(word)

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()


@contextmanager
def systemd(folder: Path, watchdog_s: float = 1.0) -> Iterator[Systemd]:
    """For one process."""
    made = Systemd(folder / "notify", watchdog_s)
    try:
        yield made
    finally:
        made.close()
