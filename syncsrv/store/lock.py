"""One writer for a repository: an flock beside it, which dies with its process and so is never stale."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from syncsrv.errors import SyncsrvError

_POLL_S = 0.02


class StoreBusyError(SyncsrvError):
    """Another process, or another thread, has been writing the repository for longer than we wait."""

    code = "busy"

    def __init__(self, path: Path, waited_s: float) -> None:
        super().__init__(
            f"cannot write the repository {path}: another writer has held it for {waited_s:g} s",
            "wait for it to end; `fuser` on its file syncsrv-writer names it",
        )
        self.path = path


class WriterLock:
    """Taken again by the thread that has it, exclusive among threads and processes.

    Args:
        repository: the repository; the lock file is ``syncsrv-writer`` in it.
        patience_s: how long taking it may last.
    """

    def __init__(self, repository: Path, patience_s: float = 60.0) -> None:
        self._repository = repository
        self._patience_s = patience_s
        self._threads = threading.RLock()
        self._depth = 0
        self._handle = -1

    @property
    def depth(self) -> int:
        """How many times the thread that holds it has taken it; of use to that thread only."""
        return self._depth

    @contextlib.contextmanager
    def taken(self, *, wait: bool = True) -> Iterator[None]:
        """Hold it.

        Raises:
            StoreBusyError: somebody else has it, and still does when patience ends (at once with ``wait=False``).
        """
        patience_s = self._patience_s if wait else 0.0
        ends_at = time.monotonic() + patience_s
        if not self._threads.acquire(timeout=patience_s):
            raise StoreBusyError(self._repository, patience_s)
        try:
            if self._depth == 0:
                self._take_file(ends_at, patience_s)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    os.close(self._handle)
        finally:
            self._threads.release()

    def _take_file(self, ends_at: float, patience_s: float) -> None:
        handle = os.open(self._repository / "syncsrv-writer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= ends_at:
                        raise StoreBusyError(self._repository, patience_s) from None
                    threading.Event().wait(_POLL_S)
                else:
                    self._handle = handle
                    return
        except BaseException:
            os.close(handle)
            raise
