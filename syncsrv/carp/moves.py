"""What the rows of the table share; every change of state is made here, so each order of effects stands once."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.carp import timing
from syncsrv.carp.effects import Advertise, Announce, Changed, Effect, Hold, Probe, Release, State
from syncsrv.carp.vhid import Around, Hear, Input, Phase, Retimed, Speaker, Vhid

Step = tuple[Vhid, tuple[Effect, ...]]


def ignored(vhid: Vhid, what: Input, around: Around) -> Step:
    """It means nothing in this phase."""
    return vhid, ()


def weighed_advskew(vhid: Vhid, around: Around) -> int:
    """The effective advskew: what is advertised and compared."""
    return around.demotion.effective(vhid.settings.advskew)


def rank(vhid: Vhid, around: Around) -> tuple[int, int]:
    """Ours, to be compared with Speaker.rank; our demotion is in the advskew, where every peer understands it."""
    return 0, timing.interval_ticks(vhid.settings.advbase, weighed_advskew(vhid, around))


def advertise(vhid: Vhid, around: Around) -> Advertise:
    """One advert as of now."""
    return Advertise(vhid.key, vhid.settings.advbase, weighed_advskew(vhid, around))


def advert_at(vhid: Vhid, around: Around) -> float:
    """When the next advert is due after one that is sent now."""
    return around.now + vhid.interval_s


def turn_s(vhid: Vhid, around: Around) -> float:
    """This node's place in the row of those who take over at the same moment."""
    return timing.stagger_s(weighed_advskew(vhid, around))


def armed(vhid: Vhid, around: Around, wait_s: float) -> Vhid:
    """Waits so long for an advert, and in any case until the end of the hold-down."""
    held_at = around.hold_until_at + turn_s(vhid, around) if around.now < around.hold_until_at else around.now
    return replace(vhid, down_at=max(around.now + wait_s, held_at), pending="", left_by=None)


def listening(vhid: Vhid, around: Around) -> Vhid:
    """Armed without having heard anybody just now, or at all."""
    return armed(vhid, around, max(vhid.master_down_s, 0.0 if vhid.speakers else timing.LISTEN_S))


def speaker_of(what: Hear, now: float) -> Speaker:
    """Who sent it."""
    advert = what.advert
    return Speaker(what.source, what.own_peer or "", advert.advbase, advert.advskew, advert.demotion, now)


def noted(vhid: Vhid, speaker: Speaker) -> Vhid:
    """The MASTER that is heard in this family from now on."""
    others = tuple(one for one in vhid.speakers if one.source.version != speaker.source.version)
    return replace(vhid, speakers=(*others, speaker), late=0)


def take(vhid: Vhid, around: Around, reason: str, left_by: Speaker | None = None) -> Step:
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
        advert_at=advert_at(vhid, around),
        announce_at=around.now + timing.ANNOUNCE_AGAIN_S,
        reasserted_at=None,
        contested_by=None,
        contested_since_at=None,
    )
    changed = Changed(key, State.BACKUP, State.MASTER, reason)
    return taken, (Hold(key), advertise(vhid, around), Announce(key), Probe(key), changed)


def leave_for(phase: Phase, vhid: Vhid, around: Around, reason: str) -> Step:
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


def words(speaker: Speaker) -> str:
    """What it advertises, for people."""
    demoted = f", demotion {speaker.demotion}" if speaker.demotion else ""
    return f"advbase {speaker.advbase} advskew {speaker.advskew}{demoted}"


def retimed(vhid: Vhid, what: Retimed, around: Around) -> Step:
    """No timer runs that depends on it."""
    return replace(vhid, settings=what.settings), ()
