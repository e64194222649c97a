"""The history of a node as a person asks for it, and who may be shown what of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from syncsrv.clock import rfc3339
from syncsrv.control.shapes_history import LogEntry, LogReply, LogRequest
from syncsrv.core.mains import last_known
from syncsrv.core.parts import TAGS, Core
from syncsrv.core.views.areas import named
from syncsrv.errors import UnreachableError, UsageError
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import show_path, tree_path
from syncsrv.plan.words import listed
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.history import History, Search
from syncsrv.store.repo import Store
from syncsrv.store.revisions import UnknownRevisionError
from syncsrv.store.tags import BadTagError, by_number, read_tag

PATHS_SHOWN = 200
"""Paths that one entry of the log names; `show` has them all."""


class UnknownNodeError(UsageError):
    """No node of that name is configured."""

    code = "unknown-node"


def log(core: Core, request: LogRequest) -> LogReply:
    """The history of this node, or of a peer as it was last fetched, newest first.

    Raises:
        UnknownNodeError, UnknownRevisionError, UsageError: what is asked for does not exist.
        UnreachableError: nothing is known of that peer yet.
    """
    node = request.node or core.node
    history, age_s = _history(core, node)
    if request.limit < 0:
        raise UsageError(f"cannot show {request.limit} commits", "ask for none or more")
    areas = core.areas()
    if request.area and request.area not in areas.names:
        raise UsageError(
            f"cannot show the history of area {request.area}: there is none of that name",
            f"areas: {listed(areas.names)}",
        )
    wanted = Search(
        path=tree_path(request.path) if request.path else b"",
        author=request.author or "",
        via=request.via or "",
        tops=areas.tops(request.area) if request.area else (),
        holds=(lambda path: areas.area_of(path) == request.area) if request.area else None,
        before=_before(core, history, node, request.before),
    )
    found = history.search(wanted, request.limit + 1)
    tags = tags_of(core.store)
    entries = tuple(entry(core, one.commit, tags, one.paths, areas, node) for one in found[: request.limit])
    return LogReply(entries, more=len(found) > request.limit, age_s=age_s, areas=areas.names)


def _history(core: Core, node: str) -> tuple[History, float | None]:
    if node == core.node:
        return core.history, None
    peers = core.live.config.node.peers
    if node not in peers:
        raise UnknownNodeError(
            f"cannot show the history of {node}: there is no node of that name", f"nodes: {listed([core.node, *peers])}"
        )
    known, age_s = last_known(core, node)
    if known is None:
        raise UnreachableError(
            f"cannot show the history of {node}: nothing of it was fetched yet", "see `syncsrv status`"
        )
    return core.history.of_peer(node), age_s


def _before(core: Core, history: History, node: str, text: str | None) -> str | None:
    if not text:
        return None
    commit = core.store.resolve_shown(text)
    if not history.has(commit):
        raise UnknownRevisionError(text, f"the history of {node} does not have it")
    return commit


def tags_of(store: Store) -> Mapping[str, tuple[str, ...]]:
    """Commit to the names of its tags."""
    found: dict[str, tuple[str, ...]] = {}
    for ref, tag_object in store.refs("refs/tags/").items():
        with contextlib.suppress(MalformedObjectError):  # a tag of a tree or a file, which somebody made by hand
            commit = store.peel(tag_object)
            found[commit] = (*found.get(commit, ()), ref.removeprefix("refs/tags/"))
    return found


def entry(
    core: Core,
    commit: str,
    tags: Mapping[str, tuple[str, ...]],
    changed: tuple[bytes, ...],
    areas: Areas,
    node: str = "",
) -> LogEntry:
    """One commit as the log has it.

    Args:
        core: of this node.
        commit: its id.
        tags: see tags_of.
        changed: the paths that it changed.
        areas: those of today.
        node: whose history it is shown in; this node's where empty.
    """
    info = core.store.read_commit(commit)
    name = named(areas)
    whose = {path: area for path in changed if (area := name(path)) is not None}
    touched = set(whose.values())
    return LogEntry(
        commit=commit,
        at=rfc3339(info.at_utc),
        author=info.author,
        subject=info.subject,
        via=core.history.via_of(commit),
        node=info.trailers.get("Node", node or core.node),
        paths=tuple(show_path(path) for path in list(whose)[:PATHS_SHOWN]),
        tags=tags.get(commit, ()),
        areas=tuple(area for area in areas.names if area in touched),
        tagged_at=_tagged_at(core.store, tags.get(commit, ())),
    )


def _tagged_at(store: Store, names: tuple[str, ...]) -> str:
    """When the newest of these tags was made, as far as they are sync tags."""
    for name in sorted(names, key=by_number, reverse=True):
        found = store.ref(f"{TAGS}{name}")
        with contextlib.suppress(BadTagError):
            if found is not None:
                return rfc3339(read_tag(store, found, name).at_utc)
    return ""
