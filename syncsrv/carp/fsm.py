"""The state machine of one vhid: TABLE says for each phase and each input which function answers.

Each function returns the vhid as it is then and what is to be done, in that order; everything that leads from one
state to another goes through ``_take`` or ``_leave_for``, so that the order of effects stands in one place each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from syncsrv.carp import timing
from syncsrv.carp.demotion import SERVES_NOT
from syncsrv.carp.effects import Advertise, Announce, Changed, Effect, Farewell, Hold, Note, Probe, Release, State
from syncsrv.carp.settings import Preempt
from syncsrv.carp.vhid import (
    Able,
    Around,
    Due,
    Hear,
    Input,
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

Step = tuple[Vhid, tuple[Effect, ...]]

UNDER_WAY = "under way"
NOBODY = "no peer took over"


def advance(vhid: Vhid, what: Input, around: Around) -> Step:
    """One input to one vhid, as the table says."""
    return TABLE[vhid.phase, type(what)](vhid, what, around)


# What the functions of the table share.


def _ignored(vhid: Vhid, what: Input, around: Around) -> Step:
    return vhid, ()


def _advskew(vhid: Vhid, around: Around) -> int:
    return around.demotion.effective(vhid.settings.advskew)


def _rank(vhid: Vhid, around: Around) -> tuple[int, int]:
    """Ours, to be compared with Speaker.rank; our demotion is in the advskew, where every peer understands it."""
    return 0, timing.interval_ticks(vhid.settings.advbase, _advskew(vhid, around))


def _advertise(vhid: Vhid, around: Around) -> Advertise:
    return Advertise(vhid.key, vhid.settings.advbase, _advskew(vhid, around))


def _advert_at(vhid: Vhid, around: Around) -> float:
    return around.now + timing.interval_s(vhid.settings.advbase, _advskew(vhid, around))


def _turn_s(vhid: Vhid, around: Around) -> float:
    """This node's place in the row of those who take over at the same moment."""
    return timing.stagger_s(_advskew(vhid, around))


def _armed(vhid: Vhid, around: Around, wait_s: float) -> Vhid:
    """Waits so long for an advert, and in any case until the end of the hold-down."""
    held_at = around.hold_until_at + _turn_s(vhid, around) if around.now < around.hold_until_at else around.now
    return replace(vhid, down_at=max(around.now + wait_s, held_at), pending="")


def _listening(vhid: Vhid, around: Around) -> Vhid:
    """Armed without having heard anybody yet."""
    return _armed(vhid, around, max(vhid.master_down_s, timing.LISTEN_S))


def _speaker(what: Hear, now: float) -> Speaker:
    advert = what.advert
    return Speaker(what.source, what.own_peer or "", advert.advbase, advert.advskew, advert.demotion, now)


def _noted(vhid: Vhid, speaker: Speaker) -> Vhid:
    """The MASTER that is heard in this family from now on."""
    others = tuple(one for one in vhid.speakers if one.source.version != speaker.source.version)
    return replace(vhid, speakers=(*others, speaker), late=0)


def _take(vhid: Vhid, around: Around, reason: str, left_by: Speaker | None = None) -> Step:
    """BACKUP becomes MASTER: the addresses first, then the word to the peers, then the segment."""
    key = vhid.key
    taken = replace(
        vhid,
        phase=Phase.MASTER,
        reason=reason,
        since_at=around.now,
        transitions=vhid.transitions + 1,
        down_at=None,
        pending="",
        better_since_at=None,
        late=0,
        handover="",
        left_by=left_by,
        advert_at=_advert_at(vhid, around),
        announce_at=around.now + timing.ANNOUNCE_AGAIN_S,
        reasserted_at=None,
        contested_by=None,
        contested_since_at=None,
    )
    changed = Changed(key, State.BACKUP, State.MASTER, reason)
    return taken, (Hold(key), _advertise(vhid, around), Announce(key), Probe(key), changed)


