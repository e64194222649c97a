"""The plan of a run between two histories: what the comparison shows and what the preview promises.

It is ``plan.make`` as the engine uses it; only that the live tree is a commit instead of the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

from syncsrv.config.model import Cluster
from syncsrv.control.shapes_history import AreaCount
from syncsrv.core.parts import Core
from syncsrv.errors import RefusedError, SyncsrvError
from syncsrv.plan.areas import Areas
from syncsrv.plan.diff import Change, restrict
from syncsrv.plan.make import Plan, Wanted, make_plan


class StalePlanError(SyncsrvError):
    """What a run would do is no longer what the person was shown."""

    code = "stale-plan"
    exit_status = RefusedError.exit_status
    look: ClassVar[str] = "look at it again"

    def __init__(self, doing: str, why: str) -> None:
        super().__init__(f"cannot {doing}: {why}", self.look)


ANYWHERE = (b"",)
"""Below which a node lets itself be written, where only that node knows."""


def planned(
    core: Core, base: str | None, target: str, cluster: Cluster, chosen: tuple[str, ...], applied: Mapping[str, str]
) -> Plan:
    """What a sync of ``target`` would make of a node whose main is ``base``.

    Args:
        core: of this node.
        base: None where nothing of that node is known.
        target: the commit that it would get.
        cluster: the target's.
        chosen: names of the areas; all where empty.
        applied: per area the commit that the last sync brought there.
    """
    areas = core.areas(cluster)
    commits = {area: commit for area, commit in applied.items() if is_commit(core, commit)}
    return make_plan(
        Wanted(
            target=core.store.read_tree(target),
            areas=areas,
            chosen=chosen or areas.names,
            extra={name: area.extra for name, area in cluster.areas.items()},
            live=core.store.read_tree(base) if base else {},
            obstacles=(),
            brought=_brought(core, commits, areas),
            allow=ANYWHERE,
        )
    )


def is_commit(core: Core, object_id: str) -> bool:
    """Whether a peer speaks of a commit that is here."""
    return core.store.has(object_id) and core.store.kind(object_id) == "commit"


def _brought(core: Core, commits: Mapping[str, str], areas: Areas) -> frozenset[bytes]:
    return frozenset(
        path
        for area, commit in commits.items()
        for path in restrict(core.store.read_tree(commit), (area,), areas.area_of)
    )


def counted_by_area(changes: Iterable[Change], names: Iterable[str]) -> tuple[AreaCount, ...]:
    """How many paths of each area go, come and become another; those with changes first.

    Args:
        changes: of any areas.
        names: the areas that are counted in any case, in this order; others with changes follow them.
    """
    found = Counter((change.area, _fate(change)) for change in changes)
    every = dict.fromkeys([*names, *(area for area, _ in found)])
    counts = [AreaCount(name, *(found[name, fate] for fate in ("deleted", "added", "changed"))) for name in every]
    return tuple(sorted(counts, key=lambda one: not (one.deleted or one.added or one.changed)))


def _fate(change: Change) -> str:
    return "deleted" if change.new is None else "added" if change.old is None else "changed"
