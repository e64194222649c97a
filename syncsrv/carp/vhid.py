"""One vhid on one node: what is known of it, and what the table in fsm.py is asked."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from syncsrv.carp import timing
from syncsrv.carp.demotion import Demotion
from syncsrv.carp.effects import Key, State
from syncsrv.carp.packet import Advert
from syncsrv.carp.settings import Preempt, VhidSettings


class Phase(enum.StrEnum):
    """The rows of the table: CARP's states, and the MASTER that has said farewell and waits for its successor."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    LEAVING = "LEAVING"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who sends adverts for a vhid.

    Args:
        source: the address that it sends from.
        peer: the node's name where it is one of ours, else empty.
        advbase: what it last advertised.
        advskew: what it last advertised.
        demotion: what it last advertised; above zero from OpenBSD only.
        heard_at: when that was.
    """

    source: IPv4Address | IPv6Address
    peer: str
    advbase: int
    advskew: int
    demotion: int
    heard_at: float

    @property
    def name(self) -> str:
        """``fw2 (192.0.2.2)``, or the address alone."""
        return f"{self.peer} ({self.source})" if self.peer else str(self.source)

    @property
    def rank(self) -> tuple[int, int]:
        """The smaller, the better; OpenBSD's demotion goes before the interval, as it does there."""
        return self.demotion, timing.interval_ticks(self.advbase, self.advskew)

    @property
    def interval_s(self) -> float:
        return timing.interval_s(self.advbase, self.advskew)

    def is_same(self, other: Speaker) -> bool:
        """One node can speak from two addresses, an IPv4 and an IPv6 one; of strangers only the address is known."""
        return self.source == other.source or (self.peer != "" and self.peer == other.peer)


@dataclass(frozen=True, slots=True)
class Vhid:
    """One vhid; every time is monotonic, None where nothing is planned or nothing was.

    Args:
        settings: as configured.
        phase: the row of the table.
        reason: why it is in this state, a sentence.
        since_at: since when it is in this state.
        transitions: how often the state changed.
        down_at: BACKUP: when it takes over.
        pending: BACKUP: why it takes over then, where not for silence.
        advert_at: MASTER: the next advert.
        announce_at: MASTER: the second announcement.
        farewell_at: LEAVING: the next farewell.
        farewells: LEAVING: how many are left.
        handover_until_at: LEAVING: how long it waits for a successor.
        stays: LEAVING: without a successor it goes on as MASTER, else to INIT.
        handover: "", "under way", "taken by fw2 (192.0.2.2)" or "no peer took over": how the last farewell went.
        speakers: the last advert of a MASTER in each family, farewells apart.
        better_since_at: BACKUP: since when this node has been better than the MASTER that it hears.
        late: how many timers in a row fired too late.
        reasserted_at: MASTER: when it last answered a worse advert.
        left_by: MASTER by a farewell: whose that was.
        distrust_until_at: until when farewells count for nothing.
        ties: how many times in a row it stepped down before a stranger with equal adverts.
        contested_by: MASTER: who advertises all the same, though worse.
        contested_since_at: since when it does, without a gap.
    """

    settings: VhidSettings
    since_at: float
    reason: str
    phase: Phase = Phase.INIT
    transitions: int = 0
    down_at: float | None = None
    pending: str = ""
    advert_at: float | None = None
    announce_at: float | None = None
    farewell_at: float | None = None
    farewells: int = 0
    handover_until_at: float | None = None
    stays: bool = False
    handover: str = ""
    speakers: tuple[Speaker, ...] = ()
    better_since_at: float | None = None
    late: int = 0
    reasserted_at: float | None = None
    left_by: Speaker | None = None
    distrust_until_at: float | None = None
    ties: int = 0
    contested_by: Speaker | None = None
    contested_since_at: float | None = None

    @property
    def key(self) -> Key:
        return self.settings.key

    @property
    def state(self) -> State:
        """CARP's word for it."""
        return State.MASTER if self.phase is Phase.LEAVING else State(self.phase.value)

    @property
    def master(self) -> Speaker | None:
        """The MASTER last heard, whatever became of it since."""
        return max(self.speakers, key=lambda speaker: speaker.heard_at, default=None)

    @property
    def interval_s(self) -> float:
        """Seconds between two adverts as MASTER, demoted or not: only what is advertised grows with the demotion.

        FreeBSD's MASTER slows down with it, to 1.94 s at advbase 1, and then one lost advert exceeds the 3 s of a peer.
        """
        return timing.interval_s(self.settings.advbase, self.settings.advskew)

    @property
    def master_down_s(self) -> float:
        """Seconds of silence after which this vhid takes over as BACKUP."""
        heard_s = self.master.interval_s if self.master else 0.0
        return timing.master_down_s(self.settings.advbase, self.settings.advskew, heard_s)

    def next_at(self) -> float | None:
        """When a Due is due."""
        times = (self.down_at, self.advert_at, self.announce_at, self.farewell_at, self.handover_until_at)
        return min((moment for moment in times if moment is not None), default=None)

    def late_s(self, now: float) -> float:
        """How long ago the timer that matters should have fired; 0 where none should have."""
        waited_for = {
            Phase.INIT: None,
            Phase.BACKUP: self.down_at,
            Phase.MASTER: self.advert_at,
            Phase.LEAVING: self.next_at(),
        }[self.phase]
        return 0.0 if waited_for is None else max(0.0, now - waited_for)


@dataclass(frozen=True, slots=True)
class Around:
    """What a vhid's machine must know of its node at a moment.

    Args:
        now: monotonic seconds.
        node: the node's name.
        demotion: of the node.
        preempt: see Preempt.
        preempt_delay_s: see NodeSettings.
        preempt_held: why this node must not take over from a MASTER that serves, or empty.
        hold_until_at: before then no BACKUP takes over by anything.
        jitter_s: added to the wait after ties with a stranger, doubled by each; 0..1/256 s.
    """

    now: float
    node: str
    demotion: Demotion
    preempt: Preempt
    preempt_delay_s: float
    preempt_held: str
    hold_until_at: float
    jitter_s: float


@dataclass(frozen=True, slots=True)
class Hear:
    """An advert for this vhid."""

    advert: Advert
    source: IPv4Address | IPv6Address
    own_peer: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A timer fired."""


@dataclass(frozen=True, slots=True)
class Able:
    """Nothing keeps the vhid in INIT."""


@dataclass(frozen=True, slots=True)
class Unable:
    """The device is gone, has no link, or no address of its own: nothing can be sent any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Somebody wants the node out of here; MASTER goes when a peer has come.

    Args:
        reason: a sentence.
        stays: without a peer it stays MASTER (maintenance, switchover), else it goes to INIT.
    """

    reason: str
    stays: bool


@dataclass(frozen=True, slots=True)
class Reweighed:
    """The node's demotion changed."""


@dataclass(frozen=True, slots=True)
class Slept:
    """The process ran so many seconds later than it should have."""

    late_s: float


@dataclass(frozen=True, slots=True)
class Retimed:
    """advbase or advskew are configured anew."""

    settings: VhidSettings


@dataclass(frozen=True, slots=True)
class Outranked:
    """An own peer says over SSH that it is MASTER and hears us; ``for_s`` as in events.Told."""

    peer: str
    advbase: int
    advskew: int
    for_s: float


Input = Hear | Due | Able | Unable | Leave | Reweighed | Slept | Retimed | Outranked
"""The columns of the table."""
