"""Which SSH sessions were logged in with before: remembered for good, so that no recorded login works twice."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

from syncsrv import durable
from syncsrv.errors import DamagedError

log = logging.getLogger(__name__)

_SIZE = 16
LIMIT = 1_000_000
"""16 MB; a peer logs in when its connection was lost, a person for each fetch. Beyond it the older half is forgotten:
to play one of those again, an enemy would need the door process and a record that is older than all the newer ones."""


class UsedLogins:
    """The newest logins, in a file of 16 bytes for each.

    Args:
        path: the file; None keeps it in memory only.
        limit: how many are remembered at most.

    Raises:
        DamagedError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._seen: dict[bytes, None] = {}
        self._file: int | None = None
        if path is None:
            return
        try:
            data = path.read_bytes() if path.exists() else b""
            self._seen.update((data[at : at + _SIZE], None) for at in range(0, len(data) - len(data) % _SIZE, _SIZE))
            self._rewrite()
        except OSError as error:
            raise _damaged(path, error) from error

    def add(self, session_id: bytes) -> bool:
        """Remember it; False when it was there."""
        short = hashlib.sha256(session_id).digest()[:_SIZE]
        with self._lock:
            if short in self._seen:
                return False
            self._seen[short] = None
            try:
                if len(self._seen) > self._limit:
                    self._seen = dict.fromkeys(list(self._seen)[-self._limit // 2 :])
                    self._rewrite()
                elif self._file is not None:
                    os.write(self._file, short)
            except OSError as error:
                # A full disk must not shut the node's own people and peers out; this run remembers it all the same.
                log.error("%s", _damaged(self._path, error) if self._path else error)
            return True

    def _rewrite(self) -> None:
        """The file as what is remembered, whole: also when an earlier write was cut short."""
        if self._path is None:
            return
        durable.write(self._path, b"".join(self._seen))
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _damaged(path: Path, error: OSError) -> DamagedError:
    why = (error.strerror or str(error)).lower()
    return DamagedError(f"cannot remember logins in {path}: {why}", "make state_dir writable, with room on its disk")
