"""When the newest configuration of a service came to be; what ``restart_pending`` is judged by."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from syncsrv.apply.record import Recorder
from syncsrv.config.model import Cluster
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import CLUSTER_PATH, show_path

Newest: TypeAlias = tuple[float, bytes]
"""When a file changed, seconds of the epoch, and its path in the tree."""


class Freshness:
    """The newest change of each area, read once per commit: main equals the disk, so nothing changes without one.

    Args:
        recorder: for main.
        root: the managed root.
        defines: whether a file at this absolute path tells a manager what its services are.
    """

    def __init__(self, recorder: Recorder, root: Path, defines: Callable[[str], bool] = lambda _path: False) -> None:
        self._recorder = recorder
        self._root = os.fsencode(root).rstrip(b"/")
        self._defines = defines
        self._head: str | None = None
        self._areas: Areas | None = None
        self._newest: dict[str, Newest] = {}
        self._definitions: dict[str, Newest] = {}

    def newest_change(self, service: str, cluster: Cluster, areas: Areas) -> float | None:
        """When a file of the service's areas last changed, seconds of the epoch; None where it has none."""
        found = self._newest_of(service, cluster, areas)
        return found[0] if found else None

    def newest_file(self, service: str, cluster: Cluster, areas: Areas) -> str:
        """Which one that was; empty where it has none."""
        found = self._newest_of(service, cluster, areas)
        return show_path(found[1]) if found else ""

    def newest_definition(self, service: str, cluster: Cluster, areas: Areas) -> tuple[float, str] | None:
        """When such a file of the service's areas last changed that says what a service is, and which one."""
        self._look(areas)
        found = _max_of(self._definitions, service, cluster)
        return (found[0], show_path(found[1])) if found else None

    def _newest_of(self, service: str, cluster: Cluster, areas: Areas) -> Newest | None:
        self._look(areas)
        return _max_of(self._newest, service, cluster)

    def _look(self, areas: Areas) -> None:
        head = self._recorder.head()
        if (head, areas) != (self._head, self._areas):
            self._newest, self._definitions = self._read(head, areas)
            self._head, self._areas = head, areas

    def _read(self, head: str | None, areas: Areas) -> tuple[dict[str, Newest], dict[str, Newest]]:
        newest: dict[str, Newest] = {}
        definitions: dict[str, Newest] = {}
        for path in self._recorder.tree(head):
            area = areas.area_of(path)
            if area is None or path == CLUSTER_PATH:
                continue
            live = self._root + b"/" + path
            try:
                changed = os.lstat(live).st_ctime
            except OSError:
                continue  # gone since: the next commit says so
            newest[area] = max(newest.get(area, (0.0, b"")), (changed, path))
            if self._defines(os.fsdecode(live)):
                definitions[area] = max(definitions.get(area, (0.0, b"")), (changed, path))
        return newest, definitions


def _max_of(newest: Mapping[str, Newest], service: str, cluster: Cluster) -> Newest | None:
    of_areas = [name for name, area in cluster.areas.items() if service in area.services]
    return max((newest[name] for name in of_areas if name in newest), default=None)
