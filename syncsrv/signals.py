"""What a process inherits of signals, put right at its start."""

from __future__ import annotations

import signal


def unblock() -> None:
    """Let every signal through, whatever our parent had blocked: with SIGTERM blocked nothing ends us but SIGKILL.

    To be called first of all, before the first thread: each thread begins with the mask of the one that starts it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
