"""Which areas a commit knew, and whose a path is among them."""

from __future__ import annotations

from collections.abc import Callable

from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster
from syncsrv.config.problem import ConfigurationError
from syncsrv.core.parts import Core
from syncsrv.errors import UsageError
from syncsrv.plan.areas import Areas
from syncsrv.plan.words import listed


def cluster_at(core: Core, commit: str) -> Cluster:
    """That commit's cluster.yaml; today's where it cannot be read."""
    entry = core.store.trees.cluster(core.store.tree_of(commit))
    config = core.live.config
    if entry is None or entry.blob == core.live.cluster_blob:
        return core.cluster
    try:
        return parse_cluster(core.store.blob(entry.blob), "cluster.yaml", config.node, config.secrets)
    except ConfigurationError:
        return core.cluster


def areas_at(core: Core, commit: str) -> Areas:
    """The areas as that commit draws them."""
    return core.areas(cluster_at(core, commit))


def named(areas: Areas) -> Callable[[bytes], str | None]:
    """The area of a path, or "" for what belonged to one once; the directories above an area are nobody's."""
    above = {
        top[:end]
        for name in areas.names
        for top in areas.tops(name)
        for end in range(1, len(top))
        if top[end : end + 1] == b"/"
    }

    def name_of(path: bytes) -> str | None:
        return areas.area_of(path) or (None if path in above else "")

    return name_of


def refuse_unknown(names: tuple[str, ...], areas: Areas) -> None:
    """Refuse areas that are none.

    Raises:
        UsageError: with those that there are.
    """
    for name in names:
        if name not in areas.names:
            raise UsageError(f"cannot compare area {name}: there is none of that name", f"areas: {listed(areas.names)}")
