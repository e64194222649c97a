"""The rows MASTER and LEAVING: what a vhid does that holds its addresses."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.carp import timing
from syncsrv.carp.effects import Announce, Effect, Farewell, Note
from syncsrv.carp.moves import (
    Step,
    advert_at,
    advertise,
    armed,
    leave_for,
    listening,
    noted,
    rank,
    speaker_of,
    weighed_advskew,
    words,
)
from syncsrv.carp.vhid import (
    Able,
    Around,
    Due,
    Hear,
    Leave,
    Outranked,
    Phase,
    Retimed,
    Reweighed,
    Slept,
    Speaker,
    Unable,
    Vhid,
)

UNDER_WAY = "under way"
NOBODY = "no peer took over"


def heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    """Two MASTERs: the worse one goes, the better one says so again."""
    speaker = speaker_of(what, around.now)
    ours = rank(vhid, around)
    if what.advert.is_farewell or ours < speaker.rank:
        return _reassert(vhid, speaker, around, contested=not what.advert.is_farewell)
    if ours == speaker.rank and speaker.peer and around.node < speaker.peer:
        return _reassert(vhid, speaker, around, contested=True)
    if ours == speaker.rank:
        reason = f"{speaker.name} is MASTER with the same {words(speaker)}"
        reason += ", and its name comes first" if speaker.peer else ""
    else:
        reason = f"{speaker.name} is MASTER with {words(speaker)}, better than advskew {weighed_advskew(vhid, around)}"
    backup, effects = leave_for(Phase.BACKUP, vhid, around, reason)
    tied = ours == speaker.rank and not speaker.peer
    backup = replace(noted(backup, speaker), ties=_ties(vhid, around) if tied else 0)
    if vhid.left_by and vhid.left_by.is_same(speaker) and around.now - vhid.since_at <= timing.REFUTED_S:
        backup = replace(backup, distrust_until_at=around.now + timing.DISTRUST_S)
        text = f"the farewell of {speaker.name} was not its own: no farewell counts for {timing.DISTRUST_S:.0f} s"
        effects = (*effects, Note(vhid.key, text))
    if not tied:
        # The better one may not know that there was another: a segment that was cut is whole again, and neighbours
        # still have this node's MAC. This last advert, a worse one, makes it say again where the addresses are.
        effects = (advertise(vhid, around), *effects)
    jitter_s = around.jitter_s * 2**backup.ties if tied else 0.0
    return armed(backup, around, backup.master_down_s + jitter_s), effects


def _ties(vhid: Vhid, around: Around) -> int:
    """A stranger with equal adverts steps down too, as FreeBSD does. Whoever waits a little longer hears the other one
    before it takes over, unless the network takes longer still: so the little grows with each tie in a row.
    """
    again = around.now - vhid.since_at <= vhid.master_down_s
    return min(vhid.ties + 1, timing.TIES_MOST) if again else 1


def _reassert(vhid: Vhid, speaker: Speaker, around: Around, *, contested: bool) -> Step:
    """Say again who is MASTER, and where the addresses are, since the other may have announced itself."""
    if contested:
        last = vhid.contested_by
        goes_on = last is not None and around.now - last.heard_at <= 3 * max(speaker.interval_s, last.interval_s)
        since_at = vhid.contested_since_at if goes_on else around.now
        vhid = replace(vhid, contested_by=speaker, contested_since_at=since_at)
    if vhid.reasserted_at is not None and around.now - vhid.reasserted_at < timing.REASSERT_S:
        return vhid, ()
    said = replace(vhid, reasserted_at=around.now, advert_at=advert_at(vhid, around))
    return said, (advertise(vhid, around), Announce(vhid.key))


def due(vhid: Vhid, what: Due, around: Around) -> Step:
    """The next advert, the second announcement."""
    effects: tuple[Effect, ...] = ()
    if vhid.advert_at is not None and vhid.advert_at <= around.now:
        kept = vhid.advert_at + vhid.interval_s  # no drift: a peer counts three intervals and no more
        vhid = replace(vhid, advert_at=kept if kept > around.now else advert_at(vhid, around))
        effects += (advertise(vhid, around),)
    if vhid.announce_at is not None and vhid.announce_at <= around.now:
        vhid = replace(vhid, announce_at=None)
        effects += (Announce(vhid.key),)
    return vhid, effects


def unable(vhid: Vhid, what: Unable, around: Around) -> Step:
    """Neither peers nor clients are reached: the addresses go at once."""
    return leave_for(Phase.INIT, vhid, around, what.reason)


def leave(vhid: Vhid, what: Leave, around: Around) -> Step:
    """Say farewell and keep the addresses: whoever follows has them before they go here."""
    leaving = replace(
        vhid,
        phase=Phase.LEAVING,
        reason=what.reason,
        stays=what.stays,
        handover=UNDER_WAY,
        advert_at=None,
        announce_at=None,
        farewells=timing.FAREWELLS - 1,
        farewell_at=around.now + timing.FAREWELL_GAP_S,
        handover_until_at=around.now + timing.HANDOVER_S,
    )
    return leaving, (Farewell(vhid.key),)


def reweighed(vhid: Vhid, what: Reweighed, around: Around) -> Step:
    """Advertise at once: a peer that is better now takes over without waiting."""
    return replace(vhid, advert_at=advert_at(vhid, around)), (advertise(vhid, around),)


def slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """A peer has followed by now, or may have: send nothing, listen, and be elected again."""
    silent_s = what.late_s + vhid.interval_s
    if silent_s <= timing.patience_s(vhid.settings.advbase, vhid.settings.advskew):
        return vhid, ()
    reason = f"this process did not run for {what.late_s:.3g} s: a peer may be MASTER by now"
    backup, effects = leave_for(Phase.BACKUP, vhid, around, reason)
    return listening(backup, around), effects


def retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    """The new interval begins with an advert that says it."""
    return reweighed(replace(vhid, settings=what.settings), Reweighed(), around)


def outranked(vhid: Vhid, what: Outranked, around: Around) -> Step:
    """The peer cannot make itself heard by adverts; its word counts as one."""
    theirs = (timing.interval_ticks(what.advbase, what.advskew), what.peer)
    if (rank(vhid, around)[1], around.node) <= theirs:
        return vhid, ()
    reason = f"{what.peer} is MASTER and hears this node, which does not hear {what.peer}"
    backup, effects = leave_for(Phase.BACKUP, vhid, around, reason)
    return armed(backup, around, max(backup.master_down_s, what.for_s)), effects


def leaving_heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    """Any valid advert is a successor's; another farewell is none."""
    if what.advert.is_farewell:
        return vhid, ()
    speaker = speaker_of(what, around.now)
    vhid = replace(vhid, handover=f"taken by {speaker.name}")
    phase = Phase.BACKUP if vhid.stays else Phase.INIT
    gone, effects = leave_for(phase, vhid, around, f"{vhid.reason}; {speaker.name} took over")
    return (armed(noted(gone, speaker), around, gone.master_down_s) if vhid.stays else gone), effects


