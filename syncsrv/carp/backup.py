"""The rows INIT and BACKUP: what a vhid does that does not hold its addresses."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.carp import timing
from syncsrv.carp.demotion import SERVES_NOT
from syncsrv.carp.effects import Note
from syncsrv.carp.moves import (
    Step,
    armed,
    leave_for,
    listening,
    noted,
    rank,
    speaker_of,
    take,
    turn_s,
    weighed_advskew,
    words,
)
from syncsrv.carp.settings import Preempt
from syncsrv.carp.vhid import Able, Around, Due, Hear, Leave, Outranked, Phase, Retimed, Slept, Speaker, Unable, Vhid


def init_able(vhid: Vhid, what: Able, around: Around) -> Step:
    """INIT never becomes MASTER directly: listen first."""
    reason = f"{vhid.key.device} is ready; listening for a MASTER"
    backup, effects = leave_for(Phase.BACKUP, vhid, around, reason)
    return listening(backup, around), effects


def init_reason(vhid: Vhid, what: Unable | Leave, around: Around) -> Step:
    """Still INIT, for another reason."""
    return replace(vhid, reason=what.reason), ()


def heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    """A MASTER: wait on, or take over from one that is worse and not to be left alone."""
    speaker = speaker_of(what, around.now)
    if what.advert.is_farewell:
        return _farewell(vhid, speaker, around)
    vhid = noted(vhid, speaker)
    better = rank(vhid, around) < speaker.rank
    since_at = vhid.better_since_at if vhid.better_since_at is not None else around.now
    vhid = replace(vhid, better_since_at=since_at if better else None)
    settings = vhid.settings
    if timing.will_time_out(settings.advbase, settings.advskew, speaker.advbase, speaker.advskew):
        why = f"{speaker.name} advertises only every {speaker.interval_s:.3g} s"
        return _soon(vhid, around, why, None)
    waiting = armed(vhid, around, vhid.master_down_s)
    why = _preempts(vhid, speaker, around) if better and around.now >= around.hold_until_at else ""
    return take(waiting, around, why) if why else (waiting, ())


def _farewell(vhid: Vhid, speaker: Speaker, around: Around) -> Step:
    """The MASTER goes: take over, in our turn. Not at the word of one whom another MASTER has followed already, and
    not while such words have turned out false.
    """
    if vhid.distrust_until_at is not None and around.now < vhid.distrust_until_at:
        return vhid, ()
    for other in vhid.speakers:
        fresh = around.now - other.heard_at <= vhid.master_down_s
        if other.source.version == speaker.source.version and fresh and not other.is_same(speaker):
            return vhid, ()
    return _soon(vhid, around, f"{speaker.name} said farewell", speaker)


def _soon(vhid: Vhid, around: Around, why: str, left_by: Speaker | None) -> Step:
    soon = armed(vhid, around, turn_s(vhid, around))
    if soon.down_at is not None and soon.down_at <= around.now:
        return take(vhid, around, why, left_by)
    if vhid.down_at is not None and soon.down_at is not None and vhid.down_at < soon.down_at:
        soon = replace(soon, down_at=vhid.down_at)
    return replace(soon, pending=why, left_by=left_by), ()


def _preempts(vhid: Vhid, master: Speaker, around: Around) -> str:
    """Why this node, better than the MASTER it hears, takes over from it; empty where it leaves it alone."""
    advskew = weighed_advskew(vhid, around)
    if advskew < SERVES_NOT and (master.demotion > 0 or master.advskew >= SERVES_NOT):
        return f"{master.name} is demoted"
    if rank(vhid, around)[1] >= master.rank[1]:
        return ""  # only OpenBSD's demotion makes us better, and we are demoted ourselves
    why = f"advskew {advskew} is better than {master.advskew} of {master.name}"
    if master.advbase != vhid.settings.advbase:
        why = f"advbase {vhid.settings.advbase} advskew {advskew} is better than {words(master)} of {master.name}"
    if around.preempt_held or around.preempt is Preempt.NEVER:
        return ""
    if around.preempt is Preempt.ALWAYS:
        return why
    better_for_s = 0.0 if vhid.better_since_at is None else around.now - vhid.better_since_at
    return f"{why}, for {better_for_s:.1f} s" if better_for_s >= around.preempt_delay_s else ""


def due(vhid: Vhid, what: Due, around: Around) -> Step:
    """Silence for too long, or our turn after a farewell."""
    if vhid.down_at is None or around.now < vhid.down_at:
        return vhid, ()
    return take(vhid, around, vhid.pending or _silence(vhid, around), vhid.left_by)


def _silence(vhid: Vhid, around: Around) -> str:
    master = vhid.master
    if master is None:
        return f"no advert was heard for {around.now - vhid.since_at:.1f} s"
    return f"no advert from {master.name} for {around.now - master.heard_at:.3g} s"


def unable(vhid: Vhid, what: Unable, around: Around) -> Step:
    """Nothing could be heard or sent."""
    return leave_for(Phase.INIT, vhid, around, what.reason)


def leave(vhid: Vhid, what: Leave, around: Around) -> Step:
    """A BACKUP holds nothing that it would have to hand over."""
    return (vhid, ()) if what.stays else leave_for(Phase.INIT, vhid, around, what.reason)


def slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """Nobody listened meanwhile, so silence proves nothing; but a host that is always late must serve in the end."""
    heard = max((speaker.interval_s for speaker in vhid.speakers), default=0.0)
    if what.late_s <= max(vhid.interval_s, heard) or vhid.late >= timing.LATE_MOST:
        return vhid, ()
    note = Note(vhid.key, f"listening again: this process was {what.late_s:.3g} s late and may have missed adverts")
    return listening(replace(vhid, late=vhid.late + 1), around), (note,)


def retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    """The wait is the new one, counted from where the old one began."""
    new = replace(vhid, settings=what.settings)
    if vhid.down_at is None or vhid.pending:
        return new, ()
    return armed(new, around, max(0.0, vhid.down_at - vhid.master_down_s + new.master_down_s - around.now)), ()


def outranked(vhid: Vhid, what: Outranked, around: Around) -> Step:
    """The peer is there, though not heard: wait on."""
    if vhid.pending:
        return vhid, ()
    return armed(vhid, around, max(vhid.master_down_s, what.for_s)), ()
