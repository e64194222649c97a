"""Looks at the tables of connections of all nodes, and has conntrackd follow the addresses of this node's devices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from syncsrv.clock import Clock
from syncsrv.control.shapes_statesync import StateSyncInfo
from syncsrv.core.carp import statetable
from syncsrv.core.carp.carp import Carp
from syncsrv.core.peers import DEADLINE_S, POLL_S, Heard

log = logging.getLogger(__name__)

APART_S = 2 * (POLL_S + DEADLINE_S)
"""For so long two tables have to be far apart, so that at least one newer word of the peer says so too."""


class StateWatch:
    """One for each core.

    Args:
        carp: of this node.
        heard: what each peer said last.
        clock: for how long something is so.
        apart_s: see APART_S.
    """

    def __init__(
        self, carp: Carp, heard: Callable[[], Mapping[str, Heard]], clock: Clock, *, apart_s: float = APART_S
    ) -> None:
        self._carp = carp
        self._heard = heard
        self._clock = clock
        self._apart_s = apart_s
        self._apart_at: dict[str, float] = {}
        self._troubles: tuple[str, ...] = ()
        carp.troubles.append(self.troubles)

    def troubles(self) -> tuple[str, ...]:
        """What was found at the last look, a sentence each."""
        return self._troubles

    def look(self) -> None:
        """Compare what is known now."""
        self._carp.follow_devices()
        us = self._carp.state_sync()
        said = [statetable.own_trouble(us)]
        apart: dict[str, float] = {}
        now = self._clock.monotonic()
        for name, one in sorted(self._heard().items()):
            if one.facts is None or not one.reachable:
                continue
            peer = one.facts.state_sync
            found = statetable.between(us, name, peer)
            said += found
            if isinstance(us, StateSyncInfo) and isinstance(peer, StateSyncInfo) and statetable.far_apart(us, peer):
                apart[name] = self._apart_at.get(name, now)
                if not found and now - apart[name] >= self._apart_s:
                    said.append(statetable.apart(us, name, peer))
        self._apart_at = apart
        troubles = tuple(one for one in said if one)
        for trouble in troubles:
            if trouble not in self._troubles:
                log.warning("%s", trouble)
        self._troubles = troubles
