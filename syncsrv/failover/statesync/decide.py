"""What conntrackd is told, and when; and whether this node has the peer's table. Pure: readings in, orders out.

The orders at a change of MASTER are those of conntrackd's own primary-backup.sh, but for one. ``-t`` is not given on a
node that loses its last VIP: 60 s later it would empty the kernel's table, which with DisableExternalCache is the very
table that the peer keeps filling. The internal cache is emptied instead (``-f internal``): what was in it at the moment
of the loss would otherwise be sent to a MASTER that asks, entries long gone among it. ``-R`` at the takeover brings the
entries that the peer had put here into the internal cache, so that they travel back.

REFRESH: the kernel reports a change of state and not each packet, so an entry that the peer holds is not renewed by
traffic: a UDP flow was gone there after its 120 s, and any connection after its time-out. -R -B tells its true
age; 50 000 entries cost 0.3 s of processor time here and 0.4 s there.

No message says that a bulk update has ended. Measured: 50 000 entries came at 80 000 a second, with a pause of 0.6 s
until lost messages were sent again (FTFW asks once a second). So: the peer is heard, and CALM_S have passed in which
fewer came than a bulk brings.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syncsrv.failover.statesync.state import Peer, Table
from syncsrv.failover.statesync.stats import Stats

HEARD_S = 3.5
"""Silence of a peer that counts: conntrackd says once a second that it lives."""

CALM_S = 2.0
CALM_MASTER_S = 1.0
"""For a node that serves already: nobody that is better does, so there is little that it could lack. Two nodes that
start together then begin with the better one, which has its table before the other one has."""

BULK_LEAST = 1000.0
"""Entries a second: slower is traffic, and no bulk update."""

REFRESH_LEAST_S = 15.0
"""Between two refreshes: half of what the kernel gives to a UDP flow that was answered once."""

REFRESH_MOST_S = 100.0
"""Less than the 120 s of a UDP flow that goes on."""

REFRESH_RATE = 1500.0
"""Entries for each second between two refreshes: about 1 % of a processor."""


class Order(enum.Enum):
    """What conntrackd is told: in words for people, and the arguments of each call in their order."""

    TAKE = ("commit, flush, resync, bulk update", (("-c",), ("-f",), ("-R",), ("-B",)))
    REFRESH = ("resync, bulk update", (("-R",), ("-B",)))
    GIVE = ("flush the internal cache, request a resync", (("-f", "internal"), ("-n",)))
    ASK = ("request a resync", (("-n",),))

    def __init__(self, words: str, commands: tuple[tuple[str, ...], ...]) -> None:
        self.words = words
        self.commands = commands


@dataclass(frozen=True, slots=True)
class Seen:
    """One reading of the world.

    Attributes:
        serving: whether this node is MASTER of any vhid; None: the agent does not say.
        awaiting: the agent itself is demoted for not having the peer's table.
        stats: of conntrackd; None: it does not run.
        entries: of the kernel's table.
    """

    serving: bool | None
    awaiting: bool
    stats: Stats | None
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known; never changed in place.

    Attributes:
        timeout_s: how long it waits for the peer's table; ``until_at`` is when it waits no more.
        serving: as last said.
        runs_at: since when conntrackd runs; None: it does not.
        asked_at: when the peer was asked for its table; None: it is not awaited.
        heard: packets of the peer at the last reading; ``heard_at``: when there were more, ``asked_heard``: how many
            there were when it was asked.
        taken: messages taken at the last reading; ``peak``: the most in a second since it was asked.
        read_at: of the last reading.
        calm_at: since when no bulk update has come.
        had: the table was there once, or needed no more: a conntrackd that dies has something to lose.
    """

    timeout_s: float
    until_at: float
    serving: bool | None = None
    runs_at: float | None = None
    table: Table = "awaited"
    asked_at: float | None = None
    asked_heard: int = 0
    heard: int = 0
    heard_at: float | None = None
    taken: int = 0
    peak: float = 0.0
    read_at: float = 0.0
    calm_at: float = 0.0
    refresh_at: float = 0.0
    had: bool = False

    def peer(self, now: float) -> Peer:
        """Whether it is heard; unknown where nobody listens, or not for long enough."""
        if self.runs_at is None:
            return "unknown"
        if self.heard_at is not None and now - self.heard_at <= HEARD_S:
            return "heard"
        return "silent" if now - self.runs_at > HEARD_S else "unknown"

    @property
    def arrived(self) -> bool | None:
        """What the agent is told: this node is as good as the table makes it; None: it waits by its own clock."""
        if self.table != "awaited" and (self.runs_at is not None or self.serving):
            return True
        return False if self.had else None


