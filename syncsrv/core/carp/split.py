"""Looks for a split brain: what this node and its peers say of themselves, side by side; and ends what can be ended.

carp/diagnose.py says what is wrong. This feeds it, remembers since when, and tells a process carp that is deaf what the
MASTER that it does not hear says over SSH.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_interface

from syncsrv.carp import diagnose
from syncsrv.carp.diagnose import BOTH_S, Seen, Segment, View
from syncsrv.clock import Clock, rfc3339
from syncsrv.control.shapes import Facts
from syncsrv.control.shapes_failover import DeviceInfo, VipInfo
from syncsrv.core.carp.carp import Carp
from syncsrv.core.carp.configure import addresses_only
from syncsrv.core.peers import DEADLINE_S, POLL_S, Heard
from syncsrv.failover.messages import PeerServes

log = logging.getLogger(__name__)

LOOK_S = 1.0
FRESH_S = POLL_S + DEADLINE_S + 2.0
"""How old a peer's word may be: a poll later there is a newer one, unless the peer is away."""
TOLD_S = 4.0
"""How long a peer's word keeps a deaf node down; it is repeated at each look."""


class Split:
    """One for each core.

    Args:
        carp: of this node.
        node: its name.
        clock: for ages.
        heard: what each peer said last.
        look_s: see LOOK_S.
    """

    def __init__(
        self, carp: Carp, node: str, clock: Clock, heard: Callable[[], Mapping[str, Heard]], *, look_s: float = LOOK_S
    ) -> None:
        self._carp = carp
        self._node = node
        self._clock = clock
        self._heard = heard
        self._look_s = look_s
        self._both: dict[tuple[str, str, int], tuple[float, datetime]] = {}
        """(VIP, peer, changes of state here) to when the peer's word of two MASTERs came first."""
        self._told: dict[str, str] = {}
        self._troubles: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carp-split", daemon=True)
        carp.troubles.append(self.troubles)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End; also without a start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def troubles(self) -> tuple[str, ...]:
        """What was found at the last look, a sentence each."""
        return self._troubles

    def _run(self) -> None:
        while not self._stopping.wait(self._look_s):
            try:
                self.look()
            except Exception:  # the top of a thread: without it a deaf node would serve for ever
                log.exception("looking for a split brain failed by a bug; it goes on")

    def look(self) -> None:
        """Compare what is known now."""
        if self._carp.reading.now is None:
            self._both, self._told, self._troubles = {}, {}, ()
            return
        mine = {vip.key: vip for vip in self._carp.vips()}
        us = seen(self._node, tuple(mine.values()), self._carp.sets(), self._carp.info().devices)
        now = self._clock.monotonic()
        heard = {name: one for name, one in self._heard().items() if _is_fresh(one, now)}
        peers = {name: _of(name, one.facts) for name, one in heard.items() if one.facts is not None}
        sure = self._sure(us, peers, mine, heard)
        self._told = self._tell(us, peers, mine, heard, frozenset(sure))
        kept = {key: name for key, name in self._told.items() if us.vips[key].state == "BACKUP"}
        troubles = tuple(str(one) for one in diagnose.findings(us, peers, sure, kept))
        for one in troubles:
            if one not in self._troubles:
                log.warning("%s", one)
        self._troubles = troubles

    def _sure(
        self, us: Seen, peers: Mapping[str, Seen], mine: Mapping[str, VipInfo], heard: Mapping[str, Heard]
    ) -> dict[tuple[str, str], str]:
        """Which VIPs a peer and this node are both MASTER of, beyond a takeover, and since when.

        What counts is how far two words of the peer are apart, while nothing changed here: one alone may be overtaken.
        """
        first: dict[tuple[str, str, int], tuple[float, datetime]] = {}
        for name, peer in peers.items():
            for key in diagnose.both_masters(us, peer):
                which = (key, name, mine[key].transitions)
                first[which] = self._both.get(which) or (heard[name].at or 0.0, self._clock.utc())
        self._both = first
        return {
            (key, name): rfc3339(utc)
            for (key, name, _), (at, utc) in first.items()
            if (heard[name].at or 0.0) - at >= BOTH_S
        }

    def _tell(
        self,
        us: Seen,
        peers: Mapping[str, Seen],
        mine: Mapping[str, VipInfo],
        heard: Mapping[str, Heard],
        sure: frozenset[tuple[str, str]],
    ) -> dict[str, str]:
        """Who is deaf is told; VIP to the peer whose word it was."""
        told: dict[str, str] = {}
        for name, peer in sorted(peers.items()):
            facts = heard[name].facts
            for vip in facts.vips if facts is not None else ():
                was = self._told.get(vip.key) == name
                if vip.key in told or not (was or (vip.key, name) in sure):
                    continue
                possible = 0 <= vip.advbase <= 254 and _advskew(vip) >= 0
                if possible and diagnose.deaf(us, peer, vip.key, was=was):
                    told[vip.key] = name
                    self._carp.peer_serves(
                        PeerServes(mine[vip.key].device, vip.vhid, name, vip.advbase, _advskew(vip), TOLD_S)
                    )
        return told


def _is_fresh(heard: Heard, now: float) -> bool:
    return heard.facts is not None and heard.at is not None and now - heard.at <= FRESH_S


def _of(name: str, facts: Facts) -> Seen:
    return seen(name, facts.vips, facts.vip_sets, facts.failover.devices)


def seen(node: str, vips: tuple[VipInfo, ...], sets: Mapping[str, str], devices: tuple[DeviceInfo, ...]) -> Seen:
    """What a node says of itself, as it is compared.

    Args:
        node: its name.
        vips: as in status and facts.
        sets: VIP to a digest of addresses and password.
        devices: as in status and facts.
    """
    segments = {
        name: Segment(addresses_only(one.sources), _speakers(one.badauth), _speakers(one.foreign), one.vrrp)
        for one in devices
        for name in one.interfaces
    }
    return Seen(node, {vip.key: _view(vip, sets.get(vip.key, "")) for vip in vips}, segments)


def _view(vip: VipInfo, set_name: str) -> View:
    serves = vip.state == "MASTER"
    return View(
        state=vip.state,
        addresses=_interfaces(vip.addresses),
        set_name=set_name,
        advbase=vip.advbase,
        advskew=_advskew(vip),
        hears=vip.contested_by if serves else vip.master_node or vip.master,
        hears_s=vip.contested_s if serves else vip.heard_s,
        conflicts=vip.conflicts,
    )


def _advskew(vip: VipInfo) -> int:
    return min(vip.advskew if vip.advertised is None else vip.advertised, 254)


def _interfaces(written: tuple[str, ...]) -> tuple[str, ...]:
    """Those texts of a node that are addresses."""
    found = []
    for text in written:
        try:
            found.append(str(ip_interface(text)))
        except ValueError:
            log.debug("a peer says that it has an address that is none")
    return tuple(found)


def _speakers(said: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Out of ``192.0.2.9 vhid 7``, as the process carp writes it."""
    found = []
    for one in said:
        source, _, vhid = one.partition(" vhid ")
        if vhid.isascii() and vhid.isdecimal():
            found.append((source, int(vhid)))
    return tuple(found)
