"""History and differences as a person asks for them: log, show, diff."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from syncsrv.clock import rfc3339
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster, Role
from syncsrv.config.problem import ConfigurationError
from syncsrv.control.shapes import (
    DiffReply,
    DiffRequest,
    FileChange,
    LogEntry,
    LogReply,
    LogRequest,
    NodeDiff,
    ShowReply,
    ShowRequest,
)
from syncsrv.core.mains import peer_main
from syncsrv.core.parts import Core
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.plan.areas import CLUSTER_AREA, Areas
from syncsrv.plan.diff import Change, compare, deletions, restrict
from syncsrv.plan.make import Wanted, make_plan
from syncsrv.plan.patch import is_binary, unified
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, show_path, tree_path
from syncsrv.plan.words import listed
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.repo import Store

PATHS_SHOWN = 200
"""Paths that one entry of the log names; `show` has them all."""


def log(core: Core, request: LogRequest) -> LogReply:
    """The history of this node, newest first."""
    path = tree_path(request.path) if request.path else None
    tags = _tags(core.store)
    entries = core.history.log(path, request.limit)
    return LogReply(tuple(_entry(core, one.commit, tags) for one in entries))


def _tags(store: Store) -> Mapping[str, tuple[str, ...]]:
    """Commit to the names of its tags."""
    found: dict[str, tuple[str, ...]] = {}
    for ref, tag_object in store.refs("refs/tags/").items():
        with contextlib.suppress(MalformedObjectError):  # a tag of a tree or a file, which somebody made by hand
            commit = store.peel(tag_object)
            found[commit] = (*found.get(commit, ()), ref.removeprefix("refs/tags/"))
    return found


def _entry(core: Core, commit: str, tags: Mapping[str, tuple[str, ...]]) -> LogEntry:
    info = core.store.read_commit(commit)
    named = _named(core.areas())
    paths = [path for path in core.history.paths_of(commit) if named(path) is not None]
    return LogEntry(
        commit=commit,
        at=rfc3339(info.at_utc),
        author=info.author,
        subject=info.subject,
        via=info.trailers.get("Via", "push"),
        node=info.trailers.get("Node", core.node),
        paths=tuple(show_path(path) for path in paths[:PATHS_SHOWN]),
        tags=tags.get(commit, ()),
    )


def show(core: Core, request: ShowRequest) -> ShowReply:
    """One commit with what it changed against its first parent."""
    commit = core.store.resolve(request.rev)
    info = core.store.read_commit(commit)
    before = core.store.read_tree(info.parents[0]) if info.parents else {}
    after = core.store.read_tree(commit)
    areas = _areas_at(core, commit)
    return ShowReply(
        commit=_entry(core, commit, _tags(core.store)),
        body=info.body,
        parents=tuple(info.parents),
        files=_files(core.store, compare(before, after, _named(areas)), patch=request.patch),
    )


def _areas_at(core: Core, commit: str) -> Areas:
    return core.areas(_cluster_at(core, commit))


def _cluster_at(core: Core, commit: str) -> Cluster:
    """That commit's cluster.yaml; today's where it cannot be read."""
    entry = core.store.read_tree(commit).get(CLUSTER_PATH)
    config = core.live.config
    if entry is None:
        return core.cluster
    try:
        return parse_cluster(core.store.blob(entry.blob), "cluster.yaml", config.node, config.secrets)
    except ConfigurationError:
        return core.cluster


@dataclass(frozen=True, slots=True)
class _named:
    """The area of a path, or "" for what belonged to one once; the directories above an area are nobody's."""

    areas: Areas

    def __call__(self, path: bytes) -> str | None:
        area = self.areas.area_of(path)
        if area is not None:
            return area
        tops = (top for name in self.areas.names for top in self.areas.tops(name))
        return None if any(top.startswith(path + b"/") for top in tops) else ""


def _files(store: Store, changes: tuple[Change, ...], *, patch: bool) -> tuple[FileChange, ...]:
    return tuple(_file(store, change, patch=patch) for change in changes)


