"""The agent's last will: what its guardian does when it dies without a word. Farewells first, then the addresses.

The agent sends it anew before it holds an address and after it gave one back, so that no moment of its death leaves an
address behind that nobody knows of. Between two wills it sends beats: an agent that is stopped or hangs is as dead as
one that was killed, only later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from syncsrv.errors import SyncsrvError
from syncsrv.failover import records
from syncsrv.failover.records import NoRecordError

BEAT = b"."
"""A message that is no will, and says that the agent lives."""

LARGEST = 1 << 20
"""Bytes: 255 vhids with ten addresses each take a third of it."""

PATIENCE_S = 5.0
"""Of silence, when the agent holds nothing."""

PATIENCE_LEAST_S = 0.5


class BadWillError(SyncsrvError):
    """What came from the agent is no will."""

    code = "carp-will"

    def __init__(self, detail: str) -> None:
        super().__init__(f"cannot understand the agent's will: {detail}", "agent and guardian are of one version only")


@dataclass(frozen=True, slots=True)
class Parting:
    """What the farewell of one vhid needs.

    Attributes:
        addresses: those of the set that its adverts are signed with, and ``password`` with them.
        sources: the device's own addresses, one of each family, which the farewell goes out from.
        unicast: whom it goes to; empty: the multicast groups.
    """

    device: str
    vhid: int
    addresses: tuple[str, ...]
    password: str = field(repr=False)
    sources: tuple[str, ...]
    unicast: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Will:
    """All of it.

    Attributes:
        patience_s: seconds without a beat after which the agent counts as dead.
        held: addresses with prefix, by device.
        partings: one for each vhid that is MASTER.
        syncs: connections are synchronized, so the keeper of conntrackd is to run; left out where they are not, as
            guardians that never heard of it do not know the word.
    """

    patience_s: float = PATIENCE_S
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    partings: tuple[Parting, ...] = ()
    syncs: bool = False


def encode(will: Will) -> bytes:
    """As one message."""
    plain = records.to_plain(will)
    if not will.syncs:
        del plain["syncs"]
    return json.dumps(plain, separators=(",", ":")).encode()


def decode(data: bytes) -> Will:
    """Out of one message.

    Raises:
        BadWillError: it is none.
    """
    try:
        plain = records.parse(data)
        return records.from_plain(Will, {"syncs": False, **plain} if isinstance(plain, dict) else plain)
    except NoRecordError as error:
        raise BadWillError(str(error)) from None
