"""Those who have no business here: what they can take of the door is bounded, and the others notice nothing."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from syncsrv.core.ssh.wire import string
from syncsrv.store.signing import Signer, generate_key
from syncsrv.transport.server import Bounds
from tests.support.wait import until
from tests.transport.fakecore import Node, node

BOUNDS = Bounds(unknown=6, unknown_each=4, connections=10, channels=3, login_s=1.0)


@pytest.fixture
def fw1(tmp_path: Path) -> Iterator[Node]:
    with node("fw1", tmp_path / "fw1", door=False) as made:
        made.start_door_here(BOUNDS)
        yield made


@pytest.fixture
def peer(fw1: Node, tmp_path: Path) -> Iterator[Node]:
    with node("fw2", tmp_path / "fw2", door=False) as made:
        made.start_door_here(BOUNDS)
        made.knows(fw1)
        fw1.knows(made)
        yield made


def counts(node: Node) -> Counter[str]:
    assert node.door_here is not None
    return node.door_here._inbound.counts


def knock(node: Node, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.port), 5, source_address=(source, 0))


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end has closed it; takes what it had sent before."""
    sock.settimeout(0.05)
    try:
        while sock.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def is_served(node: Node, source: str) -> bool:
    """Whether a new connection is greeted; the door counts one as gone a moment after its other end saw that."""
    with knock(node, source) as sock:
        try:
            return sock.recv(100).startswith(b"SSH-2.0-syncsrv")
        except ConnectionError:
            return False


def works(peer: Node) -> bool:
    peer.links.hang_up("fw1")
    return bool(peer.links.call("fw1", "echo", {"text": "x"}, deadline_s=5))


def test_a_silent_connection_is_closed_when_its_time_is_over(fw1: Node, peer: Node) -> None:
    with knock(fw1) as silent:
        until(lambda: is_closed(silent), what="the silent connection to be closed")
    assert counts(fw1)["no login in time"] == 1
    assert works(peer)


def test_a_connection_that_drips_is_closed_when_its_time_is_over(fw1: Node, peer: Node) -> None:
    with knock(fw1) as slow:
        slow.sendall(b"SSH-2.0-")

        def drip() -> bool:
            try:
                slow.sendall(b"x")
            except OSError:
                return True
            return is_closed(slow)

        until(drip, what="the slow connection to be closed")
    assert works(peer)


def test_a_handshake_without_a_login_is_closed_when_its_time_is_over(fw1: Node, peer: Node) -> None:
    transport = paramiko.Transport(knock(fw1))
    transport.start_client(timeout=5)
    assert transport.remote_version == "SSH-2.0-syncsrv"
    until(lambda: not transport.is_active(), what="the idle handshake to be ended")
    assert counts(fw1)["no login in time"] == 1
    assert works(peer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01" * 50,
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-x\r\n" + b"\xff" * 5000,
        b"SSH-2.0-x\r\n" + b"\0" * 5000,
        b"\n" * 100_000,
        os.urandom(20_000),
    ],
    ids=["http", "tls", "ssh1", "huge-packet", "zero-packet", "newlines", "random"],
)
def test_garbage_ends_only_its_own_connection(fw1: Node, peer: Node, garbage: bytes) -> None:
    with knock(fw1) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(garbage)
        until(lambda: is_closed(sock), what="the connection to be closed")
    assert works(peer)


def test_a_packet_that_claims_to_be_huge_is_refused_at_once(fw1: Node) -> None:
    assert fw1.door_here is not None
    with knock(fw1) as sock:
        assert sock.recv(100).startswith(b"SSH-2.0-syncsrv")
        sock.sendall(b"SSH-2.0-x\r\n" + b"\x7f\xff\xff\xff" * 4)
        until(lambda: is_closed(sock), what="the connection to be closed")
    assert counts(fw1)["no login in time"] == 0


def test_one_address_has_a_few_unknown_connections_and_leaves_room_for_others(fw1: Node, peer: Node) -> None:
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(knock(fw1, "127.0.0.9")) for _ in range(BOUNDS.unknown_each + 2)]
        until(lambda: counts(fw1)["too many connections of this address"] == 2, what="two to be turned away")
        assert works(peer)
        until(lambda: all(is_closed(sock) for sock in strangers), what="all to be closed")
    until(lambda: is_served(fw1, "127.0.0.9"), what="room for that address again")


def test_all_strangers_together_have_a_bound(fw1: Node) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(BOUNDS.unknown + 2):
            stack.enter_context(knock(fw1, f"127.0.0.{number + 10}"))
        until(lambda: counts(fw1)["too many connections"] == 2, what="two to be turned away")


def test_a_logged_in_connection_is_no_longer_unknown(fw1: Node, peer: Node) -> None:
    for _ in range(BOUNDS.unknown_each + 3):
        assert works(peer)
    assert counts(fw1)["too many connections of this address"] == 0


