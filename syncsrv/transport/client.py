"""SSH out: one kept connection to each peer, further channels over it, dialled anew when it is dead."""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass, field

from paramiko.channel import Channel
from paramiko.ssh_exception import AuthenticationException, IncompatiblePeer, SSHException

from syncsrv.control.doorverbs import Dial, Dialled, DialReply, pack, unpack
from syncsrv.errors import SyncsrvError
from syncsrv.transport.corelink import CoreLink
from syncsrv.transport.deadlines import Deadlines
from syncsrv.transport.keys import LoginKey, PeerHostKey
from syncsrv.transport.pump import join_socket
from syncsrv.transport.suite import KEEPALIVE_S, SuiteTransport, cut, prepare

log = logging.getLogger(__name__)

USER = "syncsrv"


class _WrongHostKeyError(SSHException):
    """The server has another key than the pinned one."""

    def __init__(self, presented: bytes) -> None:
        super().__init__("the host key is not the pinned one")
        self.presented = presented


class _OutboundTransport(SuiteTransport):
    """A Transport whose server is one pinned peer: the key is compared here, its signature verified by core."""

    def __init__(self, sock: socket.socket, core: CoreLink, peer: str, pinned: bytes) -> None:
        super().__init__(sock)
        self._core = core
        self._peer = peer
        self._pinned = pinned

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        if host_key != self._pinned:
            raise _WrongHostKeyError(host_key)
        assert self.H is not None
        self._core.verify_host(self._peer, self.H, sig)
        self.host_key = PeerHostKey(self._core, host_key)


