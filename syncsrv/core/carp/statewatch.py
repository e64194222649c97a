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

LASTS_S = 2 * (POLL_S + DEADLINE_S)
"""For so long two tables have to be far apart, or one node deaf, so that at least one newer word of the peer says so
too: a node that has just lost power, or has just booted, is no matter of packet filters."""


class StateWatch:
    """One for each core.

    Args:
        carp: of this node.
        heard: what each peer said last.
        clock: for how long something is so.
        lasts_s: see LASTS_S.
    """

    def __init__(
        self, carp: Carp, heard: Callable[[], Mapping[str, Heard]], clock: Clock, *, lasts_s: float = LASTS_S
    ) -> None:
        self._carp = carp
        self._heard = heard
        self._clock = clock
        self._lasts_s = lasts_s
        self._since: dict[str, float] = {}
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
        doubts: dict[str, str] = {}
        for name, one in sorted(self._heard().items()):
            if one.facts is None or not one.reachable:
                continue
            peer = one.facts.state_sync
            found = statetable.between(us, name, peer)
            said += found
            if isinstance(us, StateSyncInfo) and isinstance(peer, StateSyncInfo) and not one.misses:
                if statetable.deaf(us, peer):
                    doubts[f"{name} deaf"] = statetable.unheard(us, name)
                elif not found and statetable.far_apart(us, peer):
                    doubts[f"{name} apart"] = statetable.apart(us, name, peer)
        now = self._clock.monotonic()
        self._since = {doubt: self._since.get(doubt, now) for doubt in doubts}
        said += [doubts[doubt] for doubt, at in self._since.items() if now - at >= self._lasts_s]
        troubles = tuple(one for one in said if one)
        for trouble in troubles:
            if trouble not in self._troubles:
                log.warning("%s", trouble)
        self._troubles = troubles
