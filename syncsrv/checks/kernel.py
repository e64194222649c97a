"""The kernel calls that a check's sandbox needs and Python 3.11 has not: namespaces, mounts, privileges.

Imported by the sandbox's child, whose start is part of every check's time: nothing but ctypes and os.
"""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWPID = 0x2000_0000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 0x2_0000
MS_PRIVATE = 0x4_0000

SIGKILL = 9
_SIGPIPE = 13
_SIGXFSZ = 25
_MNT_DETACH = 2
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442  # one number on every architecture that Debian has
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x2008_0522
_LAST_CAPABILITY = 63

KEPT_CAPABILITIES = frozenset(
    {
        0,  # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: what a daemon's test run does to its own files
        1,
        3,
        4,
        5,
        6,
        7,
        10,  # NET_BIND_SERVICE
        12,  # NET_ADMIN: `nft -c` asks the kernel
        13,  # NET_RAW
        14,  # IPC_LOCK
        18,  # SYS_CHROOT: unbound-checkconf, named-checkconf -t
        23,  # SYS_NICE
        24,  # SYS_RESOURCE
    }
)
"""By number. Not among them: SYS_ADMIN (it could mount everything writable again), MKNOD and SYS_RAWIO (disks),
DAC_READ_SEARCH (it opens what is hidden by file handle), SYS_PTRACE, SYS_MODULE, SYS_BOOT, SYS_TIME."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the shared namespaces that ``flags`` name; a new pid namespace begins with the next child."""
    _checked(_libc.unshare(flags), "new namespaces")


def mount(source: bytes, target: bytes, kind: bytes = b"", flags: int = 0, options: bytes = b"") -> None:
    """The system call of that name.

    Raises:
        OSError: as the kernel says; its text names the target.
    """
    call = _libc.mount(source, target, kind or None, ctypes.c_ulong(flags), options or None)
    _checked(call, f"mount on {os.fsdecode(target)}")


def set_propagation(target: bytes, flags: int) -> None:
    """Make a mount private or unbindable."""
    mount(b"none", target, flags=flags)


def restrict_tree(target: bytes) -> bool:
    """Make the mount ``target`` and all below it read-only, without devices and setuid, in one call.

    Returns:
        False where the kernel is older than the call (5.12).

    Raises:
        OSError: anything else that the kernel said.
    """
    restricted = ctypes.c_uint64 * 4  # struct mount_attr: set, clear, propagation, userns_fd
    attributes = restricted(MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)  # the first MOUNT_ATTR_* have the bits of MS_*
    call = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(-1),
        ctypes.c_char_p(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    if call == -1 and ctypes.get_errno() == errno.ENOSYS:
        return False
    _checked(call, f"make {os.fsdecode(target)} read-only")
    return True


def enter_root(new_root: bytes) -> None:
    """Make the mount ``new_root`` the root of this mount namespace and let the old one go."""
    os.chdir(new_root)
    _checked(_libc.pivot_root(b".", b"."), "enter the new root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "leave the old root")
    os.chdir("/")


def die_with_parent() -> None:
    """Be killed when the thread that started us ends, however it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(SIGKILL), 0, 0, 0), "follow the parent's end")


def become_subreaper() -> None:
    """Orphans below us become our children."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "adopt orphans")


def drop_privileges() -> None:
    """Keep only KEPT_CAPABILITIES, for good, and let nobody below trace this process or gain what it gave up."""
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in KEPT_CAPABILITIES:
            result = _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
            if result == -1 and ctypes.get_errno() == errno.EINVAL:
                break  # the kernel knows no higher one
            _checked(result, f"drop capability {capability}")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable; the lower 32 first
    _checked(_libc.capget(header, held), "read capabilities")
    kept = sum(1 << capability for capability in KEPT_CAPABILITIES)
    low, high = kept & held[1], kept >> 32 & held[4]
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "drop capabilities")
    no_new_privileges()
    _checked(_libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0), "be untraceable")


def no_new_privileges() -> None:
    """No program below gains rights by being executed."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "no new privileges")


def default_signals() -> None:
    """Give back their usual effect to the signals that Python ignores, which every program would inherit."""
    signal = _libc.signal
    signal.restype = ctypes.c_void_p
    for number in (_SIGPIPE, _SIGXFSZ):
        signal(ctypes.c_int(number), None)