def _leave_for(phase: Phase, vhid: Vhid, around: Around, reason: str) -> Step:
    """INIT or BACKUP from any phase: timers off; a MASTER's addresses go before anybody is told."""
    gone = replace(
        vhid,
        phase=phase,
        reason=reason,
        since_at=around.now,
        transitions=vhid.transitions + 1,
        down_at=None,
        pending="",
        advert_at=None,
        announce_at=None,
        farewell_at=None,
        farewells=0,
        handover_until_at=None,
        stays=False,
        better_since_at=None,
        reasserted_at=None,
        left_by=None,
        contested_by=None,
        contested_since_at=None,
        speakers=vhid.speakers if phase is Phase.BACKUP else (),
    )
    changed = Changed(vhid.key, vhid.state, gone.state, reason)
    return gone, ((Release(vhid.key), changed) if vhid.state is State.MASTER else (changed,))


# INIT


def _init_able(vhid: Vhid, what: Able, around: Around) -> Step:
    reason = f"{vhid.key.device} is ready; listening for a MASTER"
    backup, effects = _leave_for(Phase.BACKUP, vhid, around, reason)
    return _listening(backup, around), effects


def _init_reason(vhid: Vhid, what: Unable | Leave, around: Around) -> Step:
    return replace(vhid, reason=what.reason), ()


def _retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    return replace(vhid, settings=what.settings), ()


# BACKUP


def _backup_heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    speaker = _speaker(what, around.now)
    if what.advert.is_farewell:
        return _backup_farewell(vhid, speaker, around)
    vhid = _noted(vhid, speaker)
    better = _rank(vhid, around) < speaker.rank
    since_at = vhid.better_since_at if vhid.better_since_at is not None else around.now
    vhid = replace(vhid, better_since_at=since_at if better else None)
    if speaker.interval_s > vhid.master_down_s:
        why = f"{speaker.name} advertises every {speaker.interval_s:.3g} s, this node waits {vhid.master_down_s:.3g} s"
        return _backup_soon(vhid, around, why, None)
    armed = _armed(vhid, around, vhid.master_down_s)
    why = _preempts(vhid, speaker, around) if better and around.now >= around.hold_until_at else ""
    return _take(armed, around, why) if why else (armed, ())


def _backup_farewell(vhid: Vhid, speaker: Speaker, around: Around) -> Step:
    """The MASTER goes: take over, in our turn. Not at the word of one whom another MASTER has followed already, and
    not while such words have turned out false.
    """
    if vhid.distrust_until_at is not None and around.now < vhid.distrust_until_at:
        return vhid, ()
    for other in vhid.speakers:
        fresh = around.now - other.heard_at <= vhid.master_down_s
        if other.source.version == speaker.source.version and fresh and not other.is_same(speaker):
            return vhid, ()
    return _backup_soon(vhid, around, f"{speaker.name} said farewell", speaker)


def _backup_soon(vhid: Vhid, around: Around, why: str, left_by: Speaker | None) -> Step:
    soon = _armed(vhid, around, _turn_s(vhid, around))
    if soon.down_at is not None and soon.down_at <= around.now:
        return _take(vhid, around, why, left_by)
    if vhid.down_at is not None and soon.down_at is not None and vhid.down_at < soon.down_at:
        soon = replace(soon, down_at=vhid.down_at)
    return replace(soon, pending=why, left_by=left_by), ()