def start(now: float, timeout_s: float) -> Machine:
    """A keeper that has just started, and waits ``timeout_s`` seconds for the peer's table."""
    return Machine(timeout_s=timeout_s, until_at=now + timeout_s)


def step(was: Machine, seen: Seen, now: float) -> tuple[Machine, Sequence[Order]]:
    """One reading.

    Args:
        was: as the last step left it.
        seen: what is read now.
        now: monotonic seconds.

    Returns:
        The machine from now on, and the orders to be given at once, in their order.
    """
    it = replace(was, serving=was.serving if seen.serving is None else seen.serving)
    orders: list[Order] = []
    if it.serving and was.serving is None and not seen.awaiting and it.table == "awaited":
        it = replace(it, table="received")  # it served before we came: its table is the one that counts
    if seen.stats is None:
        it = replace(it, runs_at=None, heard_at=None, asked_at=None)
    else:
        it = _read(it, seen.stats, now)
        if was.runs_at is None:
            it = _began(it, orders, now)
        elif it.serving != was.serving and (it.serving or was.serving):
            orders.append(Order.TAKE if it.serving else Order.GIVE)
            it = replace(it, refresh_at=now + _refresh_s(seen.entries))
            it = _took(it) if it.serving else _gave(it, now)
        elif was.peer(now) != "heard" and it.peer(now) == "heard" and not (it.serving and it.table == "received"):
            orders.append(Order.ASK)  # nobody may have heard the request of before
            it = it if it.table == "received" else _asked(it, now)
        if it.serving and now >= it.refresh_at:
            if Order.REFRESH not in orders and it.peer(now) == "heard":
                orders.append(Order.REFRESH)
            it = replace(it, refresh_at=now + _refresh_s(seen.entries))
        it = _arrived(it, now)
    if it.table == "awaited" and now >= it.until_at:
        it = replace(it, table="timed out")
    return replace(it, had=it.had or it.table == "received"), orders


def _began(it: Machine, orders: list[Order], now: float) -> Machine:
    """It runs, and knows nothing: a MASTER's kernel has the truth, any other node asks for it."""
    if it.serving and it.table != "awaited":
        orders.append(Order.REFRESH)
        return replace(it, refresh_at=now + REFRESH_LEAST_S)
    orders.append(Order.ASK)
    if it.table == "received":
        it = replace(it, table="awaited", until_at=now + it.timeout_s)
    return _asked(it, now)


def _gave(it: Machine, now: float) -> Machine:
    """Whoever took over sends its whole table as new, and conntrackd removes what is there and makes it anew.

    A node that became MASTER meanwhile (seen in the kernel's events: 0.2 s into it) reset what was under way. So none
    does: it is demoted until the bulk has ended.
    """
    if it.table == "received":
        it = replace(it, table="awaited", until_at=now + it.timeout_s)
    return _asked(it, now)


def _took(it: Machine) -> Machine:
    """It serves again with what it knows: nobody else knows more."""
    return replace(it, table="received", asked_at=None) if it.had else it


def _asked(it: Machine, now: float) -> Machine:
    return replace(it, asked_at=now, asked_heard=it.heard, peak=0.0, calm_at=now)


def _read(it: Machine, stats: Stats, now: float) -> Machine:
    """Take in the numbers; a conntrackd that was started again counts from zero."""
    fresh = it.runs_at is None or stats.heard < it.heard or stats.taken < it.taken
    heard, taken = (0, 0) if fresh else (it.heard, it.taken)
    rate = 0.0 if fresh or now <= it.read_at else (stats.taken - taken) / (now - it.read_at)
    peak = max(it.peak, rate)
    calm = rate <= max(peak / 4, BULK_LEAST)
    return replace(
        it,
        runs_at=now if it.runs_at is None else it.runs_at,
        heard=stats.heard,
        heard_at=now if stats.heard > heard else (None if fresh else it.heard_at),
        taken=stats.taken,
        peak=peak,
        read_at=now,
        calm_at=it.calm_at if calm else now,
    )


def _arrived(it: Machine, now: float) -> Machine:
    """The peer was heard after it was asked, and no bulk update has come for a while."""
    if it.table == "received" or it.asked_at is None or it.heard <= it.asked_heard:
        return it
    if now - max(it.asked_at, it.calm_at) < (CALM_MASTER_S if it.serving else CALM_S):
        return it
    return replace(it, table="received", asked_at=None)


def _refresh_s(entries: int) -> float:
    return min(REFRESH_MOST_S, max(REFRESH_LEAST_S, entries / REFRESH_RATE))
