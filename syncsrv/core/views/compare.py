"""Differences as a person asks for them: what a commit changed, two revisions, what Synchronize would bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncsrv.config.model import Role
from syncsrv.control.shapes_history import DiffReply, DiffRequest, NodeDiff, ShowReply, ShowRequest
from syncsrv.core.mains import last_known, peer_main
from syncsrv.core.parts import Core
from syncsrv.core.planned import planned
from syncsrv.core.views.areas import areas_at, cluster_at, named, refuse_unknown
from syncsrv.core.views.commits import entry, tags_of
from syncsrv.core.views.files import counts, files_of
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.plan.areas import CLUSTER_AREA, Areas
from syncsrv.plan.diff import Change, deletions


def show(core: Core, request: ShowRequest) -> ShowReply:
    """One commit with what it changed against its first parent."""
    commit = core.store.resolve_shown(request.rev)
    info = core.store.read_commit(commit)
    areas = areas_at(core, commit)
    changes = _between(core, info.parents[0] if info.parents else None, commit, areas)
    return ShowReply(
        commit=entry(core, commit, tags_of(core.store), core.history.paths_of(commit), core.areas()),
        body=info.body,
        parents=tuple(info.parents),
        files=files_of(core.store, changes, request.part, patch=request.patch),
        counts=counts(changes, areas),
    )


def diff(core: Core, request: DiffRequest) -> DiffReply:
    """Between two revisions, from one to what is live, or what Synchronize would bring to each backup.

    ``cached``: neither a peer nor the disk is looked at, since both may keep the asker waiting; a peer of which nothing
    is known yet is left out, unless it is asked for by name: then everything is new to it.
    """
    if not request.revs:
        return _bring(core, request)
    if len(request.revs) > 2:
        raise UsageError(f"cannot compare {len(request.revs)} revisions", "give one or two")
    revs = [core.store.resolve_shown(rev) for rev in request.revs]
    if len(revs) == 1:
        revs.append(_main(core, request))
    areas = areas_at(core, revs[1])
    refuse_unknown(request.areas, areas)
    changes = _between(core, revs[0], revs[1], areas)
    changes = tuple(change for change in changes if not request.areas or change.area in request.areas)
    return DiffReply({core.node: _node_diff(core, revs[0], revs[1], changes, areas, request, None)})


def _main(core: Core, request: DiffRequest) -> str:
    """What is live here."""
    head = core.recorder.head() if request.cached else core.record(via="watch").head
    if head is None:
        raise UsageError("cannot compare: nothing was committed yet", "give cluster.yaml an area")
    return head


def _between(core: Core, base: str | None, target: str, areas: Areas) -> tuple[Change, ...]:
    name = named(areas)
    differ = core.store.changes(base, target).items()
    return tuple(Change(path, area, old, new) for path, (old, new) in differ if (area := name(path)) is not None)


def _node_diff(
    core: Core,
    base: str | None,
    target: str,
    changes: tuple[Change, ...],
    areas: Areas,
    request: DiffRequest,
    age_s: float | None,
) -> NodeDiff:
    return NodeDiff(
        base=base,
        target=target,
        files=files_of(core.store, changes, request.part, patch=request.patch),
        deletions=deletions(changes),
        age_s=age_s,
        counts=counts(changes, areas),
    )


def _bring(core: Core, request: DiffRequest) -> DiffReply:
    """Per backup its live tree, asked for now, against our main; on a backup its own against its master's."""
    wanted = core.store.resolve_shown(request.target) if request.target else None
    main_of = last_known if request.cached else peer_main
    heard = core.book.now()
    if core.role is Role.MASTER:
        target = wanted or _main(core, request)
        nodes = {}
        for name, one in heard.items():
            if one.facts is not None and one.facts.role == Role.MASTER.value:
                continue
            if request.nodes and name not in request.nodes:
                continue
            base, age_s = main_of(core, name)
            if base is None and request.cached and not request.nodes:
                continue
            applied = one.facts.applied if one.facts is not None else {}
            nodes[name] = _against(core, base, target, request, age_s, applied)
        return DiffReply(nodes)
    live = core.recorder.head() if request.cached else core.record(via="watch").head
    applied = {area: one.commit for area, one in core.state.now.applied.items()}
    if wanted is not None:
        return DiffReply({core.node: _against(core, live, wanted, request, None, applied)})
    master = next((name for name, one in heard.items() if one.facts and one.facts.role == Role.MASTER.value), None)
    master = master or next(iter(heard), None)
    if master is None:
        raise UsageError("cannot compare: no peer is configured", "write the master into `peers:` of node.yaml")
    theirs, age_s = main_of(core, master)
    if theirs is None:
        raise UnreachableError(f"cannot compare with {master}: it was never reached", "see `syncsrv status`")
    return DiffReply({core.node: _against(core, live, theirs, request, age_s, applied)})


def _against(
    core: Core, base: str | None, target: str, request: DiffRequest, age_s: float | None, applied: Mapping[str, str]
) -> NodeDiff:
    """The plan that a sync would make, as far as two histories show it."""
    cluster = cluster_at(core, target)
    areas = core.areas(cluster)
    refuse_unknown(request.areas, areas)
    made = planned(core, base, target, cluster, request.areas, applied)
    there = {CLUSTER_AREA, *(cluster_at(core, base).areas if base else ())}
    unseen = tuple(name for name in made.chosen if name not in there)
    return replace(_node_diff(core, base, target, made.changes, areas, request, age_s), unseen=unseen)