def _preempts(vhid: Vhid, master: Speaker, around: Around) -> str:
    """Why this node, better than the MASTER it hears, takes over from it; empty where it leaves it alone."""
    advskew = _advskew(vhid, around)
    if advskew < SERVES_NOT and (master.demotion > 0 or master.advskew >= SERVES_NOT):
        return f"{master.name} is demoted"
    if _rank(vhid, around)[1] >= master.rank[1]:
        return ""  # only OpenBSD's demotion makes us better, and we are demoted ourselves
    why = f"advskew {advskew} is better than {master.advskew} of {master.name}"
    if master.advbase != vhid.settings.advbase:
        why = f"advbase {vhid.settings.advbase} advskew {advskew} is better than {_what(master)} of {master.name}"
    if around.preempt_held or around.preempt is Preempt.NEVER:
        return ""
    if around.preempt is Preempt.ALWAYS:
        return why
    better_for_s = 0.0 if vhid.better_since_at is None else around.now - vhid.better_since_at
    return f"{why}, for {better_for_s:.1f} s" if better_for_s >= around.preempt_delay_s else ""


def _what(speaker: Speaker) -> str:
    demoted = f", demotion {speaker.demotion}" if speaker.demotion else ""
    return f"advbase {speaker.advbase} advskew {speaker.advskew}{demoted}"


def _backup_due(vhid: Vhid, what: Due, around: Around) -> Step:
    if vhid.down_at is None or around.now < vhid.down_at:
        return vhid, ()
    return _take(vhid, around, vhid.pending or _silence(vhid, around), vhid.left_by)


def _silence(vhid: Vhid, around: Around) -> str:
    master = vhid.master
    if master is None:
        return f"no advert was heard for {around.now - vhid.since_at:.1f} s"
    return f"no advert from {master.name} for {around.now - master.heard_at:.3g} s"


def _backup_unable(vhid: Vhid, what: Unable, around: Around) -> Step:
    return _leave_for(Phase.INIT, vhid, around, what.reason)


def _backup_leave(vhid: Vhid, what: Leave, around: Around) -> Step:
    return (vhid, ()) if what.stays else _leave_for(Phase.INIT, vhid, around, what.reason)


def _backup_slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """Nobody listened meanwhile, so silence proves nothing; but a host that is always late must serve in the end."""
    heard = max((speaker.interval_s for speaker in vhid.speakers), default=0.0)
    interval_s = max(timing.interval_s(vhid.settings.advbase, vhid.settings.advskew), heard)
    if what.late_s <= interval_s or vhid.late >= timing.LATE_MOST:
        return vhid, ()
    note = Note(vhid.key, f"listening again: this process was {what.late_s:.3g} s late and may have missed adverts")
    return _listening(replace(vhid, late=vhid.late + 1, left_by=None), around), (note,)


def _backup_retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    """The wait is the new one, counted from where the old one began."""
    new = replace(vhid, settings=what.settings)
    if vhid.down_at is None or vhid.pending:
        return new, ()
    return _armed(new, around, max(0.0, vhid.down_at - vhid.master_down_s + new.master_down_s - around.now)), ()


def _backup_outranked(vhid: Vhid, what: Outranked, around: Around) -> Step:
    if vhid.pending:
        return vhid, ()
    return _armed(vhid, around, max(vhid.master_down_s, what.for_s)), ()


# MASTER


def _master_heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    speaker = _speaker(what, around.now)
    ours = _rank(vhid, around)
    if what.advert.is_farewell or ours < speaker.rank:
        return _reassert(vhid, speaker, around, contested=not what.advert.is_farewell)
    if ours == speaker.rank and speaker.peer and around.node < speaker.peer:
        return _reassert(vhid, speaker, around, contested=True)
    if ours == speaker.rank:
        reason = f"{speaker.name} is MASTER with the same {_what(speaker)}"
        reason += ", and its name comes first" if speaker.peer else ""
    else:
        reason = f"{speaker.name} is MASTER with {_what(speaker)}, better than advskew {_advskew(vhid, around)}"
    jitter_s = around.jitter_s if ours == speaker.rank and not speaker.peer else 0.0
    backup, effects = _leave_for(Phase.BACKUP, vhid, around, reason)
    backup = _noted(backup, speaker)
    if vhid.left_by and vhid.left_by.is_same(speaker) and around.now - vhid.since_at <= timing.REFUTED_S:
        backup = replace(backup, distrust_until_at=around.now + timing.DISTRUST_S)
        text = f"the farewell of {speaker.name} was not its own: no farewell counts for {timing.DISTRUST_S:.0f} s"
        effects = (*effects, Note(vhid.key, text))
    return _armed(backup, around, backup.master_down_s + jitter_s), effects