def _file(store: Store, change: Change, *, patch: bool) -> FileChange:
    old, new = change.old, change.new
    contents = [_content(store, one) for one in (old, new)]
    binary = any(is_binary(data) for data in contents if data)
    text = unified(change.path, *contents) if patch and not binary else ""
    return FileChange(
        path=show_path(change.path),
        status=change.difference.value,
        area=change.area,
        old_mode=f"{old.mode:04o}" if old else None,
        new_mode=f"{new.mode:04o}" if new else None,
        old_owner=f"{old.user}:{old.group}" if old else None,
        new_owner=f"{new.user}:{new.group}" if new else None,
        binary=binary,
        patch=text,
    )


def _content(store: Store, entry: Entry | None) -> bytes | None:
    if entry is None or entry.kind is Kind.DIRECTORY:
        return None
    return store.blob(entry.blob)


def diff(core: Core, request: DiffRequest) -> DiffReply:
    """Between two revisions, from one to what is live, or what Synchronize would bring to each backup."""
    if not request.revs:
        return _bring(core, request)
    revs = [core.store.resolve(rev) for rev in request.revs]
    if len(revs) == 1:
        live = core.record(via="watch").head
        assert live is not None
        revs.append(live)
    areas = _areas_at(core, revs[1])
    changes = compare(core.store.read_tree(revs[0]), core.store.read_tree(revs[1]), _named(areas))
    _known(request.areas, areas)
    changes = tuple(change for change in changes if not request.areas or change.area in request.areas)
    return DiffReply({core.node: _node_diff(core, revs[0], revs[1], changes, request.patch, None)})


def _known(names: tuple[str, ...], areas: Areas) -> None:
    for name in names:
        if name not in areas.names:
            raise UsageError(f"cannot compare area {name}: there is none of that name", f"areas: {listed(areas.names)}")


def _node_diff(
    core: Core, base: str | None, target: str, changes: tuple[Change, ...], patch: bool, age_s: float | None
) -> NodeDiff:
    return NodeDiff(base, target, _files(core.store, changes, patch=patch), deletions(changes), age_s)


def _bring(core: Core, request: DiffRequest) -> DiffReply:
    """Per backup its live tree, asked for now, against our main; on a backup its own against its master's."""
    recorded = core.record(via="watch")
    heard = core.book.now()
    if core.role is Role.MASTER:
        if recorded.head is None:
            raise UsageError("cannot compare: nothing was committed yet", "give cluster.yaml an area")
        nodes = {}
        for name, one in heard.items():
            if one.facts is not None and one.facts.role == Role.MASTER.value:
                continue
            base, age_s = peer_main(core, name)
            applied = one.facts.applied if one.facts is not None else {}
            nodes[name] = _against(core, base, recorded.head, request, age_s, applied)
        return DiffReply(nodes)
    master = next((name for name, one in heard.items() if one.facts and one.facts.role == Role.MASTER.value), None)
    master = master or next(iter(heard), None)
    if master is None:
        raise UsageError("cannot compare: no peer is configured", "write the master into `peers:` of node.yaml")
    target, age_s = peer_main(core, master)
    if target is None:
        raise UnreachableError(f"cannot compare with {master}: it was never reached", "see `syncsrv status`")
    applied = {area: one.commit for area, one in core.state.now.applied.items()}
    return DiffReply({core.node: _against(core, recorded.head, target, request, age_s, applied)})


def _against(
    core: Core, base: str | None, target: str, request: DiffRequest, age_s: float | None, applied: Mapping[str, str]
) -> NodeDiff:
    """The plan that a sync would make, as far as two histories show it."""
    cluster = _cluster_at(core, target)
    areas = core.areas(cluster)
    _known(request.areas, areas)
    commits = {area: commit for area, commit in applied.items() if core.store.has(commit)}
    planned = make_plan(
        Wanted(
            target=core.store.read_tree(target),
            areas=areas,
            chosen=request.areas or areas.names,
            extra={name: area.extra for name, area in cluster.areas.items()},
            live=core.store.read_tree(base) if base else {},
            obstacles=(),
            brought=frozenset(
                path
                for area, commit in commits.items()
                for path in restrict(core.store.read_tree(commit), (area,), areas.area_of)
            ),
            allow=(),
        )
    )
    there = {CLUSTER_AREA, *(_cluster_at(core, base).areas if base else ())}
    unseen = tuple(name for name in planned.chosen if name not in there)
    return replace(_node_diff(core, base, target, planned.changes, request.patch, age_s), unseen=unseen)