def test_other_sources_are_dropped_before_a_byte_is_sent(fw1: Node, peer: Node) -> None:
    fw1.link.configure(["127.0.0.1/32"])
    with knock(fw1, "127.0.0.2") as other:
        assert other.recv(100) == b""
    assert counts(fw1)["not a peer's address"] == 1
    assert works(peer)
    fw1.link.configure(["127.0.0.1/32", "127.0.0.0/24"])
    with knock(fw1, "127.0.0.2") as other:
        assert other.recv(100).startswith(b"SSH-2.0-")


def test_two_hundred_connections_at_once_and_the_peer_still_gets_its_answer(tmp_path: Path) -> None:
    with node("fw1", tmp_path / "fw1") as fw1, node("fw2", tmp_path / "fw2") as fw2:
        fw1.knows(fw2)
        fw2.knows(fw1)
        with contextlib.ExitStack() as stack:
            for number in range(200):
                stack.enter_context(knock(fw1, f"127.0.{1 + number // 5}.1"))
            until(lambda: "too many connections" in fw1.log, what="some to be turned away")
        assert until(lambda: works(fw2), what="an answer")
        assert fw1.door is not None
        assert fw1.door.poll() is None


class Impostor:
    """A client that makes its own login out of whatever it has recorded."""

    def __init__(self, node: Node) -> None:
        self.transport = paramiko.Transport(knock(node))
        self.transport.start_client(timeout=5)

    def login(self, key: paramiko.PKey) -> bool:
        try:
            self.transport.auth_publickey("syncsrv", key)
        except (paramiko.AuthenticationException, EOFError):
            return False
        return self.transport.is_authenticated()

    def close(self) -> None:
        self.transport.close()


class Replayed(paramiko.PKey):
    """A key whose signatures are somebody else's of another session, or nonsense."""

    name = "ssh-ed25519"
    public_blob = None

    def __init__(self, blob: bytes, signature: bytes) -> None:
        self._blob = blob
        self._signature = signature

    def asbytes(self) -> bytes:
        return self._blob

    def get_name(self) -> str:
        return self.name

    def can_sign(self) -> bool:
        return True

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        return paramiko.Message(self._signature)


def test_a_recorded_login_opens_nothing(fw1: Node, peer: Node) -> None:
    recorded = peer.signer.sign_raw(
        string(os.urandom(32)) + b"\x32" + string(b"syncsrv") + string(b"ssh-connection") + string(b"publickey")
    )
    for signature in (recorded, b"\0" * 64, b""):
        impostor = Impostor(fw1)
        assert not impostor.login(Replayed(peer.signer.public_blob, string(b"ssh-ed25519") + string(signature)))
        impostor.close()
    assert fw1.toys.handled == []
    assert works(peer)


def test_without_a_login_no_channel_is_opened(fw1: Node) -> None:
    impostor = Impostor(fw1)
    with pytest.raises((paramiko.SSHException, EOFError)):
        impostor.transport.open_session(timeout=5)
    impostor.close()


@pytest.mark.parametrize("method", ["none", "password"])
def test_no_other_way_to_log_in_is_taken(fw1: Node, method: str) -> None:
    impostor = Impostor(fw1)
    transport = impostor.transport
    login = {"none": lambda: transport.auth_none("root"), "password": lambda: transport.auth_password("root", "root")}
    with pytest.raises(paramiko.AuthenticationException):
        login[method]()
    impostor.close()


def test_channels_of_one_connection_are_bounded(fw1: Node, tmp_path: Path) -> None:
    path = tmp_path / "id"
    generate_key(path)
    fw1.lists("alice", Signer.load(path).public_blob)
    transport = paramiko.Transport(knock(fw1))
    transport.start_client(timeout=5)
    transport.auth_publickey("alice", paramiko.Ed25519Key(filename=str(path)))
    channels = []
    for _ in range(BOUNDS.channels):
        channel = transport.open_session(timeout=5)
        channel.invoke_subsystem("syncsrv")
        channels.append(channel)
    with pytest.raises(paramiko.ChannelException, match="Resource shortage"):
        transport.open_session(timeout=5)
    channels[0].close()

    def another() -> bool:
        try:
            transport.open_session(timeout=5)
        except paramiko.ChannelException:
            return False
        return True

    until(another, what="room for another channel")
    transport.close()


def test_a_second_program_on_a_channel_is_refused(fw1: Node, tmp_path: Path) -> None:
    path = tmp_path / "id"
    generate_key(path)
    fw1.lists("alice", Signer.load(path).public_blob)
    transport = paramiko.Transport(knock(fw1))
    transport.start_client(timeout=5)
    transport.auth_publickey("alice", paramiko.Ed25519Key(filename=str(path)))
    channel = transport.open_session(timeout=5)
    channel.invoke_subsystem("syncsrv")
    with pytest.raises((paramiko.SSHException, EOFError)):
        channel.invoke_subsystem("syncsrv")
    transport.close()