def _reassert(vhid: Vhid, speaker: Speaker, around: Around, *, contested: bool) -> Step:
    """Say again who is MASTER, and where the addresses are, since the other may have announced itself."""
    if contested:
        last = vhid.contested_by
        goes_on = last is not None and around.now - last.heard_at <= 3 * max(speaker.interval_s, last.interval_s)
        since_at = vhid.contested_since_at if goes_on else around.now
        vhid = replace(vhid, contested_by=speaker, contested_since_at=since_at)
    if vhid.reasserted_at is not None and around.now - vhid.reasserted_at < timing.REASSERT_S:
        return vhid, ()
    said = replace(vhid, reasserted_at=around.now, advert_at=_advert_at(vhid, around))
    return said, (_advertise(vhid, around), Announce(vhid.key))


def _master_due(vhid: Vhid, what: Due, around: Around) -> Step:
    effects: tuple[Effect, ...] = ()
    if vhid.advert_at is not None and vhid.advert_at <= around.now:
        interval_s = timing.interval_s(vhid.settings.advbase, _advskew(vhid, around))
        kept = vhid.advert_at + interval_s  # no drift: a peer counts three intervals and no more
        vhid = replace(vhid, advert_at=kept if kept > around.now else around.now + interval_s)
        effects += (_advertise(vhid, around),)
    if vhid.announce_at is not None and vhid.announce_at <= around.now:
        vhid = replace(vhid, announce_at=None)
        effects += (Announce(vhid.key),)
    return vhid, effects


def _master_unable(vhid: Vhid, what: Unable, around: Around) -> Step:
    return _leave_for(Phase.INIT, vhid, around, what.reason)


def _master_leave(vhid: Vhid, what: Leave, around: Around) -> Step:
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


def _master_reweighed(vhid: Vhid, what: Reweighed, around: Around) -> Step:
    return replace(vhid, advert_at=_advert_at(vhid, around)), (_advertise(vhid, around),)


def _master_slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """A peer has followed by now, or may have: send nothing, listen, and be elected again."""
    silent_s = what.late_s + timing.interval_s(vhid.settings.advbase, _advskew(vhid, around))
    if silent_s <= timing.patience_s(vhid.settings.advbase, vhid.settings.advskew):
        return vhid, ()
    reason = f"this process did not run for {what.late_s:.3g} s: a peer may be MASTER by now"
    backup, effects = _leave_for(Phase.BACKUP, vhid, around, reason)
    return _listening(backup, around), effects


def _master_retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    return _master_reweighed(replace(vhid, settings=what.settings), Reweighed(), around)


def _master_outranked(vhid: Vhid, what: Outranked, around: Around) -> Step:
    theirs = (timing.interval_ticks(what.advbase, what.advskew), what.peer)
    if (_rank(vhid, around)[1], around.node) <= theirs:
        return vhid, ()
    reason = f"{what.peer} is MASTER and hears this node, which does not hear {what.peer}"
    backup, effects = _leave_for(Phase.BACKUP, vhid, around, reason)
    return _armed(backup, around, max(backup.master_down_s, what.for_s)), effects


# LEAVING


def _leaving_heard(vhid: Vhid, what: Hear, around: Around) -> Step:
    """Any valid advert is a successor's; another farewell is none."""
    if what.advert.is_farewell:
        return vhid, ()
    speaker = _speaker(what, around.now)
    vhid = replace(vhid, handover=f"taken by {speaker.name}")
    phase = Phase.BACKUP if vhid.stays else Phase.INIT
    gone, effects = _leave_for(phase, vhid, around, f"{vhid.reason}; {speaker.name} took over")
    return (_armed(_noted(gone, speaker), around, gone.master_down_s) if vhid.stays else gone), effects


