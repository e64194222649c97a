"""Parents of every error that syncsrv raises on purpose.

A message reads ``cannot <do what> <to which object>: <why>``; the remedy says what to do about it. Specific
errors stand beside the code that raises them and carry data; only what more than one folder needs is here.
A class owns its exit status and its code, so that command line, page and API say the same.
"""

from __future__ import annotations

from typing import ClassVar


class SyncsrvError(Exception):
    """Something asked for could not be done.

    Args:
        message: one sentence, ``cannot <do what> <to which object>: <why>``.
        remedy: what a person can do about it; empty where nothing can be said.
    """

    code: ClassVar[str] = "failed"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(SyncsrvError):
    """What was asked makes no sense as asked: a name that does not exist, options that exclude each other."""

    code = "usage"
    exit_status = 2


class UnreachableError(SyncsrvError):
    """A peer did not answer within its deadline."""

    code = "unreachable"
    exit_status = 3


class RefusedError(SyncsrvError):
    """Guards or rights forbid it; ``guards`` names those that fired."""

    code = "refused"
    exit_status = 4

    def __init__(self, message: str, remedy: str = "", guards: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy)
        self.guards = guards


class DeniedError(SyncsrvError):
    """The caller's role does not allow it."""

    code = "denied"
    exit_status = 4


class DamagedError(SyncsrvError):
    """Something that we wrote earlier does not read back as written: the repository, the journal, a state file."""

    code = "damaged"
