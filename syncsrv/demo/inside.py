"""Becomes a program in another network namespace: the demo's carp processes live where its segment is.

python -m syncsrv.demo.inside USER:NET PROGRAM ARGUMENT...
"""

from __future__ import annotations

import ctypes
import os
import sys

from syncsrv.errors import SyncsrvError

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000


class InsideError(SyncsrvError):
    """The namespace cannot be entered; working on this host's own network instead would be wrong."""

    code = "carp-inside"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot enter the namespace {path}: {why}", "see whether it still exists, and whose it is")


def enter(where: str) -> None:
    """Go there for good, with everything that this process starts afterwards. To be called with one thread.

    Args:
        where: ``USER:NET``, the paths of a user namespace and of a network namespace of it; ``-`` for USER where the
            network namespace belongs to ours.

    Raises:
        InsideError: it cannot be entered.
    """
    user, _, net = where.partition(":")
    if user != "-":
        _set(user, _CLONE_NEWUSER)
    _set(net, _CLONE_NEWNET)


def _set(path: str, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InsideError(path, (error.strerror or str(error)).lower()) from error
    try:
        if libc.setns(handle, kind) != 0:
            raise InsideError(path, os.strerror(ctypes.get_errno()).lower())
    finally:
        os.close(handle)


def main(argv: list[str]) -> None:
    """Go there and be the program; exit with 1 where that is not possible.

    Args:
        argv: ``USER:NET``, then the program with its whole path and its arguments.
    """
    try:
        enter(argv[0])
    except SyncsrvError as error:
        sys.exit(str(error))
    os.execv(argv[1], argv[1:])  # noqa: S606 - it is our own interpreter, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