def leaving_due(vhid: Vhid, what: Due, around: Around) -> Step:
    """The next farewell, or the end of the wait."""
    if vhid.handover_until_at is not None and vhid.handover_until_at <= around.now:
        return _leaving_alone(vhid, around)
    if vhid.farewell_at is None or around.now < vhid.farewell_at:
        return vhid, ()
    left = vhid.farewells - 1
    again_at = around.now + timing.FAREWELL_GAP_S if left else None
    return replace(vhid, farewells=left, farewell_at=again_at), (Farewell(vhid.key),)


def _leaving_alone(vhid: Vhid, around: Around) -> Step:
    vhid = replace(vhid, handover=NOBODY)
    if not vhid.stays:
        return leave_for(Phase.INIT, vhid, around, f"{vhid.reason}; {NOBODY}")
    return _resumed(vhid, around, f"{vhid.reason}; {NOBODY}, so it stays")


def _resumed(vhid: Vhid, around: Around, reason: str) -> Step:
    """MASTER as before, and said so at once."""
    master = replace(
        vhid,
        phase=Phase.MASTER,
        reason=reason,
        stays=False,
        farewells=0,
        farewell_at=None,
        handover_until_at=None,
        left_by=None,
        advert_at=advert_at(vhid, around),
    )
    return master, (advertise(vhid, around), Note(vhid.key, reason))


def leaving_able(vhid: Vhid, what: Able, around: Around) -> Step:
    """Whoever wanted it to leave wants it no more."""
    return _resumed(replace(vhid, handover=""), around, "the handover was called off")


def leaving_leave(vhid: Vhid, what: Leave, around: Around) -> Step:
    """Another reason on top of the first: the one that ends in INIT is the stronger."""
    return (replace(vhid, reason=what.reason, stays=False) if vhid.stays and not what.stays else vhid), ()


def leaving_slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """What was to happen meanwhile is over, and a peer has followed or may have."""
    if what.late_s <= timing.HANDOVER_S:
        return vhid, ()
    if not vhid.stays:
        return leave_for(Phase.INIT, vhid, around, vhid.reason)
    backup, effects = leave_for(Phase.BACKUP, vhid, around, vhid.reason)
    return listening(backup, around), effects
