"""The door process: all SSH, in and out, without a key, a repository or a configuration file.

It holds one connection with core and ends when that ends. What it is told there, who may knock and whom to dial, is
all it knows; what it tells is believed by nobody.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from syncsrv import log as logs
from syncsrv import signals
from syncsrv.control import ask, codec
from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Call, Caller, Handler
from syncsrv.control.doorverbs import TO_CORE, TO_DOOR, Configure, Dial, DialReply, HangUp, unpack
from syncsrv.control.serve import Limits, Server
from syncsrv.control.shapes import Empty
from syncsrv.control.verbs import Door
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.notify import Notifier
from syncsrv.privilege import confine
from syncsrv.transport.client import Outbound
from syncsrv.transport.corelink import CoreLink
from syncsrv.transport.deadlines import Deadlines
from syncsrv.transport.server import Bounds, Inbound

log = logging.getLogger("syncsrv.transport.door")  # also where this file is the program

USER = "syncsrv-door"
WAIT_S = 60.0
"""For a core that systemd starts too; then it ends, and systemd starts another door."""


class DoorProcess:
    """The parts of the door, joined.

    Args:
        link: connected with core.
        listeners: listening sockets that were inherited; core may send others.
        version: this program's version.
        bounds: for connections from outside.
    """

    def __init__(
        self, link: socket.socket, listeners: Sequence[socket.socket], *, version: str, bounds: Bounds | None = None
    ) -> None:
        self._inherited = list(listeners)
        self._deadlines = Deadlines()
        self._server = Server(
            TO_DOOR, self._handlers(), node="door", version=version, limits=Limits(calls=256, workers=32)
        )
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._connection = self._server.start_socket(
            link, Caller(Door.DOOR, "", person="core", via="door"), takes_fds=True, on_connection=self._greeted
        )
        core = CoreLink(self._connection)
        self._inbound = Inbound(core, self._deadlines, bounds)
        self._outbound = Outbound(core, self._deadlines)
        self._connection.when_closed(self._ended.set)
        self._ready.set()

    def wait(self, wait_s: float | None = None) -> bool:
        """Until core is gone, or so many seconds are over; whether it is gone."""
        return self._ended.wait(wait_s)

    def works(self, within_s: float) -> bool:
        """Whether the threads that everything hangs on do: those that accept, and, in that time, that of deadlines."""
        struck = threading.Event()
        self._deadlines.after(0.0, struck.set)
        return struck.wait(within_s) and self._inbound.accepts()

    def close(self) -> None:
        """End everything."""
        self._inbound.close()
        self._outbound.close()
        self._server.close()
        self._deadlines.close()

    def _greeted(self, connection: Connection, caller: Caller) -> None:
        log.info("joined with core of %s", connection.hello.node)

    def _handlers(self) -> Mapping[str, Handler]:
        return {"configure": self._configure, "dial": self._dial, "hang-up": self._hang_up}

    def _configure(self, caller: Caller, request: Configure, call: Call) -> Empty:
        self._ready.wait()
        try:
            sources = tuple(ipaddress.ip_network(text) for text in request.sources)
        except ValueError as error:
            raise UsageError(f"cannot take connections from these networks: {error}") from error
        listeners = [socket.socket(fileno=call.fds.pop()) for _ in list(call.fds)] or self._inherited
        self._inherited = []
        self._inbound.configure(unpack(request.host_key), sources, listeners)
        return Empty()

    def _dial(self, caller: Caller, request: Dial, call: Call) -> DialReply:
        self._ready.wait()
        if len(call.fds) != 1:
            raise UsageError("cannot dial: one socket must come along")
        return self._outbound.dial(request, socket.socket(fileno=call.fds.pop()))

    def _hang_up(self, caller: Caller, request: HangUp, call: Call) -> Empty:
        self._ready.wait()
        self._outbound.hang_up(request.peer)
        return Empty()


def run(
    link: socket.socket,
    listeners: Sequence[socket.socket] = (),
    *,
    version: str,
    bounds: Bounds | None = None,
    notifier: Notifier | None = None,
) -> None:
    """Be the door until core is gone: gives up all rights first."""
    logs.start("door")
    # paramiko logs each failed handshake of a stranger with a traceback; what matters is logged by us.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    sys.tracebacklimit = 0  # printing a traceback would open source files, which are out of reach by then
    _load_everything()
    confine(USER)
    door = DoorProcess(link, listeners, version=version, bounds=bounds)
    notifier = notifier or Notifier()
    notifier.ready("joined with core")
    while not door.wait(notifier.every_s):
        if door.works(notifier.every_s or 0.0):
            notifier.alive()
    notifier.stopping("core is gone")
    log.info("core is gone")
    door.close()


def _load_everything() -> None:
    """Do once what imports modules or opens files when it is done first."""
    for verb in (*TO_CORE.values(), *TO_DOOR.values()):
        codec.adapter(verb.request)
        codec.adapter(verb.reply)
    "localhost".encode("idna")  # socket.create_connection does this to every host name


def main(argv: Sequence[str], notifier: Notifier | None = None) -> int:
    """``python -m syncsrv.transport.door (--link-fd N | --socket PATH) [--listen-fd N]… door``: started by serve.

    Args:
        argv: the above, from ``--link-fd`` on.
        notifier: where systemd started it.
    """
    signals.unblock()
    parser = argparse.ArgumentParser(prog="syncsrv-door")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--link-fd", type=int, help="a connected socket whose other end is core's")
    where.add_argument("--socket", type=Path, help="core's door.sock")
    parser.add_argument("--listen-fd", type=int, action="append", default=[], help="a listening socket")
    parser.add_argument("--version-text", default="", help="the version that is told to core")
    parser.add_argument("word", choices=["door"])
    options = parser.parse_args(argv)
    try:
        if options.socket is None:
            link = socket.socket(fileno=options.link_fd)
        else:
            if notifier is not None:
                notifier.status("waits for core")
            link = ask.await_socket(options.socket, WAIT_S if notifier else 0.0)
        listeners = [socket.socket(fileno=fd) for fd in options.listen_fd]
        for sock in (link, *listeners):
            os.set_inheritable(sock.fileno(), False)
        run(link, listeners, version=options.version_text, notifier=notifier)
    except SyncsrvError as error:
        log.error("%s", error)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
