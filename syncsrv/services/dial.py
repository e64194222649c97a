"""Connections that end on time, whatever the other side, its name server or a drip of bytes does."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import threading
from collections.abc import Iterator
from typing import TypeAlias

from syncsrv.clock import Clock

Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def connect(host: str, port: int, ends_at: float, clock: Clock) -> socket.socket:
    """A TCP connection to the first of the host's addresses that answers.

    Args:
        host: name or address.
        port: port.
        ends_at: monotonic deadline for name and connection together.
        clock: tells the time.

    Raises:
        OSError: none answered; TimeoutError where none did in time.
    """
    refused: OSError = TimeoutError("no answer in time")
    for family, address in _resolve(host, port, ends_at - clock.monotonic()):
        left_s = ends_at - clock.monotonic()
        if left_s <= 0:
            break
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left_s)
            sock.connect(address)
        except OSError as error:
            sock.close()
            refused = error
        else:
            return sock
    raise refused


def _resolve(host: str, port: int, within_s: float) -> list[Address]:
    """Ask in a thread of its own: getaddrinfo knows no deadline, a dead name server holds it for half a minute."""
    answers: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            answers.put(error)
        else:
            answers.put([(family, address) for family, _, _, _, address in found])

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=max(within_s, 0.001))
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


@contextlib.contextmanager
def cut_off(sock: socket.socket, after_s: float) -> Iterator[None]:
    """End every wait on the socket when the time is up; its own timeout begins anew with each byte that comes.

    Raises:
        TimeoutError: the time was up before the block ended, however the block took that.
    """
    cut = threading.Event()

    def end() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(
                sock, socket.SHUT_RDWR
            )  # an SSLSocket's own would pull the TLS state from its reader

    timer = threading.Timer(max(after_s, 0.001), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if cut.is_set():
            raise TimeoutError("no answer in time") from error
        raise
    finally:
        timer.cancel()
    if cut.is_set():
        raise TimeoutError("no answer in time")
