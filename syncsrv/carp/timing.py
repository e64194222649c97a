"""How often a MASTER advertises, and how long a BACKUP waits before it takes over.

All of it counts in 1/256 s, as the protocol does: a vhid's interval is its advbase in seconds and its advskew in
1/256 s together. Sums of such numbers are exact in a float, so intervals may be compared.
"""

from __future__ import annotations

TICKS = 256
"""Parts of a second that advskew counts in."""

HANDOVER_S = 0.3
"""How long a MASTER that leaves waits for a peer to take over, its addresses still answering."""
FAREWELLS = 3
"""Farewells in all while nobody answers: a lossy segment swallows one, hardly three."""
FAREWELL_GAP_S = 0.02
STAGGER_S = 0.05
"""The whole of the row in which the BACKUPs of a vhid follow a farewell, the best one first; below HANDOVER_S."""
REASSERT_S = 1.0
"""A MASTER answers worse adverts at most so often: two that cannot hear each other make no storm."""
REFUTED_S = 0.2
"""A MASTER that answers a takeover so soon had never left: the farewell was not its own."""
DISTRUST_S = 10.0
"""How long farewells count for nothing after one that was refuted: forged ones move a vhid once in so long."""
ANNOUNCE_AGAIN_S = 2.0
"""Some switches and hosts miss the first announcement; OpenBSD and ucarp repeat theirs after two adverts too."""
LISTEN_S = 1.0
"""What a BACKUP listens for at least before it has heard anybody: at advbase 0 an interval can be nearly so long."""
TIES_MOST = 9
"""Ties in a row until the jitter is doubled no more: 2 s at most, more than any network takes."""
LATE_MOST = 3
"""Timers that may fire late in a row before a BACKUP takes over all the same: slow must not mean never."""


def interval_ticks(advbase: int, advskew: int) -> int:
    """What adverts are compared by: the smaller, the better. 0/0 is sent every 1/256 s (OpenBSD's carp_setrun)."""
    return max(1, advbase * TICKS + advskew)


def interval_s(advbase: int, advskew: int) -> float:
    """Seconds between two adverts of a MASTER with this advbase and (effective) advskew."""
    return interval_ticks(advbase, advskew) / TICKS


def master_down_s(advbase: int, advskew: int, heard_s: float = 0.0) -> float:
    """Seconds without an advert after which a BACKUP takes over.

    Three times advbase and the own place in the row (FreeBSD's and OpenBSD's carp_setrun; ucarp with its default dead
    ratio). The configured advskew counts, not the demoted one, as on FreeBSD. One advert may always be lost: a MASTER
    with an advskew above 85 needs more than the others give it.

    Below one second there is only the advskew, and the MASTER's may be the longer one: three of the slower of both.
    (OpenBSD takes its own only, and so its better host would not even hear one advert of a worse MASTER.)

    Args:
        advbase: seconds, as configured.
        advskew: as configured, 1/256 s.
        heard_s: the interval that the MASTER advertises; 0 where none was heard.
    """
    if advbase == 0:
        return 3 * max(interval_s(0, advskew), heard_s)
    return max(3 * advbase + advskew / TICKS, 2.25 * heard_s)


def will_time_out(advbase: int, advskew: int, heard_advbase: int, heard_advskew: int) -> bool:
    """Whether a MASTER advertises so seldom that a BACKUP need not wait for it (FreeBSD's and OpenBSD's carp_input_c).

    Args:
        advbase: of the BACKUP.
        advskew: of the BACKUP, as configured.
        heard_advbase: of the MASTER.
        heard_advskew: of the MASTER.
    """
    if advbase == heard_advbase == 0:
        return False
    return interval_s(heard_advbase, heard_advskew) > master_down_s(advbase, advskew)


def patience_s(advbase: int, advskew: int) -> float:
    """Seconds of a MASTER's silence from which on a peer may have taken over: the smallest master-down time there is.

    Args:
        advbase: seconds; every node of a vhid has the same.
        advskew: the configured one of the MASTER.
    """
    return float(3 * advbase) if advbase else master_down_s(0, advskew)


def stagger_s(advskew: int) -> float:
    """Seconds between a farewell and the takeover of a BACKUP with this effective advskew."""
    return advskew / TICKS * STAGGER_S
