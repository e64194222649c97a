"""The status object: everything a person, the page or a monitor is told about this node and its peers.

Built from what is already known; it asks nobody and never waits (``status`` answers from the last poll).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from syncsrv.clock import rfc3339
from syncsrv.config.model import Role
from syncsrv.control.shapes import Facts, HeadInfo, JobInfo, LastSync, PeerInfo, Pending, Status, SyncInfo
from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.control.shapes_statesync import NoStateSync, StateSync
from syncsrv.core.carp import statetable
from syncsrv.core.peers import Heard
from syncsrv.plan.verdict import Sentence, Situation, Verdict, verdict, worst
from syncsrv.version import __version__


@dataclass(frozen=True, slots=True)
class Known:
    """What this node knows about itself at this moment.

    Attributes:
        situation: its own, without what only its master knows.
        areas: area to the tag applied there; on a master to the last tag made for it.
        pending: on a master, per backup what it is behind.
    """

    node: str
    role: Role
    cluster: str
    head: HeadInfo | None
    last_tag: str | None
    untagged: int
    situation: Situation
    areas: Mapping[str, str]
    known_good: str | None
    pending: Mapping[str, Pending]
    services: tuple[ServiceInfo, ...]
    jobs: tuple[JobInfo, ...]
    left_out: tuple[LeftOutInfo, ...]
    notices: tuple[str, ...]
    vips: tuple[VipInfo, ...] = ()
    demotion: Demotion = field(default_factory=Demotion)
    failover: FailoverInfo = field(default_factory=FailoverInfo)
    state_sync: StateSync = field(default_factory=NoStateSync)


def of_peer(name: str, heard: Heard, us: Known, now: float) -> tuple[Situation, Verdict]:
    """The word for a peer, from what it said of itself and from what we have that it has not."""
    age_s = None if heard.at is None else round(max(0.0, now - heard.at), 1)
    facts = heard.facts
    if facts is None or not heard.reachable:
        situation = Situation(name, heard=facts is not None, reachable=heard.reachable, age_s=age_s)
        found = verdict(situation)
        if heard.why:
            found = Verdict(found.state, f"{found.reason}: {heard.why}", heard.remedy or found.remedy)
        return situation, found
    situation = replace(facts.situation, node=name, peers=1, age_s=age_s)
    if us.role is Role.BACKUP:
        return situation, _of_master(name, facts, misses=heard.misses)
    if facts.role == Role.MASTER:
        blocked = Sentence(f"{name} says it is master too", "make one of them backup: `role: backup` in its node.yaml")
        situation = replace(situation, blocked=blocked)
        return situation, verdict(situation)
    pending = us.pending.get(name, Pending((), 0))
    situation = _of_version(replace(situation, pending=pending.areas, behind=pending.behind), name, facts)
    return situation, verdict(situation)


def _of_version(situation: Situation, peer: str, facts: Facts) -> Situation:
    """Two releases block a sync until somebody says otherwise."""
    if facts.version == __version__ or situation.blocked is not None:
        return situation
    blocked = Sentence(
        f"{peer} runs syncsrv {facts.version}, this node {__version__}",
        "install the same version on both, or synchronize with --force version",
    )
    return replace(situation, blocked=blocked)


def _of_master(name: str, facts: Facts, *, misses: int) -> Verdict:
    """A backup says of its master only whether it hears it (DESIGN 3.3); of another backup it knows nothing more."""
    answers = "has not answered the last poll" if misses else "answers"
    if facts.role == Role.MASTER:
        return Verdict("in_sync", f"{name} is the master and {answers}", "")
    return Verdict("in_sync", f"{name} is a backup and {answers}; its master knows how it stands", "")


def build(us: Known, book: Mapping[str, Heard], now: float) -> Status:
    """The whole status.

    Args:
        us: this node.
        book: the peers as last heard.
        now: monotonic seconds.
    """
    peers: dict[str, PeerInfo] = {}
    verdicts: dict[str, Verdict] = {}
    for name, heard in book.items():
        situation, found = of_peer(name, heard, us, now)
        verdicts[name] = found
        peers[name] = _peer(heard, situation, found)
    if us.role is Role.MASTER and peers:
        own = worst(verdicts)
        if us.situation.job:
            own = Verdict("syncing", f"job {us.situation.job} is running", "")
    else:
        own = verdict(_with_master(us, book))
    return Status(
        node=us.node,
        role=us.role.value,
        version=__version__,
        cluster=us.cluster,
        head=us.head,
        last_tag=us.last_tag,
        untagged=us.untagged,
        sync=_sync(us, own, book),
        peers=peers,
        services=us.services,
        vips=us.vips,
        demotion=us.demotion,
        maintenance=us.failover.maintenance,
        state_sync=us.state_sync,
        jobs=us.jobs,
        left_out=us.left_out,
        notices=(*us.notices, *_no_master(us, book)),
        failover=us.failover,
    )


def _no_master(us: Known, book: Mapping[str, Heard]) -> tuple[str, ...]:
    heard = [one for one in book.values() if one.facts is not None]
    if us.role is Role.MASTER or not heard or any(one.facts and one.facts.role == Role.MASTER for one in heard):
        return ()
    return ("no node says that it is master: write `role: master` into node.yaml of the one where changes are made",)


def _with_master(us: Known, book: Mapping[str, Heard]) -> Situation:
    """A backup's own situation, with what its master said: what it is behind, and its version."""
    pending = _told(us, book)
    situation = replace(us.situation, peers=len(book), pending=pending.areas, behind=pending.behind)
    for name, heard in book.items():
        if heard.reachable and heard.facts is not None and heard.facts.role == Role.MASTER:
            situation = _of_version(situation, name, heard.facts)
    return situation


