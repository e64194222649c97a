"""Copy bytes between an SSH channel and descriptors from core, both ways at once, and end both together."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable

from paramiko.channel import Channel
from paramiko.ssh_exception import SSHException

log = logging.getLogger(__name__)

_PIECE = 64 * 1024
_GONE = (OSError, SSHException, EOFError)
"""What paramiko raises when the other side, or the whole connection, is no longer there."""


def join_socket(channel: Channel, sock: socket.socket, on_end: Callable[[], None]) -> None:
    """Copy between a channel and a socket of core; returns at once. Frames are never half-closed: one end ends both.

    Args:
        channel: an open channel; closed at the end.
        sock: core's end; closed at the end.
        on_end: called once, after both are closed.
    """

    def inward() -> None:
        try:
            while data := channel.recv(_PIECE):
                sock.sendall(data)
        except _GONE as error:
            log.debug("core's end of a stream is gone: %s", error)
        with contextlib.suppress(OSError):  # it has ended already
            sock.shutdown(socket.SHUT_RDWR)

    def outward() -> None:
        thread = threading.Thread(target=inward, name="stream in", daemon=True)
        thread.start()
        try:
            while data := sock.recv(_PIECE):
                channel.sendall(data)
        except _GONE as error:
            log.debug("the other end of a stream is gone: %s", error)
        _close_channel(channel)
        thread.join()
        sock.close()
        on_end()

    threading.Thread(target=outward, name="stream out", daemon=True).start()


def join_program(channel: Channel, pipes: tuple[int, int, int, int], on_end: Callable[[], None]) -> None:
    """Copy between a channel and a program's stdin, stdout, stderr; at the end tell its exit status.

    Args:
        channel: an open channel; closed at the end.
        pipes: stdin, stdout, stderr and the pipe that brings the exit status; closed at the end.
        on_end: called once, after all are closed.
    """
    stdin, stdout, stderr, status = (_Fd(fd) for fd in pipes)

    def inward() -> None:
        try:
            while data := channel.recv(_PIECE):
                stdin.write(data)
        except _GONE as error:
            log.debug("the program reads no more: %s", error)
        stdin.close()
        if channel.closed:  # core sees it by this pipe and ends the program
            status.close()

    def copy(source: _Fd, send: Callable[[bytes], object]) -> None:
        try:
            while data := source.read():
                send(data)
        except _GONE as error:
            log.debug("the client takes no more: %s", error)
            status.close()
        source.close()

    def run() -> None:
        threads = [
            threading.Thread(target=inward, name="git in", daemon=True),
            threading.Thread(target=copy, args=(stderr, channel.sendall_stderr), name="git err", daemon=True),
        ]
        for thread in threads:
            thread.start()
        copy(stdout, channel.sendall)
        threads[1].join()
        code = status.read_all()
        if code.isdigit():
            with contextlib.suppress(*_GONE):  # the client is gone
                channel.send_exit_status(int(code))
        _close_channel(channel)
        threads[0].join()
        status.close()
        on_end()

    threading.Thread(target=run, name="git out", daemon=True).start()


def say_and_close(channel: Channel, text: str, exit_status: int) -> None:
    """A sentence for the client's terminal, and the end."""
    with contextlib.suppress(*_GONE):  # the client did not wait for it
        channel.sendall_stderr(f"syncsrv: {text}\n".encode())
        channel.send_exit_status(exit_status)
    _close_channel(channel)


def _close_channel(channel: Channel) -> None:
    with contextlib.suppress(*_GONE):  # its connection has ended
        channel.close()


class _Fd:
    """A descriptor that two threads may close."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def read(self) -> bytes:
        """What is there; nothing at the end or when it is closed here."""
        if not self._enter():
            return b""
        try:
            return os.read(self._fd, _PIECE)
        finally:
            self._leave()

    def read_all(self) -> bytes:
        parts = b""
        while data := self.read():
            parts += data
        return parts

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._enter():
            try:
                view = view[os.write(self._fd, view) :]
            finally:
                self._leave()

    def close(self) -> None:
        """Close it, as soon as nobody is within a read or write."""
        with self._lock:
            self._closed = True
            last = self._users == 0 and self._fd >= 0
            fd, self._fd = (self._fd, -1) if last else (-1, self._fd)
        if last:
            os.close(fd)

    def _enter(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._users += 1
            return True

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0 and self._fd >= 0
            fd, self._fd = (self._fd, -1) if last else (-1, self._fd)
        if last:
            os.close(fd)
