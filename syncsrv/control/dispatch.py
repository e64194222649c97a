"""From a REQUEST frame to its handler and back: who may ask what is decided here, before a handler runs."""

from __future__ import annotations

import difflib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from syncsrv.control import codec
from syncsrv.control.errors import NotLoggedInError, error_body
from syncsrv.control.frames import (
    CHUNK,
    BadFrameError,
    ConnectionLostError,
    Frame,
    Kind,
    close_fds,
    decode_json,
    encode_json,
)
from syncsrv.control.verbs import Door, Verb
from syncsrv.errors import DeniedError, SyncsrvError, UsageError

log = logging.getLogger(__name__)

POWERS = ("viewer", "operator", "admin")
"""What a person may do, each including the ones before."""

LONGEST_ORIGIN = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as core itself established it.

    Attributes:
        door: the socket it came in by.
        power: viewer, operator, admin; empty for nobody yet (a page before the login).
        person: the name of the person; for a peer the one it names, or empty.
        node: the peer's name, where a peer asks.
        via: how it is recorded: cli, web, ssh, peer or door.
        origin: the address that the page was asked from, as web says; empty elsewhere.
        credential: what the page's caller proved itself by, as it was sent; empty elsewhere.
    """

    door: Door
    power: str
    person: str = ""
    node: str | None = None
    via: str = ""
    origin: str = ""
    credential: str = field(default="", repr=False)

    @property
    def came_from(self) -> str:
        """From where, as receipts show it: an address, else the way."""
        return self.origin or self.via

    @property
    def label(self) -> str:
        """The caller as receipts and commits show it: ``alice``, ``alice via fw1`` or ``fw1``."""
        if self.node is None:
            return self.person
        return f"{self.person} via {self.node}" if self.person else self.node


@dataclass(frozen=True, slots=True)
class Streamed:
    """What the handler of a streaming verb returns: the reply, then its bytes, closed when nobody wants them."""

    reply: object
    chunks: Iterator[bytes]


class UnknownVerbError(UsageError):
    """The table has no such verb."""

    code = "unknown-verb"

    def __init__(self, name: str, version: str, known: Mapping[str, Verb]) -> None:
        shown = name[:40]
        near = difflib.get_close_matches(shown, list(known), 1)
        hint = f"did you mean {near[0]}?" if near else "install the same version of syncsrv on both sides"
        super().__init__(f'cannot do "{shown}": this node (syncsrv {version}) does not know it', hint)


class BusyError(SyncsrvError):
    """One connection asked too much at once."""

    code = "busy"

    def __init__(self, verb: str, limit: int) -> None:
        super().__init__(f'cannot do "{verb}": {limit} requests of this connection are still under way', "try again")


class InternalError(SyncsrvError):
    """A fault of ours; the log of core has it under ``request_id``."""

    code = "internal"

    def __init__(self, verb: str, request_id: str) -> None:
        super().__init__(
            f'cannot do "{verb}": an error inside syncsrv (request {request_id})',
            f"look for {request_id} in the log of core and report it",
        )


@dataclass(slots=True)
class Call:
    """One request while it is handled.

    Attributes:
        verb: its name.
        request_id: names it in the log.
        gone: set when the caller no longer wants the answer, or its connection ended.
        fds: descriptors that came with it; the handler takes them out, what is left is closed.
        reply_fds: descriptors that go with the reply; closed here once they are sent.
    """

    verb: str
    request_id: str
    gone: threading.Event = field(default_factory=threading.Event)
    fds: list[int] = field(default_factory=list)
    reply_fds: list[int] = field(default_factory=list)


Handler: TypeAlias = Callable[[Caller, Any, Call], object]
"""Gets who asks, the request as its dataclass, and the call; returns the reply's dataclass, or Streamed."""

Claim: TypeAlias = Callable[[Caller, str | None], Caller]
"""Turns who the socket says it is, and whom the request names (``as``), into who it counts as."""


class Sender(Protocol):
    """Where the answers go: a Connection."""

    def send(self, frame: Frame, deadline_s: float = ...) -> None:
        """Write a frame or raise ConnectionLostError."""


def named_person(caller: Caller, claim: str | None) -> Caller:
    """The usual Claim: on core.sock and from a peer the name is a label; elsewhere it counts for nothing.

    Raises:
        UsageError: the name could not stand in a commit or a receipt.
    """
    if not claim or caller.door not in (Door.LOCAL, Door.PEER):
        return caller
    if len(claim) > 64 or claim != claim.strip() or not all(c.isprintable() and c not in "<>" for c in claim):
        raise UsageError("cannot act for this person: the name is too long or has characters that no name has")
    return replace(caller, person=claim)


