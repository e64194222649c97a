"""Core's end of the connection with the door process: answers what it asks, and has it dial.

A door that ends takes its tickets and streams with it; the next one begins anew.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from syncsrv.control import codec
from syncsrv.control.connection import Connection
from syncsrv.control.dispatch import Call, Caller, Handler
from syncsrv.control.doorverbs import (
    TO_CORE,
    Admitted,
    Configure,
    Dial,
    Dialled,
    DialReply,
    HangUp,
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
from syncsrv.control.frames import ConnectionLostError
from syncsrv.control.serve import Limits, Server
from syncsrv.control.shapes import Empty
from syncsrv.control.sockets import local_process
from syncsrv.control.verbs import Door
from syncsrv.control.waiting import NoAnswerError
from syncsrv.core.ssh.authority import Authority, NotAdmittedError
from syncsrv.core.ssh.gitserve import GitPipes
from syncsrv.errors import DeniedError, SyncsrvError

log = logging.getLogger(__name__)

ASK_S = 5.0
MAX_STREAMS = 32
"""Of one connection from outside, whatever the door says."""
_LIMITS = Limits(connections=4, calls=512, workers=32)


class DoorAwayError(SyncsrvError):
    """No door process is connected."""

    code = "door-away"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"cannot use SSH: the door process {why}", "look at the log of syncsrv-door or `syncsrv serve`"
        )


class StreamServer(Protocol):
    """Serves frames on a socket: Server.start_socket."""

    def __call__(self, sock: socket.socket, caller: Caller) -> Connection:
        """Begin to serve, without waiting."""


class GitStarter(Protocol):
    """Starts Git: GitServer.start."""

    def __call__(self, command: str, protocol: str = "") -> GitPipes:
        """Descriptors for the door, or GitRefusedError."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """Frames that are served to somebody, with the rights of when they began."""

    connection: Connection
    caller: Caller


@dataclass(slots=True)
class _Attached:
    """One door, and what it holds."""

    authority: Authority
    connection: Connection | None = None
    streams: dict[str, list[_Stream]] = field(default_factory=dict)


class DoorLink:
    """The doors' side of core.

    Args:
        new_authority: makes the memory for one door.
        own_key: the node's public key.
        serve: serves a peer's or person's frames.
        git: starts Git for a person.
        node: this node's name.
        version: this program's version.
    """

    def __init__(
        self,
        *,
        new_authority: Callable[[], Authority],
        own_key: bytes,
        serve: StreamServer,
        git: GitStarter,
        node: str,
        version: str,
    ) -> None:
        self._new_authority = new_authority
        self._own_key = own_key
        self._serve = serve
        self._git = git
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._doors: dict[str, _Attached] = {}
        self._newest: str | None = None
        self._sources: tuple[str, ...] = ()
        self._listeners: tuple[socket.socket, ...] = ()
        self._ready = threading.Event()
        self._ending = False
        self._server = Server(TO_CORE, self._handlers(), node=node, version=version, limits=_LIMITS)

    def attach(self, sock: socket.socket) -> None:
        """Use the door at the other end of a connected socket; the earlier one is let go.

        Raises:
            ProtocolMismatchError, BadFrameError, ConnectionLostError: it is no door of ours.
        """
        caller = self._admit()
        try:
            self._use(self._server.serve_socket(sock, caller, takes_fds=True), caller)
        except SyncsrvError:
            self._forget(caller.person)
            raise

    def listen(self, path: Path, *, mode: int = 0o660, group: int | None = None, users: Collection[int] = ()) -> None:
        """Let a door that was started apart connect at ``path`` (door.sock).

        Args:
            path: made new.
            mode: its permissions.
            group: its group, by number; None leaves ours.
            users: who may connect, beside root and our own user.

        Raises:
            SocketInUseError, ListenError: nothing listens then.
        """

        def identify(sock: socket.socket) -> Caller | None:
            return self._admit() if local_process(sock, Door.DOOR, users) is not None else None

        self._server.serve_unix(
            path, Door.DOOR, mode=mode, group=group, identify=identify, on_connection=self._use_logged
        )

    def configure(self, sources: Sequence[str], listeners: Sequence[socket.socket] = ()) -> None:
        """Say who may connect; kept for doors that come later.

        Args:
            sources: networks, as ``192.0.2.2/32``.
            listeners: listening sockets for the door, which replace those it has; they stay the caller's to close
                when the door is no longer wanted. None: those that it has.
        """
        with self._lock:
            self._sources = tuple(sources)
            if listeners:
                self._listeners = tuple(listeners)
            attached = self._current()
        if attached is not None and attached.connection is not None:
            self._send_configuration(attached.connection)

    def wait(self, deadline_s: float) -> bool:
        """Whether a door is there and configured, within ``deadline_s`` seconds."""
        return self._ready.wait(deadline_s)

    def end_waiting(self) -> None:
        """Core ends: no other door will come, and nobody waits for one any more."""
        with self._lock:
            self._ending = True
            self._ready.set()

    def dial(self, request: Dial) -> tuple[DialReply, socket.socket | None]:
        """Have the door open a channel at a peer; the socket speaks frames with that peer where the reply is open.

        Raises:
            DoorAwayError: no door is there, or it does not answer.
        """
        body = codec.to_body(Dial, request)
        door = self._door()
        ours, theirs = socket.socketpair()
        opened = False
        try:
            answer = door.ask("dial", body, deadline_s=request.deadline_s + 1.0, fds=[theirs.fileno()])
            reply: DialReply = codec.decode_reply("dial", DialReply, answer.body)
            opened = reply.result is Dialled.OPEN
        except (ConnectionLostError, NoAnswerError) as error:
            raise DoorAwayError("does not answer") from error
        finally:
            theirs.close()
            if not opened:
                ours.close()
        return reply, ours if opened else None

    def hang_up(self, peer: str) -> None:
        """Have the door drop what it keeps of a peer; nothing happens without a door."""
        try:
            self._door().call("hang-up", codec.to_body(HangUp, HangUp(peer)), deadline_s=ASK_S)
        except (DoorAwayError, ConnectionLostError, NoAnswerError) as error:
            log.debug("no connection to hang up: %s", error)

    def recheck(self) -> None:
        """Keys or rights changed: end the streams of everybody who may no longer come in, or with other rights."""
        with self._lock:
            doors = list(self._doors.values())
        for attached in doors:
            for ticket in attached.authority.tickets():
                try:
                    rights = attached.authority.redeem(ticket).caller
                except NotAdmittedError:
                    self._end_streams(attached, ticket)
                else:
                    self._end_streams(attached, ticket, but=rights)

    def close(self) -> None:
        """Let every door go; none is admitted any more."""
        self._server.close()
        with self._lock:
            doors = list(self._doors)
        for name in doors:
            self._forget(name)

    def _door(self) -> Connection:
        with self._lock:
            attached = self._current()
        if attached is None or attached.connection is None:
            raise DoorAwayError("is not running")
        return attached.connection

    def _current(self) -> _Attached | None:
        return self._doors.get(self._newest) if self._newest is not None else None

    def _admit(self) -> Caller:
        """A name for a new door: requests say by it whose memory applies."""
        name = f"door-{next(self._numbers)}"
        with self._lock:
            self._doors[name] = _Attached(self._new_authority())
        return Caller(Door.DOOR, "", person=name, via="door")

    def _use(self, connection: Connection, caller: Caller) -> None:
        connection.when_closed(lambda: self._forget(caller.person))
        with self._lock:
            attached = self._doors.get(caller.person)
            if attached is None:
                return
            attached.connection = connection
            self._newest = caller.person
            earlier = [
                other.connection for name, other in self._doors.items() if name != caller.person and other.connection
            ]
        self._send_configuration(connection)
        self._ready.set()
        for one in earlier:
            one.close()

    def _use_logged(self, connection: Connection, caller: Caller) -> None:
        try:
            self._use(connection, caller)
        except SyncsrvError as error:
            log.warning("the door that connected is of no use: %s", error)
            connection.close()

    def _send_configuration(self, connection: Connection) -> None:
        with self._lock:
            body = codec.to_body(Configure, Configure(pack(self._own_key), self._sources))
            fds = [listener.fileno() for listener in self._listeners]
        connection.ask("configure", body, deadline_s=ASK_S, fds=fds)

    def _forget(self, name: str) -> None:
        with self._lock:
            attached = self._doors.pop(name, None)
            if self._newest == name:
                self._newest = None
                if not self._ending:
                    self._ready.clear()
        if attached is not None:
            for ticket in list(attached.streams):
                self._end_streams(attached, ticket)

    def _end_streams(self, attached: _Attached, ticket: str, but: Caller | None = None) -> None:
        with self._lock:
            streams = attached.streams.pop(ticket, [])
            kept = [stream for stream in streams if stream.caller == but]
            if kept:
                attached.streams[ticket] = kept
        for stream in streams:
            if stream.caller != but:
                stream.connection.shut()

    def _attached(self, caller: Caller) -> _Attached:
        with self._lock:
            attached = self._doors.get(caller.person)
        if attached is None:
            raise ConnectionLostError("this door was let go")
        return attached

    def _handlers(self) -> Mapping[str, Handler]:
        return {
            "sign-kex": self._sign_kex,
            "sign-auth": self._sign_auth,
            "knows-key": self._knows_key,
            "verify-client": self._verify_client,
            "verify-host": self._verify_host,
            "open-stream": self._open_stream,
            "open-git": self._open_git,
            "close-ticket": self._close_ticket,
        }

    def _sign_kex(self, caller: Caller, request: SignKex, call: Call) -> Signature:
        return Signature(pack(self._attached(caller).authority.sign_kex(unpack(request.hash))))

    def _sign_auth(self, caller: Caller, request: SignAuth, call: Call) -> Signature:
        return Signature(pack(self._attached(caller).authority.sign_auth(unpack(request.blob))))

    def _knows_key(self, caller: Caller, request: KnowsKey, call: Call) -> Known:
        return Known(self._attached(caller).authority.knows_key(unpack(request.key)))

    def _verify_client(self, caller: Caller, request: VerifyClient, call: Call) -> Admitted:
        authority = self._attached(caller).authority
        ticket, principal = authority.verify_client(unpack(request.blob), unpack(request.signature))
        log.info("%s came in over SSH", principal.caller.label)
        return Admitted(ticket, principal.caller.label)

    def _verify_host(self, caller: Caller, request: VerifyHost, call: Call) -> Empty:
        self._attached(caller).authority.verify_host(request.peer, unpack(request.hash), unpack(request.signature))
        return Empty()

    def _open_stream(self, caller: Caller, request: Ticket, call: Call) -> Empty:
        attached = self._attached(caller)
        principal = attached.authority.redeem(request.ticket)
        with self._lock:
            streams = attached.streams.setdefault(request.ticket, [])
            streams[:] = [one for one in streams if not one.connection.ended]
            if len(streams) >= MAX_STREAMS:
                raise NotAdmittedError("it has too many streams open")
            ours, theirs = socket.socketpair()
            streams.append(_Stream(self._serve(ours, principal.caller), principal.caller))
        call.reply_fds.append(theirs.detach())
        return Empty()

    def _open_git(self, caller: Caller, request: OpenGit, call: Call) -> Empty:
        principal = self._attached(caller).authority.redeem(request.ticket)
        if principal.caller.door is not Door.PERSON:
            raise DeniedError("cannot serve Git to a node: it is for people with a listed key")
        pipes = self._git(request.command, request.protocol)
        log.info("%s: %r", principal.caller.label, request.command[:60])
        call.reply_fds.extend(pipes.all())
        return Empty()

    def _close_ticket(self, caller: Caller, request: Ticket, call: Call) -> Empty:
        attached = self._attached(caller)
        attached.authority.close_ticket(request.ticket)
        self._end_streams(attached, request.ticket)
        return Empty()
