"""When the newest configuration of a service came to be; what ``restart_pending`` is judged by."""

from __future__ import annotations

import os
from pathlib import Path

from syncsrv.apply.record import Recorder
from syncsrv.config.model import Cluster
from syncsrv.plan.areas import Areas
from syncsrv.plan.tree import CLUSTER_PATH


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
        self._newest: dict[str, float] = {}

    def newest_change(self, service: str, cluster: Cluster, areas: Areas) -> float | None:
        """When a file of the service's areas last changed, seconds of the epoch; None where it has none."""
        head = self._recorder.head()
        if (head, areas) != (self._head, self._areas):
            self._newest = self._read(head, areas)
            self._head, self._areas = head, areas
        of_areas = [name for name, area in cluster.areas.items() if service in area.services]
        return max((self._newest[name] for name in of_areas if name in self._newest), default=None)

    def _read(self, head: str | None, areas: Areas) -> dict[str, float]:
        newest: dict[str, float] = {}
        for path in self._recorder.tree(head):
            area = areas.area_of(path)
            if area is None or path == CLUSTER_PATH:
                continue
            try:
                changed = os.lstat(self._root + b"/" + path).st_ctime
            except OSError:
                continue  # gone since: the next commit says so
            newest[area] = max(newest.get(area, 0.0), changed)
        return newest
