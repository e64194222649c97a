"""What a peer's repository has and ours lacks, taken in whole: for a tag, and for a comparison with its main."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncsrv.control.codec import decode_reply
from syncsrv.control.connection import Stream
from syncsrv.control.errors import Body
from syncsrv.control.frames import ProtocolMismatchError
from syncsrv.control.shapes_history import FetchReply
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError, UnreachableError, UsageError
from syncsrv.store.exchange import HostileObjectsError, Incoming, IncompleteError


class NotSentError(SyncsrvError):
    """The peer does not send what it was asked for; what is wrong is wrong there."""

    code = "not-sent"

    def __init__(self, peer: str, error: SyncsrvError) -> None:
        super().__init__(
            f"cannot fetch from {peer}: it answers: {error.message}",
            error.remedy or f"look at the repository of {peer}: `git fsck --strict` there",
        )
        self.peer = peer


@contextmanager
def fetched(core: Core, peer: str, body: Body, *, deadline_s: float) -> Iterator[tuple[FetchReply, Incoming]]:
    """Ask a peer for objects; inside, all that it sent is there to be finished, and believed not before.

    Raises:
        UnreachableError: it could not be asked, or did not send it all.
        NotSentError: it refuses, or its repository is damaged.
        HostileObjectsError, IncompleteError: it sent what no honest peer sends; named after the peer.
    """
    try:
        with _asked(core, peer, body, deadline_s) as stream:
            reply: FetchReply = decode_reply("fetch", FetchReply, stream.reply)
            with Incoming(core.store, core.live.config.node.state_dir / "quarantine") as incoming:
                for chunk in _sent(peer, stream):
                    incoming.feed(chunk)
                yield reply, incoming
    except HostileObjectsError as error:
        raise HostileObjectsError(error.why, error.object_id, peer) from error
    except IncompleteError as error:
        raise IncompleteError(error.why, peer) from error


def _asked(core: Core, peer: str, body: Body, deadline_s: float) -> Stream:
    with _told(peer):
        return core.link.stream(peer, "fetch", body, deadline_s=deadline_s)


def _sent(peer: str, stream: Stream) -> Iterator[bytes]:
    with _told(peer):
        yield from stream


@contextmanager
def _told(peer: str) -> Iterator[None]:
    """What the peer answered says where it is wrong; what is about the question or the way to it says so itself."""
    try:
        yield
    except (UnreachableError, UsageError, ProtocolMismatchError):
        raise
    except SyncsrvError as error:
        raise NotSentError(peer, error) from error
