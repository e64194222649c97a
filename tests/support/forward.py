"""A port of this machine that leads into a network namespace: how a person's browser reaches a page in the lab."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support import netns


@contextlib.contextmanager
def forwarded(spaces: netns.Lab, name: str, address: str, port: int) -> Iterator[int]:
    """A port of 127.0.0.1 whose connections go to an address of a namespace, also of one that is made anew."""
    made: set[socket.socket] = set()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:  # it was shut down
                    return
                made.add(near)
                try:
                    with spaces.entered(name):
                        far = socket.create_connection((address, port), 5)
                except (OSError, KeyError):  # it is switched off
                    near.close()
                    continue
                made.add(far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for one in made:
                one.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end went away: that of the other one follows
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
