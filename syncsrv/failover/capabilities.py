"""What remains of root's rights in the failover process: CAP_NET_ADMIN for addresses, CAP_NET_RAW for packets.

The uid stays 0, so that it reads the files that only root may. Whose function is which:

    give_up_as_agent     the agent: for good, nothing that it could start gets more
    give_up_as_guardian  the guardian: for itself only. It must be able to start a new agent, which takes real-time
                         scheduling and locked memory first; so the bounding set stays, and a program executed as
                         uid 0 has all rights again
    give_up_as_keeper    the keeper of conntrackd: for good, and CAP_NET_ADMIN only, which is what both work with
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping

from syncsrv.errors import SyncsrvError

NET_ADMIN = 12
NET_RAW = 13
KEPT = {NET_ADMIN: "CAP_NET_ADMIN", NET_RAW: "CAP_NET_RAW"}

_VERSION_3 = 0x2008_0522
_LAST = 63
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_libc = ctypes.CDLL(None, use_errno=True)


class CapabilityError(SyncsrvError):
    """Rights could not be given away; the process must not go on with them."""

    code = "capability"


def give_up_as_agent() -> tuple[str, ...]:
    """Keep CAP_NET_ADMIN and CAP_NET_RAW only, forbid this process and all below it to gain more, hide its memory.

    To be called with one thread, after ``realtime.take``.

    Returns:
        The names of those two that it had not in the first place: nothing can be sent or held without them.

    Raises:
        CapabilityError: some right is left that should be gone.
    """
    return _give_up_for_good(KEPT)


def give_up_as_keeper() -> tuple[str, ...]:
    """Keep CAP_NET_ADMIN only, forbid this process and all below it to gain more, hide its memory.

    Returns:
        Its name where this process had it not in the first place.

    Raises:
        CapabilityError: some right is left that should be gone.
    """
    return _give_up_for_good({NET_ADMIN: KEPT[NET_ADMIN]})


def _give_up_for_good(wanted: Mapping[int, str]) -> tuple[str, ...]:
    for number in range(_LAST + 1):
        if number in wanted or _libc.prctl(_PR_CAPBSET_READ, ctypes.c_ulong(number), 0, 0, 0) != 1:
            continue
        dropped = _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) == 0
        if not dropped and ctypes.get_errno() != errno.EPERM:  # without CAP_SETPCAP; no_new_privs holds alone then
            raise _failed(f"drop capability {number} for good")
    missing = _keep(wanted)
    for option, value, what in (
        (_PR_SET_NO_NEW_PRIVS, 1, "forbid new privileges"),
        (_PR_SET_DUMPABLE, 0, "hide the memory"),
    ):
        if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise _failed(what)
    return missing


def give_up_as_guardian() -> tuple[str, ...]:
    """Keep CAP_NET_ADMIN and CAP_NET_RAW only; an agent that is executed afterwards begins with all rights.

    To be called with one thread, after ``realtime.take``.

    Returns:
        The names of those two that it had not in the first place.

    Raises:
        CapabilityError: some right is left that should be gone.
    """
    return _keep(KEPT)


def _keep(named: Mapping[int, str]) -> tuple[str, ...]:
    cleared = _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0) == 0
    if not cleared and ctypes.get_errno() != errno.EINVAL:  # a kernel without ambient capabilities
        raise _failed("clear the ambient capabilities")
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable; the lower 32 first
    if _libc.capget(header, held) != 0:
        raise _failed("read the capabilities")
    kept = held[1] & sum(1 << number for number in named)
    wanted = (kept, kept, 0, 0, 0, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)(*wanted)) != 0:
        raise _failed("give up capabilities")
    if _libc.capget(header, held) != 0 or tuple(held) != wanted:
        raise CapabilityError("cannot give up capabilities: the kernel kept others")
    return tuple(name for number, name in named.items() if not kept >> number & 1)


def _failed(what: str) -> CapabilityError:
    why = os.strerror(ctypes.get_errno()).lower()
    return CapabilityError(f"cannot {what}: {why}", "start it as root, or see what confines it")
