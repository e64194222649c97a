"""Unix sockets of ours: made with the right permissions, and who is at the other end."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Collection
from pathlib import Path

from syncsrv.control.ask import address
from syncsrv.control.dispatch import Caller
from syncsrv.control.verbs import Door
from syncsrv.errors import SyncsrvError

_UNSET_UID = 0xFFFFFFFF
_CREDENTIALS = struct.Struct("@iII")


class SocketInUseError(SyncsrvError):
    """Another process listens at the path."""

    code = "socket-in-use"

    def __init__(self, path: Path) -> None:
        super().__init__(f"cannot listen at {path}: another process does", "stop the other `syncsrv serve` first")


class ListenError(SyncsrvError):
    """The socket could not be made."""

    code = "listen"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"cannot listen at {path}: {why}", "correct run_dir in node.yaml, or its owner and mode")


def local_person(sock: socket.socket, door: Door) -> Caller | None:
    """Who connected to a Unix socket of ours, by the kernel's word.

    On core.sock (0600) that is an admin: the login user where one is set, else the owner of the process. On the
    other sockets it is a process of ours, which holds no power of its own.
    """
    pid, uid = _credentials(sock)
    if door is not Door.LOCAL:
        return Caller(door, "", via=str(door))
    if uid not in (0, os.geteuid()):
        return None
    login = _login_uid(pid)
    return Caller(door, "admin", person=_user_name(uid if login is None else login), via="cli")


def local_process(sock: socket.socket, door: Door, users: Collection[int]) -> Caller | None:
    """A process of ours, by the kernel's word: of root, of our own user, or of one of ``users``; it has no power."""
    _, uid = _credentials(sock)
    return Caller(door, "", via=str(door)) if uid in {0, os.geteuid(), *users} else None


def _credentials(sock: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def _login_uid(pid: int) -> int | None:
    try:
        number = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):  # the process ended, or this kernel keeps no login uid
        return None
    return None if number == _UNSET_UID else number


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def listen(path: Path, mode: int, group: int | None = None) -> socket.socket:
    """A socket that listens at ``path``.

    Args:
        path: made new; what a dead process left there is replaced.
        mode: its permissions.
        group: its group, by number; None leaves ours.

    Raises:
        SocketInUseError: a living process listens there.
        ListenError: it could not be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with address(path) as name:
            if path.is_socket():
                _remove_stale(path, name)
            listener.bind(name)
            # Nobody can connect before listen(), so the permissions are never wider than asked for.
            path.chmod(mode)
            if group is not None:
                os.chown(path, -1, group)
            listener.listen(64)
    except OSError as error:
        listener.close()
        raise ListenError(path, (error.strerror or str(error)).lower()) from error
    except SyncsrvError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise SocketInUseError(path)
