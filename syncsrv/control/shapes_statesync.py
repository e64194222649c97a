"""What is told of open connections that live on through a failover. Standard library only.

A word that ends in ``_s`` is seconds. The meaning of a field never changes within a protocol version; new fields have
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

UNKNOWN = "unknown"
"""The word where nothing was heard of the process that keeps conntrackd for too long, or ever."""
OFF = "off"
"""The word where it is configured and cannot begin."""


@dataclass(frozen=True, slots=True)
class NoStateSync:
    """Nothing carries open connections to another node."""

    engine: Literal["none"] = "none"


@dataclass(frozen=True, slots=True)
class StateLinkInfo:
    """One way to the other node: ``interface`` is the logical name, ``address`` this node's own on ``device``."""

    interface: str
    device: str
    address: str


@dataclass(frozen=True, slots=True)
class StateOrder:
    """What conntrackd was told last: ``result`` is done or failed, and ``why`` only where it failed."""

    what: str
    result: str
    why: str
    seconds: float
    age_s: float


@dataclass(frozen=True, slots=True)
class StateSyncInfo:
    """The table of connections of one node, as the process that keeps conntrackd reports it.

    Attributes:
        word: ready, waiting, alone, dead or missing; off where it cannot begin; unknown where nothing was heard.
        reason: for the word, in a sentence for people.
        remedy: what to do, where something is to be done.
        way: multicast or unicast.
        port: of UDP; each link after the first has the next one.
        links: to the other node: the first is used, the others stand by.
        pid: conntrackd's; None where it does not run.
        entries: connections that this node's kernel knows; None where that is unknown.
        carried: those of them that the other node is told of: what goes through this one, neither to it nor from it.
        received: connections that the other node sent and this kernel took, since conntrackd started.
        peer: heard, silent or unknown: the other node's conntrackd.
        lag: messages that wait to be sent or acknowledged.
        errors: what went wrong since conntrackd started, by name.
        table: received, awaited or "timed out": the other node's table since this node was started; or unknown.
        last_order: what conntrackd was told last; None where nothing was yet.
        age_s: of this reading; None where there never was one.
    """

    engine: Literal["conntrackd"]
    word: str
    reason: str
    remedy: str
    way: str
    port: int
    links: tuple[StateLinkInfo, ...]
    pid: int | None = None
    entries: int | None = None
    carried: int | None = None
    received: int | None = None
    peer: str = UNKNOWN
    lag: int | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    table: str = UNKNOWN
    last_order: StateOrder | None = None
    age_s: float | None = None


StateSync: TypeAlias = StateSyncInfo | NoStateSync