@dataclass(slots=True)
class _Kept:
    """What is kept of one peer."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    transport: _OutboundTransport | None = None
    terms: tuple[str, int, str] = ("", 0, "")
    """Host, port and key that the kept connection was made with."""
    leaving: list[_OutboundTransport] = field(default_factory=list)
    """Replaced connections; each goes with its last channel."""


class Outbound:
    """Dials peers.

    Args:
        core: verifies and signs.
        deadlines: ends what takes too long.
    """

    def __init__(self, core: CoreLink, deadlines: Deadlines) -> None:
        self._core = core
        self._deadlines = deadlines
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def dial(self, request: Dial, sock: socket.socket) -> DialReply:
        """Join ``sock`` with a new channel at the peer; where the reply is not ``open`` it is closed."""
        ends_at = time.monotonic() + request.deadline_s
        with self._lock:
            kept = self._kept.setdefault(request.peer, _Kept())
        if not kept.lock.acquire(timeout=request.deadline_s):
            sock.close()
            return DialReply(Dialled.TIMEOUT, f"no connection within {request.deadline_s:g} s")
        try:
            reply, channel = self._dial(kept, request, ends_at)
        finally:
            kept.lock.release()
        if channel is None:
            sock.close()
        else:
            join_socket(channel, sock, lambda: self._channel_ended(kept))
        return reply

    def hang_up(self, peer: str) -> None:
        """Drop what is kept of a peer, channels and all."""
        with self._lock:
            kept = self._kept.pop(peer, None)
        if kept is None:
            return
        with kept.lock:
            for transport in [kept.transport, *kept.leaving]:
                if transport is not None:
                    cut(transport)
            kept.transport = None

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            peers = list(self._kept)
        for peer in peers:
            self.hang_up(peer)

    def _dial(self, kept: _Kept, request: Dial, ends_at: float) -> tuple[DialReply, Channel | None]:
        terms = (request.host, request.port, request.host_key)
        transport = kept.transport
        if transport is not None and (request.fresh or kept.terms != terms or not transport.is_active()):
            kept.leaving.append(transport)
            kept.transport = transport = None
            self._sweep(kept)
        if transport is not None:
            channel = self._open(transport, ends_at)
            if channel is not None:
                return DialReply(Dialled.OPEN), channel
            kept.leaving.append(transport)
            kept.transport = None
        reply, transport = self._connect(request, ends_at)
        if transport is None:
            return reply, None
        channel = self._open(transport, ends_at)
        if channel is None:
            cut(transport)
            if time.monotonic() >= ends_at:
                return _timeout(request), None
            return DialReply(Dialled.NO_CHANNEL, "it let this node in and then opened no channel"), None
        kept.transport, kept.terms = transport, terms
        return DialReply(Dialled.OPEN), channel

    def _connect(self, request: Dial, ends_at: float) -> tuple[DialReply, _OutboundTransport | None]:
        left_s = max(0.01, ends_at - time.monotonic())
        try:
            sock = socket.create_connection((request.host, request.port), left_s)
        except TimeoutError:
            return _timeout(request), None
        except OSError as error:
            return DialReply(Dialled.UNREACHABLE, (error.strerror or str(error)).lower()), None
        prepare(sock)
        try:
            transport = _OutboundTransport(sock, self._core, request.peer, unpack(request.host_key))
        except (OSError, SSHException) as error:
            sock.close()
            return DialReply(Dialled.UNREACHABLE, str(error).lower()), None
        deadline = self._deadlines.after(max(0.0, ends_at - time.monotonic()), lambda: cut(transport))
        failed = self._handshake(transport, request)
        in_time = deadline.met()
        if failed is None and in_time:
            transport.set_keepalive(KEEPALIVE_S)
            return DialReply(Dialled.OPEN), transport
        cut(transport)
        if in_time and failed is not None:
            return failed, None
        return _timeout(request), None

    def _handshake(self, transport: _OutboundTransport, request: Dial) -> DialReply | None:
        """Prove the host, log in; None when that went well."""
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = request.deadline_s
        login = LoginKey(self._core, unpack(request.own_key))
        try:
            transport.start_client(timeout=request.deadline_s)
            if transport.host_key is None:
                return _timeout(request)
            transport.auth_publickey(USER, login)
        except _WrongHostKeyError as error:
            return DialReply(Dialled.WRONG_HOST_KEY, str(error), pack(error.presented))
        except AuthenticationException as error:
            if transport.is_active():
                return DialReply(Dialled.NOT_KNOWN_THERE, "it does not know this node's key")
            return DialReply(Dialled.UNREACHABLE, f"it ended the connection during the login ({error})".lower())
        except IncompatiblePeer:
            return DialReply(Dialled.UNREACHABLE, "it is an SSH server without the algorithms that syncsrv uses")
        except (SSHException, EOFError, OSError) as error:
            return DialReply(Dialled.UNREACHABLE, _handshake_failure(error))
        except SyncsrvError as error:
            return DialReply(Dialled.UNREACHABLE, f"core stopped it: {error.message}")
        return None

    def _open(self, transport: _OutboundTransport, ends_at: float) -> Channel | None:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return None
        # paramiko waits for ever for the answer to a subsystem request; only the end of the connection wakes it.
        deadline = self._deadlines.after(left_s, lambda: cut(transport))
        try:
            channel = transport.open_session(timeout=left_s)
            channel.invoke_subsystem("syncsrv")
        except (SSHException, EOFError, OSError) as error:
            log.debug("no channel: %s", error)
            return None
        finally:
            deadline.met()
        return channel

    def _channel_ended(self, kept: _Kept) -> None:
        with kept.lock:
            self._sweep(kept)

    def _sweep(self, kept: _Kept) -> None:
        """End the replaced connections whose last channel is gone."""
        for transport in list(kept.leaving):
            used = len(transport._channels)  # type: ignore[attr-defined]  # paramiko tells it nowhere else
            if not transport.is_active() or not used:
                cut(transport)
                kept.leaving.remove(transport)


def _timeout(request: Dial) -> DialReply:
    return DialReply(Dialled.TIMEOUT, f"no answer within {request.deadline_s:g} s")


def _handshake_failure(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, EOFError | ConnectionError) or "banner" in text or "negotiation failed" in text:
        return "it ended the connection at once: it may not list this node's address among its peers"
    return f"the SSH handshake failed ({text or type(error).__name__.lower()})"
