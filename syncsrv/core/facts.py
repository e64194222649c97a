"""This node's own state, gathered for its status and for what it tells its peers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from syncsrv.apply.settle import KNOWN_GOOD
from syncsrv.clock import rfc3339
from syncsrv.config.model import Extra, Role, RunOn
from syncsrv.config.values import split_listen
from syncsrv.control.shapes import Facts, FactsRequest, HeadInfo, Pending, Status
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.core import status as statuses
from syncsrv.core.carp.declare import in_force
from syncsrv.core.carp.told import sources
from syncsrv.core.parts import TAGS, Core
from syncsrv.plan.tree import show_path
from syncsrv.plan.verdict import Sentence, Situation
from syncsrv.services.base import ServiceStatus
from syncsrv.store.tags import SyncTag
from syncsrv.version import __version__
from syncsrv.watch.scan import LeftOut, Reason

LARGE_NAMED = 20
"""Large files that status names; of the others it says how many there are."""


def status(core: Core) -> Status:
    """What ``syncsrv status`` shows; asks no peer."""
    return statuses.build(known(core), core.book.now(), core.clock.monotonic())


def facts(core: Core, request: FactsRequest) -> Facts:
    """What a peer that polls this node is told."""
    us = known(core)
    applied = {area: one.commit for area, one in core.state.now.applied.items()}
    return Facts(
        node=us.node,
        role=us.role.value,
        version=__version__,
        head=us.head.commit if us.head else None,
        situation=us.situation,
        areas=us.areas,
        applied=applied,
        known_good=us.known_good,
        services=us.services,
        vips=us.vips,
        demotion=us.demotion,
        pending=_behind(core, us.head.commit, request.applied) if us.head and us.role is Role.MASTER else None,
        people=core.people.digest() if us.role is Role.MASTER else "",
        last_tag=(us.last_tag or "") if us.role is Role.MASTER else "",
        tagged=_tagged(core, us.last_tag) if us.role is Role.MASTER else "",
        failover=us.failover,
        sources=sources(us.failover),
        vip_sets=core.carp.sets(),
        page=page_of(core.live.config.node.web.listen),
        accepts=in_force(core.carp),
        state_sync=us.state_sync,
    )


def page_of(listen: str) -> str:
    """Where people on the network find the page; empty where it listens on loopback only, or at no address of its own.

    Args:
        listen: ``web.listen``, ADDRESS:PORT.
    """
    address = ipaddress.ip_address(split_listen(listen)[0])
    return "" if address.is_loopback or address.is_unspecified else listen


def _tagged(core: Core, tag: str | None) -> str:
    """The commit that a tag of this node names."""
    found = core.store.ref(f"{TAGS}{tag}") if tag else None
    return core.store.peel(found) if found else ""


def known(core: Core) -> statuses.Known:
    """Everything that this node knows about itself now."""
    head = core.recorder.head()
    is_master = core.role is Role.MASTER
    tags, bad_tags = core.tags_here()
    last_tag, tagged, areas = _last_tag(tags)
    if not is_master:
        areas = {area: one.tag for area, one in core.state.now.applied.items()}
    all_areas = core.areas()
    untagged = core.lag.commits_since(tagged, head, all_areas, all_areas.names) if head and is_master else 0
    return statuses.Known(
        node=core.node,
        role=core.role,
        cluster=core.cluster.cluster,
        head=_head(core, head),
        last_tag=last_tag,
        untagged=untagged,
        situation=situation(core, head),
        areas=areas,
        known_good=core.store.ref(KNOWN_GOOD),
        pending=_pending(core, head) if is_master and head else {},
        services=service_infos(core, core.live.readings),
        vips=core.carp.vips(),
        demotion=core.carp.demotion(),
        failover=core.carp.info(),
        state_sync=core.carp.state_sync(),
        jobs=tuple(job.info() for job in core.jobs.recent()),
        left_out=left_out(core.live.left_out),
        notices=(*_notices(core), *(f"{bad.message}; {bad.remedy}" for bad in bad_tags)),
    )


def _head(core: Core, head: str | None) -> HeadInfo | None:
    if head is None:
        return None
    info = core.store.read_commit(head)
    return HeadInfo(head, rfc3339(info.at_utc), info.subject)


def _last_tag(tags: Iterable[SyncTag]) -> tuple[str | None, str | None, Mapping[str, str]]:
    """The newest of these tags, the commit it names, and per area the newest tag that has it."""
    areas: dict[str, str] = {}
    newest: tuple[str, str] | None = None
    for tag in tags:
        newest = (tag.name, tag.commit)
        areas.update(dict.fromkeys(tag.areas, tag.name))
    return (newest[0], newest[1], areas) if newest else (None, None, areas)


def situation(core: Core, head: str | None) -> Situation:
    """This node's situation, without what only its master knows."""
    now = core.state.now
    newest = now.newest
    last = now.last
    blocked = Sentence(last.reason, last.remedy) if last is not None and last.result == "blocked" else None
    return Situation(
        node=core.node,
        peers=len(core.live.config.node.peers),
        job=next(iter(core.live.changing), None),
        blocked=blocked,
        applied_tag=newest.tag if newest else None,
        drift=_drift(core, head) if head and core.role is Role.BACKUP else {},
        rolled_back_here=now.rolled_back_here,
        last=last,
    )


