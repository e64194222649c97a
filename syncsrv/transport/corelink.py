"""The door's end of the connection with core: each question that the door may ask, as a call."""

from __future__ import annotations

import os
import socket

from syncsrv.control import codec
from syncsrv.control.connection import Connection
from syncsrv.control.doorverbs import (
    Admitted,
    Known,
    KnowsKey,
    OpenGit,
    Signature,
    SignAuth,
    SignKex,
    Ticket,
    VerifyClient,
    VerifyHost,
    pack,
    unpack,
)
from syncsrv.control.frames import BadFrameError, close_fds

ASK_S = 5.0
"""Core answers these from memory; a longer wait is a core that hangs."""


class CoreLink:
    """What core does for the door. Every method may raise SyncsrvError: core refused, or is gone.

    Args:
        connection: the started connection with core.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def sign_kex(self, exchange_hash: bytes) -> bytes:
        """64 bytes, as the host of a connection."""
        body = codec.to_body(SignKex, SignKex(pack(exchange_hash)))
        return self._signature("sign-kex", body)

    def sign_auth(self, blob: bytes) -> bytes:
        """64 bytes, to log in at a peer that core verified."""
        return self._signature("sign-auth", codec.to_body(SignAuth, SignAuth(pack(blob))))

    def knows_key(self, blob: bytes) -> bool:
        """Whether it is worth a client's while to sign with this key."""
        body = codec.to_body(KnowsKey, KnowsKey(pack(blob)))
        known: Known = codec.decode_reply(
            "knows-key", Known, self._connection.call("knows-key", body, deadline_s=ASK_S)
        )
        return known.known

    def verify_client(self, blob: bytes, signature: bytes) -> Admitted:
        """Who the client is, if core believes it."""
        body = codec.to_body(VerifyClient, VerifyClient(pack(blob), pack(signature)))
        admitted: Admitted = codec.decode_reply(
            "verify-client", Admitted, self._connection.call("verify-client", body, deadline_s=ASK_S)
        )
        return admitted

    def verify_host(self, peer: str, exchange_hash: bytes, signature: bytes) -> None:
        """Returns if the server is that peer."""
        body = codec.to_body(VerifyHost, VerifyHost(peer, pack(exchange_hash), pack(signature)))
        self._connection.call("verify-host", body, deadline_s=ASK_S)

    def open_stream(self, ticket: str) -> socket.socket:
        """A socket at whose other end core serves frames for the ticket's holder."""
        answer = self._connection.ask("open-stream", codec.to_body(Ticket, Ticket(ticket)), deadline_s=ASK_S)
        (fd,) = _exactly(1, answer.fds)
        return socket.socket(fileno=fd)

    def open_git(self, ticket: str, command: str, protocol: str) -> tuple[int, int, int, int]:
        """Stdin, stdout, stderr and the exit status of a Git command that core started."""
        body = codec.to_body(OpenGit, OpenGit(ticket, command, protocol))
        stdin, stdout, stderr, status = _exactly(4, self._connection.ask("open-git", body, deadline_s=ASK_S).fds)
        return stdin, stdout, stderr, status

    def close_ticket(self, ticket: str) -> None:
        """The connection is over."""
        self._connection.call("close-ticket", codec.to_body(Ticket, Ticket(ticket)), deadline_s=ASK_S)

    def _signature(self, verb: str, body: dict[str, object]) -> bytes:
        reply: Signature = codec.decode_reply(verb, Signature, self._connection.call(verb, body, deadline_s=ASK_S))
        return unpack(reply.signature)


def _exactly(count: int, fds: tuple[int, ...]) -> tuple[int, ...]:
    if len(fds) != count:
        close_fds(fds)
        raise BadFrameError("fds", f"core sent {len(fds)} descriptors instead of {count}")
    for fd in fds:
        os.set_blocking(fd, True)
    return fds
