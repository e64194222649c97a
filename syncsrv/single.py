"""One process of a kind at a time: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from syncsrv.errors import UsageError


class RunningError(UsageError):
    """Another process of this kind works on the same node."""

    code = "running"

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(f"cannot start {what}: another one holds {path}", "stop it first, or use that one")


def only_one(what: str, path: Path) -> IO[str]:
    """Hold the lock at ``path`` until the returned file is closed or the process ends.

    Args:
        what: which process, for people.
        path: the lock's file; made where it is missing.

    Raises:
        RunningError: another process holds it.
    """
    handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        raise RunningError(what, path) from error
    return handle
