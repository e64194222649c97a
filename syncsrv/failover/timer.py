"""One alarm at a point of CLOCK_MONOTONIC, as a descriptor to wait on: Linux's timerfd, which Python 3.11 has not.

The wait of a selector would round up to whole milliseconds, and asyncio's too; this one is late by some hundredths of
one under real-time scheduling.
"""

from __future__ import annotations

import ctypes
import math
import os
import time

_TFD_TIMER_ABSTIME = 1
_NANOSECONDS = 1_000_000_000
_EXPIRATIONS_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))  # time_t is a long where Debian runs


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """An alarm that is set again and again.

    Raises:
        OSError: there are too many open descriptors.
    """

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd == -1:
            raise _os_error("timerfd_create")

    def fileno(self) -> int:
        """Readable from the set time on."""
        return self._fd

    def arm(self, at: float | None) -> None:
        """Ring at a time, at once when that is past, in place of any time set before.

        Args:
            at: seconds as time.monotonic() counts them; None: never.
        """
        total = 0 if at is None else max(1, math.ceil(at * _NANOSECONDS))  # 0 would mean never
        setting = _Setting()
        setting.value.seconds, setting.value.nanoseconds = divmod(total, _NANOSECONDS)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(setting), None) == -1:
            raise _os_error("timerfd_settime")

    def acknowledge(self) -> bool:
        """Take note that it rang, so that the descriptor is not readable any more; False when it did not ring."""
        try:
            os.read(self._fd, _EXPIRATIONS_BYTES)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1


def _os_error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
