from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Caller
from syncsrv.control.serve import Limits, Server
from syncsrv.control.verbs import Door
from tests.control.toys import TABLE, Toys

ADMIN = Caller(Door.LOCAL, "admin", "root", via="cli")


@pytest.fixture
def toys() -> Iterator[Toys]:
    toys = Toys()
    yield toys
    toys.release.set()


@pytest.fixture
def server(toys: Toys) -> Iterator[Server]:
    server = Server(TABLE, toys.handlers(), node="fw1", version="1.0", limits=Limits(connections=8, calls=4, hello_s=1))
    yield server
    toys.release.set()
    server.close()


Connect = Callable[..., Connection]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Connections to the server over a socket pair, as a given caller."""
    made: list[Connection] = []

    def connect(caller: Caller = ADMIN, *, takes_fds: bool = False) -> Connection:
        ours, theirs = socket.socketpair()
        server.start_socket(theirs, caller, takes_fds=takes_fds)
        connection = Connection(ours, version="1.0", takes_fds=takes_fds)
        made.append(connection)
        connection.start()
        return connection

    yield connect
    for connection in made:
        connection.close()


@pytest.fixture
def core_sock(server: Server, tmp_path: Path) -> Path:
    path = tmp_path / "core.sock"
    server.serve_unix(path, Door.LOCAL, mode=0o600)
    return path
