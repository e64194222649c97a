"""A backup has its master's people too: sent signed by the master, since the door between could say anything.

The signature names both nodes and a number that only grows, so that a list is good for one node, and an old one is
not good again. The receiver decides how much of it counts: nobody gets more power than the pin of the master has.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from syncsrv import durable
from syncsrv.config.model import Peer, Power, Role
from syncsrv.control.codec import decode_reply
from syncsrv.control.shapes import Facts
from syncsrv.control.shapes_people import PeopleReply, PersonRecord
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError
from syncsrv.store.signing import BadSignatureError, Signer, parse_public_line, verify_sshsig

NAMESPACE = "syncsrv-people"
"""Other than Git's: a signature over people is none over a tag."""


class NotTakenError(SyncsrvError):
    """What came is not the master's list for this node."""

    code = "people-not-taken"

    def __init__(self, peer: str, why: str) -> None:
        super().__init__(
            f"cannot take over the people of {peer}: {why}", f"compare `syncsrv key` on {peer} with node.yaml here"
        )


def signed(people: tuple[PersonRecord, ...], node: str, receiver: str, serial: int, signer: Signer) -> PeopleReply:
    """The list for one backup.

    Args:
        people: to be taken over.
        node: the master.
        receiver: the backup.
        serial: higher than that of every earlier list.
        signer: the master's key.
    """
    reply = PeopleReply(node, receiver, serial, people)
    return replace(reply, signature=signer.sshsig(_payload(reply), NAMESPACE).decode())


def believed(reply: PeopleReply, name: str, peer: Peer, here: str, serials: Path) -> tuple[PersonRecord, ...]:
    """The list, if the pinned master made it for this node and it is newer than the last.

    Args:
        reply: what came.
        name: of the peer that it came from.
        peer: its pin.
        here: this node.
        serials: file in which the last number of each peer is kept.

    Raises:
        NotTakenError: it is not to be believed, or the peer may not say who may come in.
    """
    if peer.may is Power.VIEWER:
        raise NotTakenError(name, "node.yaml lets it view only (`may: viewer`)")
    try:
        blob = verify_sshsig(reply.signature.encode(), _payload(reply), NAMESPACE)
    except BadSignatureError as error:
        raise NotTakenError(name, f"its signature is not good ({error.why})") from error
    if blob != parse_public_line(peer.key):
        raise NotTakenError(name, "it is signed by another key")
    if (reply.node, reply.receiver) != (name, here):
        raise NotTakenError(name, f"it was made by {reply.node} for {reply.receiver}")
    known = _load(serials)
    if reply.serial <= known.get(name, 0):
        raise NotTakenError(name, "it is older than the last one; see whether the clock there was set back")
    durable.write(serials, json.dumps({**known, name: reply.serial}).encode())
    return reply.people


class Follower:
    """Takes over its master's people, on a backup that is to, when they changed there."""

    def __init__(self) -> None:
        self._seen = ""

    def heard(self, core: Core, peer: str, facts: Facts) -> None:
        """A peer has answered.

        Raises:
            NotTakenError: what it sent is not to be believed.
            UnreachableError: it could not be asked for them.
        """
        node = core.live.config.node
        if node.role is Role.MASTER or facts.role != Role.MASTER or node.users != "from-master":
            return
        masters = [one for one in core.book.now().values() if one.facts and one.facts.role == Role.MASTER]
        pin = node.peers.get(peer)
        if len(masters) > 1 or pin is None or pin.may is Power.VIEWER or facts.people in ("", self._seen):
            return
        reply: PeopleReply = decode_reply("people", PeopleReply, core.link.call(peer, "people", {}, deadline_s=3.0))
        core.people.take_over(believed(reply, peer, pin, node.node, node.state_dir / "people-serials.json"), pin.may)
        self._seen = facts.people
        core.people_changed()


def _payload(reply: PeopleReply) -> bytes:
    return json.dumps(asdict(replace(reply, signature="")), sort_keys=True).encode()


def _load(path: Path) -> dict[str, int]:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {}  # damage costs one replay at worst, of a list that the master did sign
    return {name: serial for name, serial in raw.items() if isinstance(serial, int)} if isinstance(raw, dict) else {}