def _told(us: Known, book: Mapping[str, Heard]) -> Pending:
    for heard in book.values():
        if heard.facts is not None and heard.facts.role == Role.MASTER:
            return heard.facts.pending or Pending((), 0)
    return Pending((), 0)


def _sync(us: Known, own: Verdict, book: Mapping[str, Heard]) -> SyncInfo:
    situation = us.situation
    last = situation.last
    return SyncInfo(
        state=own.state,
        reason=own.reason,
        remedy=own.remedy,
        applied_tag=us.last_tag if us.role is Role.MASTER else situation.applied_tag,
        areas=us.areas,
        behind=us.untagged if us.role is Role.MASTER else _told(us, book).behind,
        drift=paths_of(situation),
        known_good=us.known_good,
        confirm_by=situation.confirm_by,
        hold=situation.held,
        last=LastSync(last.job, last.result, last.at) if last is not None else None,
        lacks=() if us.role is Role.MASTER else _told(us, book).areas,
    )


def _peer(heard: Heard, situation: Situation, found: Verdict) -> PeerInfo:
    facts = heard.facts
    seen_at: datetime | None = heard.at_utc
    info = PeerInfo(
        role=facts.role if facts else None,
        reachable=heard.reachable,
        seen_at=rfc3339(seen_at) if seen_at else None,
        age_s=situation.age_s,
        version=facts.version if facts else None,
        state=found.state,
        reason=found.reason,
        remedy=found.remedy,
    )
    if facts is None:
        return info
    return replace(
        info,
        applied_tag=facts.situation.applied_tag,
        behind=situation.behind,
        drift=paths_of(facts.situation),
        known_good=facts.known_good,
        services=facts.services,
        vips=tuple(replace(one, age_s=_older(one.age_s, situation.age_s)) for one in facts.vips),
        demotion=facts.demotion,
        failover=replace(facts.failover, age_s=_older(facts.failover.age_s, situation.age_s)),
        state_sync=statetable.heard(facts.state_sync, situation.age_s, reachable=heard.reachable),
        page=facts.page,
        areas=facts.areas,
        lacks=situation.pending,
    )


def _older(age_s: float | None, since_s: float | None) -> float | None:
    """The age of a reading that a peer told when it was ``age_s`` old."""
    return None if age_s is None or since_s is None else round(age_s + since_s, 1)


def paths_of(situation: Situation) -> tuple[str, ...]:
    """Every drifted path, sorted."""
    return tuple(sorted(path for paths in situation.drift.values() for path in paths))
