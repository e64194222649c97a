"""The algorithms and bounds of every SSH connection of ours, in and out."""

from __future__ import annotations

import contextlib
import socket

from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

BANNER = "syncsrv"
KEEPALIVE_S = 15
DEAD_S = 20
"""A connection on which nothing sent is acknowledged for this long is dead."""


MAX_PACKET = 256 * 1024
"""RFC 4253, 6.1 asks for 35,000 bytes, and we announce 32 KiB of data a packet."""


class _BoundedPacketizer(Packetizer):
    """A Packetizer that does not gather whatever length a stranger's first four bytes claim."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MAX_PACKET:
            raise SSHException(f"a packet of {n} bytes is too large")
        return super().read_all(n, check_rekey)


class SuiteTransport(Transport):
    """A Transport with our banner and modern algorithms only.

    Ed25519 alone; key exchange with curve25519, preferably with ML-KEM; AES-GCM, which carries its own integrity,
    and for clients without it AES-CTR with encrypt-then-MAC; never compression.
    """

    _CLIENT_ID = BANNER
    _preferred_pubkeys = ("ssh-ed25519",)  # also told to clients, which then offer no others

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, packetizer_class=_BoundedPacketizer)
        options = self.get_security_options()
        options.key_types = ("ssh-ed25519",)
        options.kex = tuple(name for name in options.kex if "mlkem" in name or "curve25519" in name)
        options.ciphers = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr")
        options.digests = tuple(name for name in options.digests if "etm" in name)
        options.compression = ("none",)


def prepare(sock: socket.socket) -> None:
    """Options of a TCP connection: small frames at once, and a dead other side is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_S * 1000)


def cut(transport: Transport) -> None:
    """End the TCP connection; the transport's own thread notices at once and closes the rest."""
    with contextlib.suppress(OSError):  # it has ended
        transport.sock.shutdown(socket.SHUT_RDWR)
