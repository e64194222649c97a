"""The plan: from a tag (or an old commit) and what is live, to what would be written. Pure.

One function makes it for sync, rollback, preview and dry run alike. It decides per area what the disk shall be (the
*planned result*, DESIGN law 5), what changes, and what is refused whatever anybody says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncsrv.config.model import Extra
from syncsrv.plan.areas import Areas
from syncsrv.plan.diff import Change, compare
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Tree, is_below, parents, show_path, tree_path
from syncsrv.plan.words import listed


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something live inside an area that the history does not hold.

    Attributes:
        path: where.
        why: in words: excluded, a socket, over the limit.
        blocks: True where it may not be overwritten or deleted because the history could not give it back.
    """

    path: bytes
    why: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is made from.

    Attributes:
        target: the tree of the tag or commit.
        areas: the areas as the target's cluster.yaml (for a rollback: the live one) draws them.
        chosen: names of the areas that are applied.
        extra: per area what becomes of files that only this node has.
        live: the tree of this disk, the chosen areas complete.
        obstacles: what else stands there.
        brought: paths that an earlier apply brought here; what ``extra: keep`` may delete.
        allow: tree paths below which this node lets itself be written.
    """

    target: Tree
    areas: Areas
    chosen: tuple[str, ...]
    extra: Mapping[str, Extra]
    live: Tree
    obstacles: tuple[Obstacle, ...]
    brought: frozenset[bytes]
    allow: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        chosen: the areas.
        changes: every path that would change, by path.
        result: the planned result of the chosen areas.
        live: what stands there now, of the chosen areas.
        refusals: sentences that nothing can force.
    """

    chosen: tuple[str, ...]
    changes: tuple[Change, ...]
    result: Mapping[bytes, Entry]
    live: Mapping[bytes, Entry]
    refusals: tuple[str, ...]

    def in_area(self, name: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.area == name)


def make_plan(wanted: Wanted) -> Plan:
    """Decide what the chosen areas become."""
    chosen = frozenset(wanted.chosen)
    area_of = wanted.areas.area_of
    target = {path: entry for path, entry in wanted.target.items() if area_of(path) in chosen}
    live = {path: entry for path, entry in wanted.live.items() if area_of(path) in chosen}
    obstacles = [obstacle for obstacle in wanted.obstacles if _concerns(obstacle, wanted)]
    result = dict(target)
    stays: dict[bytes, str] = {}
    for path, entry in live.items():
        area = area_of(path)
        assert area is not None
        if path not in target and entry.kind is not Kind.DIRECTORY and _kept(path, area, wanted):
            result[path] = entry
            stays[path] = "only this node has it and its area says `extra: keep`"
    stays.update({obstacle.path: obstacle.why for obstacle in obstacles if not obstacle.blocks})
    refusals = _keep_directories(stays, live, result)
    changes = compare(live, result, area_of)
    refusals += _blocked(obstacles, target)
    refusals += _outside(changes, wanted.allow)
    refusals += [sentence for change in changes if (sentence := _never(change)) is not None]
    return Plan(wanted.chosen, changes, result, live, tuple(dict.fromkeys(refusals)))


def _concerns(obstacle: Obstacle, wanted: Wanted) -> bool:
    return any(is_below(obstacle.path, top) for name in wanted.chosen for top in wanted.areas.tops(name))


def _kept(path: bytes, area: str, wanted: Wanted) -> bool:
    return wanted.extra.get(area, Extra.DELETE) is Extra.KEEP and path not in wanted.brought


def _keep_directories(stays: Mapping[bytes, str], live: Tree, result: dict[bytes, Entry]) -> list[str]:
    """A directory that holds something which stays, stays too; what wants its place is refused."""
    refusals = []
    for path, why in stays.items():
        for parent in parents(path):
            planned = result.get(parent)
            if planned is not None and planned.kind is not Kind.DIRECTORY:
                refusals.append(
                    f"cannot replace directory {show_path(parent)}: it holds {show_path(path)} ({why}); move that away"
                )
            elif planned is None and parent in live:
                result[parent] = live[parent]
    return refusals


def _blocked(obstacles: list[Obstacle], target: Tree) -> list[str]:
    refusals = []
    for obstacle in obstacles:
        if obstacle.path in target and target[obstacle.path].kind is not Kind.DIRECTORY:
            refusals.append(
                f"cannot write {show_path(obstacle.path)}: there stands something that the history cannot hold "
                f"({obstacle.why}); move it away"
            )
        elif obstacle.blocks:
            refusals.append(
                f"cannot make the area equal: {show_path(obstacle.path)} cannot be saved before it goes "
                f"({obstacle.why}); remove, exclude or repair it by hand"
            )
    return refusals


def _outside(changes: Iterable[Change], allow: tuple[bytes, ...]) -> list[str]:
    """What this node does not let itself be written, in one sentence (DESIGN law 8)."""
    outside = [
        show_path(change.path)
        for change in changes
        if change.path != CLUSTER_PATH and not any(is_below(change.path, top) for top in allow)
    ]
    roots = listed(show_path(top) for top in allow) or "nothing"
    why = f"node.yaml of this node allows {roots} only; extend `allow` there if it is meant"
    return [f"cannot write {listed(outside)}: {why}"] if outside else []


def _never(change: Change) -> str | None:
    """What else no guard and no admin lets through."""
    shown = show_path(change.path)
    new = change.new
    if new is None:
        return None
    if new.mode & 0o4000 or (new.mode & 0o2000 and new.kind is not Kind.DIRECTORY):
        return f"cannot write {shown}: it carries a setuid or setgid bit ({new.mode:04o}); take it off on the master"
    if any(name == "security.capability" for name, _ in new.xattrs):
        return f"cannot write {shown}: it carries a file capability; take it off on the master with `setcap -r`"
    return None


def allowed_tops(allow: tuple[str, ...]) -> tuple[bytes, ...]:
    """node.yaml's ``allow`` as tree paths."""
    return tuple(tree_path(top) for top in allow)
