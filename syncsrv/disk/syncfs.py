"""syncfs(2), which Python 3.11 has not."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def sync_filesystem(handle: int) -> None:
    """Write out all that the file system of an open file or directory has in memory, and wait for it.

    Args:
        handle: a descriptor on it; not one of O_PATH.

    Raises:
        OSError: since Linux 5.8 also for what could not be written before.
    """
    if _libc.syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
