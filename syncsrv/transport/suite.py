"""The algorithms and bounds of every SSH connection of ours, in and out."""

from __future__ import annotations

import socket

from paramiko.transport import Transport

BANNER = "syncsrv"
KEEPALIVE_S = 15
DEAD_S = 20
"""A connection on which nothing sent is acknowledged for this long is dead."""


class SuiteTransport(Transport):
    """A Transport with our banner and modern algorithms only.

    Ed25519 alone; key exchange with curve25519, preferably with ML-KEM; AES-GCM, which carries its own integrity,
    and for clients without it AES-CTR with encrypt-then-MAC; never compression.
    """

    _CLIENT_ID = BANNER

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
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
