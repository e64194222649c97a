"""What the state machine wants done, in the order given; whoever runs it does so and answers with events."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class State(enum.StrEnum):
    """The states of CARP. A MASTER that is leaving still is one."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"


class Key(NamedTuple):
    """Which vhid: the same number on two devices are two."""

    device: str
    vhid: int

    def __str__(self) -> str:
        return f"vhid {self.vhid} on {self.device}"


@dataclass(frozen=True, slots=True)
class Hold:
    """Add the vhid's addresses to its device and keep them there until Release."""

    key: Key


@dataclass(frozen=True, slots=True)
class Release:
    """Remove the vhid's addresses; comes before anything that tells others of it."""

    key: Key


@dataclass(frozen=True, slots=True)
class Advertise:
    """Send one advert, in each family that the vhid has, with this advbase and (effective) advskew."""

    key: Key
    advbase: int
    advskew: int


@dataclass(frozen=True, slots=True)
class Farewell:
    """Send one advert with 255/255, in each family that the vhid has: whoever hears it takes over at once."""

    key: Key


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the segment where the addresses are now: gratuitous ARP, unsolicited neighbour advertisement."""

    key: Key


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask whether another host answers for the addresses; it changes no state, it only tells people."""

    key: Key


@dataclass(frozen=True, slots=True)
class Changed:
    """The vhid went from one state to another.

    Args:
        key: which vhid.
        old: the state before.
        new: the state from now on.
        reason: a sentence for people, without a capital and a full stop.
    """

    key: Key
    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that people should read in the log and that is no change of state; the same form as Changed."""

    key: Key | None
    text: str


@dataclass(frozen=True, slots=True)
class Forget:
    """The vhid was removed and its handover is over: nothing more comes about it. Keep its parameters until then."""

    key: Key


@dataclass(frozen=True, slots=True)
class Ended:
    """After Shutdown: every vhid is INIT and its addresses are released; the process may end."""


Effect = Hold | Release | Advertise | Farewell | Announce | Probe | Changed | Note | Forget | Ended
