"""Give up what door and web must not have: root, groups, new privileges, the file system."""

from __future__ import annotations

import ctypes
import logging
import os
import pwd
import resource
import tempfile
from dataclasses import dataclass

from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_M_ARENA_MAX = -8
_ARENAS = 4
_NOBODY = 65534


class ConfineError(SyncsrvError):
    """The process could not give up its rights; it must not go on with them."""

    code = "confine"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"cannot {what}: {why}", "start it as root, or as an ordinary user from the beginning")


@dataclass(frozen=True, slots=True)
class Identity:
    """Numbers to become."""

    uid: int
    gid: int


def installed(user: str) -> Identity | None:
    """The numbers of a user that the installation makes; None where it is missing."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return Identity(entry.pw_uid, entry.pw_gid)


def identity_of(user: str) -> Identity:
    """The numbers of a user that the installation makes, or nobody's where it is missing."""
    return installed(user) or Identity(_NOBODY, _NOBODY)


def confine(user: str) -> None:
    """Become ``user`` in an empty root directory; where we are not root only gain nothing more.

    To be called before the first thread starts, and after everything was imported and opened.

    Raises:
        ConfineError: some right is left.
    """
    if os.geteuid() == 0:
        identity = identity_of(user)
        _enter_empty_root()
        try:
            os.setgroups([])
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
        except OSError as error:
            raise ConfineError(f"become {user}", (error.strerror or str(error)).lower()) from error
        if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3 or os.getgroups():
            raise ConfineError(f"become {user}", "the system kept other numbers")
    # Else malloc counts the processors by a file of /sys when enough threads run.
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "forbid new privileges")
    _prctl(_PR_SET_DUMPABLE, 0, "hide the memory")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _enter_empty_root() -> None:
    """Make a directory that has no name any more the root: nothing can be found or made there."""
    path = tempfile.mkdtemp(prefix="syncsrv-")
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.rmdir(path)
        os.fchdir(directory)
        os.chroot(".")
    except OSError as error:  # a container may forbid chroot; the user we become can still read no secret
        log.info("cannot enter an empty root directory: %s", (error.strerror or str(error)).lower())
        os.chdir("/")
    finally:
        os.close(directory)


def _prctl(option: int, value: int, what: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise ConfineError(what, os.strerror(ctypes.get_errno()).lower())