def _drift(core: Core, head: str) -> dict[str, tuple[str, ...]]:
    """Per area what is live now and was not what the last sync left.

    Where ``extra: keep`` says so, only what the sync brought counts: the rest is the node's own.
    """
    areas = core.areas()
    found = {}
    for area, one in core.state.now.applied.items():
        paths = core.lag.changed(one.result, head, area, areas)
        if paths and area in core.cluster.areas and core.cluster.areas[area].extra is Extra.KEEP:
            brought = core.store.read_tree(one.commit)
            paths = tuple(path for path in paths if path in brought)
        if paths:
            found[area] = tuple(show_path(path) for path in paths)
    return found


def _pending(core: Core, head: str) -> dict[str, Pending]:
    """What each backup has not, from what it last said is applied there."""
    return {
        name: _behind(core, head, heard.facts.applied)
        for name, heard in core.book.now().items()
        if heard.facts is not None
    }


def _is_commit(core: Core, object_id: str) -> bool:
    return core.store.has(object_id) and core.store.kind(object_id) == "commit"


def _behind(core: Core, head: str, applied: Mapping[str, str]) -> Pending:
    """What a node has not that has these commits applied in its areas; what is no commit here was never applied."""
    applied = {area: commit for area, commit in applied.items() if _is_commit(core, commit)}
    areas = core.areas()
    since: dict[str, list[str]] = {}
    for area in areas.names:
        if area in applied:
            since.setdefault(applied[area], []).append(area)
    counts = [core.lag.commits_since(commit, head, areas, tuple(names)) for commit, names in since.items()]
    behind = max(counts) if counts else core.lag.commits_since(None, head, areas, areas.names)
    return Pending(core.lag.differing(applied, head, areas), behind)


def left_out(found: tuple[LeftOut, ...]) -> tuple[LeftOutInfo, ...]:
    """What is in an area but not in the history, without what is excluded on purpose."""
    return tuple(
        LeftOutInfo(show_path(one.path), one.area, one.reason.value, one.detail)
        for one in found
        if one.reason is not Reason.EXCLUDED
    )


def service_infos(core: Core, readings: Iterable[ServiceStatus]) -> tuple[ServiceInfo, ...]:
    """Services of this node as the table has them."""
    known = core.cluster.services
    return tuple(service_info(one, known[one.name].run_on if one.name in known else RunOn.ALWAYS) for one in readings)


def service_info(reading: ServiceStatus, run_on: RunOn = RunOn.ALWAYS) -> ServiceInfo:
    """A service as the table has it."""
    return ServiceInfo(
        name=reading.name,
        state=reading.state.value,
        since=rfc3339(reading.since_utc) if reading.since_utc else None,
        pid=reading.pid,
        restart_pending=reading.restart_pending,
        health=reading.health.value,
        reason=reading.reason,
        pending_why=reading.pending_why,
        run_on=run_on.value,
        memory=reading.memory,
        memory_of=reading.memory_of,
        restarts=reading.restarts,
        enabled=reading.enabled,
        log=reading.log,
    )


def _notices(core: Core) -> tuple[str, ...]:
    live = core.live
    said = [live.cluster_problem, live.reload_problem, core.watch_problem()]
    said += [*core.timetable.troubles(), *core.notices()]
    failover = core.carp.info()
    if failover.configured and not failover.running:
        said.append(f"whether this node serves its virtual addresses is unknown: {failover.why}")
    said += [
        f"{show_path(one.path)} is large for configuration ({one.size} bytes); it is in the history all the same"
        for one in live.large[:LARGE_NAMED]
    ]
    if len(live.large) > LARGE_NAMED:
        said.append(f"{len(live.large) - LARGE_NAMED} more files are large for configuration")
    return tuple(one for one in said if one)