def _leaving_due(vhid: Vhid, what: Due, around: Around) -> Step:
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
        return _leave_for(Phase.INIT, vhid, around, f"{vhid.reason}; {NOBODY}")
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
        advert_at=_advert_at(vhid, around),
    )
    return master, (_advertise(vhid, around), Note(vhid.key, reason))


def _leaving_able(vhid: Vhid, what: Able, around: Around) -> Step:
    return _resumed(replace(vhid, handover=""), around, "the handover was called off")


def _leaving_leave(vhid: Vhid, what: Leave, around: Around) -> Step:
    """Another reason on top of the first: the one that ends in INIT is the stronger."""
    return (replace(vhid, reason=what.reason, stays=False) if vhid.stays and not what.stays else vhid), ()


def _leaving_slept(vhid: Vhid, what: Slept, around: Around) -> Step:
    """What was to happen meanwhile is over, and a peer has followed or may have."""
    if what.late_s <= timing.HANDOVER_S:
        return vhid, ()
    if not vhid.stays:
        return _leave_for(Phase.INIT, vhid, around, vhid.reason)
    backup, effects = _leave_for(Phase.BACKUP, vhid, around, vhid.reason)
    return _listening(backup, around), effects


def _leaving_outranked(vhid: Vhid, what: Outranked, around: Around) -> Step:
    return vhid, ()


Function = Callable[[Vhid, Any, Around], Step]
"""Any: each function takes the input of its column; a test holds the table to that."""

TABLE: dict[tuple[Phase, type[Input]], Function] = {
    (Phase.INIT, Hear): _ignored,
    (Phase.INIT, Due): _ignored,
    (Phase.INIT, Able): _init_able,
    (Phase.INIT, Unable): _init_reason,
    (Phase.INIT, Leave): _init_reason,
    (Phase.INIT, Reweighed): _ignored,
    (Phase.INIT, Slept): _ignored,
    (Phase.INIT, Retimed): _retimed,
    (Phase.INIT, Outranked): _ignored,
    (Phase.BACKUP, Hear): _backup_heard,
    (Phase.BACKUP, Due): _backup_due,
    (Phase.BACKUP, Able): _ignored,
    (Phase.BACKUP, Unable): _backup_unable,
    (Phase.BACKUP, Leave): _backup_leave,
    (Phase.BACKUP, Reweighed): _ignored,
    (Phase.BACKUP, Slept): _backup_slept,
    (Phase.BACKUP, Retimed): _backup_retimed,
    (Phase.BACKUP, Outranked): _backup_outranked,
    (Phase.MASTER, Hear): _master_heard,
    (Phase.MASTER, Due): _master_due,
    (Phase.MASTER, Able): _ignored,
    (Phase.MASTER, Unable): _master_unable,
    (Phase.MASTER, Leave): _master_leave,
    (Phase.MASTER, Reweighed): _master_reweighed,
    (Phase.MASTER, Slept): _master_slept,
    (Phase.MASTER, Retimed): _master_retimed,
    (Phase.MASTER, Outranked): _master_outranked,
    (Phase.LEAVING, Hear): _leaving_heard,
    (Phase.LEAVING, Due): _leaving_due,
    (Phase.LEAVING, Able): _leaving_able,
    (Phase.LEAVING, Unable): _master_unable,
    (Phase.LEAVING, Leave): _leaving_leave,
    (Phase.LEAVING, Reweighed): _ignored,
    (Phase.LEAVING, Slept): _leaving_slept,
    (Phase.LEAVING, Retimed): _retimed,
    (Phase.LEAVING, Outranked): _ignored,
}
"""Phase × input -> what happens. Complete: an input that means nothing in a phase is ignored on purpose."""