class Dispatcher:
    """The table with its handlers.

    Args:
        table: name to verb.
        handlers: name to handler; a verb without one is answered as unknown.
        version: this program's version, for messages.
        claim: see Claim.
    """

    def __init__(
        self, table: Mapping[str, Verb], handlers: Mapping[str, Handler], *, version: str, claim: Claim = named_person
    ) -> None:
        strangers = set(handlers) - set(table)
        if strangers:
            raise ValueError(f"handlers for verbs that the table does not have: {sorted(strangers)}")
        self._table = {name: verb for name, verb in table.items() if name in handlers}
        self._handlers = dict(handlers)
        self._version = version
        self._claim = claim

    def begin(self, frame: Frame) -> tuple[Call, dict[str, Any]]:
        """The call that a REQUEST asks for; its envelope is checked, nothing of its content.

        Raises:
            BadFrameError: it is no request at all.
        """
        envelope = decode_json(frame.payload)
        if not isinstance(envelope, dict) or not isinstance(envelope.get("verb"), str):
            raise BadFrameError("request", "its request names no verb")
        texts = (envelope.get("as"), envelope.get("from"))
        if envelope.keys() - {"verb", "body", "as", "from"} or not all(isinstance(text, str | None) for text in texts):
            raise BadFrameError("request", "its request has fields that no request has")
        return Call(envelope["verb"], secrets.token_hex(6), fds=list(frame.fds)), envelope

    def answer(self, sender: Sender, caller: Caller, number: int, call: Call, envelope: dict[str, Any]) -> None:
        """Do what is asked and send the answer; the top of every request.

        Returns in every case; a connection that broke meanwhile is the reader's to notice.
        """
        try:
            self._answer(sender, caller, number, call, envelope)
        except ConnectionLostError as error:
            log.debug("%s: the caller is gone: %s", call.verb, error)
        except SyncsrvError as error:
            refuse(sender, number, error)
        except Exception:  # the top of the request loop: a fault of ours must not end core
            log.exception("request %s (%s) failed", call.request_id, call.verb[:40])
            refuse(sender, number, InternalError(call.verb[:40], call.request_id))
        finally:
            close_fds(call.fds)
            close_fds(call.reply_fds)

    def _answer(self, sender: Sender, caller: Caller, number: int, call: Call, envelope: dict[str, Any]) -> None:
        verb = self._table.get(call.verb)
        if verb is None or (caller.door is not Door.LOCAL and caller.door not in verb.doors):
            raise UnknownVerbError(call.verb, self._version, self._open_to(caller.door))
        if caller.door not in verb.doors:
            raise DeniedError(f'cannot do "{verb.name}": it is for {", ".join(sorted(verb.doors))} only')
        if caller.door is Door.WEB:
            caller = replace(caller, origin=_origin(envelope.get("from") or ""))
        caller = self._claim(caller, envelope.get("as"))
        if caller.door is Door.WEB and not caller.power and verb.power:
            raise NotLoggedInError(f'cannot do "{verb.name}": nobody is logged in, or the log-in has ended', "log in")
        if not may(caller.power, verb.power):
            held = caller.power or "not logged in"
            raise DeniedError(
                f'cannot do "{verb.name}": it needs the role {verb.power}, {caller.label or "the caller"} is {held}',
                "ask an admin, or do it on the node itself",
            )
        request = codec.decode_request(verb.name, verb.request, envelope.get("body", {}))
        result = self._handlers[verb.name](caller, request, call)
        if verb.streams:
            assert isinstance(result, Streamed), f"the handler of {verb.name} must return Streamed"
            self._send_stream(sender, number, call, verb, result)
        else:
            sender.send(_reply(number, codec.encode(verb.reply, result), tuple(call.reply_fds)))

    def _send_stream(self, sender: Sender, number: int, call: Call, verb: Verb, result: Streamed) -> None:
        try:
            sender.send(_reply(number, codec.encode(verb.reply, result.reply), ()))
            for data in result.chunks:
                for start in range(0, len(data), CHUNK):
                    if call.gone.is_set():
                        return
                    sender.send(Frame(Kind.BYTES, number, data[start : start + CHUNK]))
            sender.send(Frame(Kind.END, number))
        finally:
            close = getattr(result.chunks, "close", None)
            if close is not None:
                close()

    def _open_to(self, door: Door) -> Mapping[str, Verb]:
        return {name: verb for name, verb in self._table.items() if door in verb.doors}


def _origin(text: str) -> str:
    """Where a request of the page came from.

    Raises:
        UsageError: it could not stand in a receipt.
    """
    if len(text) > LONGEST_ORIGIN or not text.isprintable():
        raise UsageError("cannot say where the request came from: the address is too long or has odd characters")
    return text


def may(power: str, needed: str) -> bool:
    """Whether ``power`` includes ``needed``; an empty need is everybody's, an empty power nobody's."""
    if not needed:
        return True
    return power in POWERS and POWERS.index(power) >= POWERS.index(needed)


def refuse(sender: Sender, number: int, error: SyncsrvError) -> None:
    """Send an error as the answer, if the caller is still there."""
    payload = encode_json(error_body(error))
    if len(payload) > 60 * 1024:
        payload = encode_json(
            {**error_body(error), "message": error.message[:4096], "remedy": error.remedy[:1024], "guards": []}
        )
    try:
        sender.send(Frame(Kind.ERROR, number, payload))
    except ConnectionLostError as lost:
        log.debug("could not send an error: %s", lost)


def _reply(number: int, payload: bytes, fds: tuple[int, ...]) -> Frame:
    return Frame(Kind.REPLY, number, payload, fds)
