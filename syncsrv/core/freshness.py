"""When the newest configuration of a service came to be; what ``restart_pending`` is judged by."""

from __future__ import annotations

import os
from pathlib import Path

from syncsrv.apply.record import Recorder
from syncsrv.config.model import Cluster
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import CLUSTER_PATH, show_path


class Freshness:
    """The newest change of each area, read once per commit: main equals the disk, so nothing changes without one.

    Args:
        recorder: for main.
        root: the managed root.
    """

    def __init__(self, recorder: Recorder, root: Path) -> None:
        self._recorder = recorder
        self._root = os.fsencode(root)
        self._head: str | None = None
        self._areas: Areas | None = None
        self._newest: dict[str, tuple[float, bytes]] = {}

    def newest_change(self, service: str, cluster: Cluster, areas: Areas) -> float | None:
        """When a file of the service's areas last changed, seconds of the epoch; None where it has none."""
        found = self._newest_of(service, cluster, areas)
        return found[0] if found else None

    def newest_file(self, service: str, cluster: Cluster, areas: Areas) -> str:
        """Which one that was; empty where it has none."""
        found = self._newest_of(service, cluster, areas)
        return show_path(found[1]) if found else ""

    def _newest_of(self, service: str, cluster: Cluster, areas: Areas) -> tuple[float, bytes] | None:
        head = self._recorder.head()
        if (head, areas) != (self._head, self._areas):
            self._newest = self._read(head, areas)
            self._head, self._areas = head, areas
        of_areas = [name for name, area in cluster.areas.items() if service in area.services]
        return max((self._newest[name] for name in of_areas if name in self._newest), default=None)

    def _read(self, head: str | None, areas: Areas) -> dict[str, tuple[float, bytes]]:
        newest: dict[str, tuple[float, bytes]] = {}
        for path in self._recorder.tree(head):
            area = areas.area_of(path)
            if area is None or path == CLUSTER_PATH:
                continue
            try:
                changed = os.lstat(self._root + b"/" + path).st_ctime
            except OSError:
                continue  # gone since: the next commit says so
            newest[area] = max(newest.get(area, (0.0, b"")), (changed, path))
        return newest
