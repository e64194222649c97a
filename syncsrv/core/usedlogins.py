"""Which SSH sessions were logged in with before: remembered for good, so that no recorded login works twice."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from syncsrv.errors import DamagedError

_SIZE = 16
LIMIT = 1_000_000
"""16 MB; a peer logs in when its connection was lost, a person for each fetch."""


class UsedLogins:
    """A set that only grows, in a file of 16 bytes for each login.

    Args:
        path: the file; None keeps it in memory only.

    Raises:
        DamagedError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: set[bytes] = set()
        self._file: int | None = None
        if path is None:
            return
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            data = path.read_bytes()
            whole = len(data) - len(data) % _SIZE
            if whole != len(data):  # a machine that lost power within a write
                os.ftruncate(self._file, whole)
        except OSError as error:
            raise _damaged(path, error) from error
        self._seen.update(data[at : at + _SIZE] for at in range(0, whole, _SIZE))

    def add(self, session_id: bytes) -> bool:
        """Remember it; False when it was there, or when no more can be remembered."""
        short = hashlib.sha256(session_id).digest()[:_SIZE]
        with self._lock:
            if short in self._seen or len(self._seen) >= LIMIT:
                return False
            if self._file is not None:
                try:
                    os.write(self._file, short)
                except OSError as error:
                    assert self._path is not None
                    raise _damaged(self._path, error) from error
            self._seen.add(short)
            return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _damaged(path: Path, error: OSError) -> DamagedError:
    why = (error.strerror or str(error)).lower()
    return DamagedError(f"cannot remember logins in {path}: {why}", "make state_dir writable, with room on its disk")
