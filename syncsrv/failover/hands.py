"""Carries out what the state machine wants: addresses, adverts, announcements, probes; and keeps addresses where they
belong against whoever removes or adds them.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Mapping

from syncsrv.carp.effects import (
    Advertise,
    Announce,
    Changed,
    Effect,
    Farewell,
    Forget,
    Hold,
    Key,
    Note,
    Probe,
    Release,
    State,
)
from syncsrv.carp.events import HoldResult, SendResult
from syncsrv.carp.packet import FAREWELL, Advert, encode
from syncsrv.errors import SyncsrvError
from syncsrv.failover.counting import Counter
from syncsrv.failover.devices import Device
from syncsrv.failover.ports import Addresses, Announcer, Carriers, Interface
from syncsrv.failover.served import Served
from syncsrv.failover.will import PATIENCE_LEAST_S, PATIENCE_S, Parting, Will

log = logging.getLogger(__name__)

PROBE_AFTER = 2
"""Refreshes between a claim and its probe: a MASTER that is taken over from needs a moment to let go."""

CARRY_AGAIN = 30
"""Refreshes before a MAC that could not be switched on is tried again: until then a peer serves in peace."""

PROBE_AGAIN = 5
"""Refreshes between two probes while somebody else answers, to see whether he still does."""


class Hands:
    """Does effects on the system.

    Args:
        addresses: of the devices.
        announcer: to neighbours.
        counter: of adverts.
        leave: has the guardian keep a will, before an address is held and after it is given back.
        carriers: devices for the vhids with a MAC of their own.
    """

    def __init__(
        self,
        addresses: Addresses,
        announcer: Announcer,
        counter: Counter,
        leave: Callable[[Will], None],
        carriers: Carriers,
    ) -> None:
        self._carriers = carriers
        self._uncarried: dict[Key, tuple[str, int]] = {}
        self._backups: set[Key] = set()
        self._seen: dict[Key, frozenset[Interface]] = {}
        self._addresses = addresses
        self._announcer = announcer
        self._counter = counter
        self._leave = leave
        self.syncs = False
        """Whether connections are synchronized; to be said before ``configure``."""
        self.served: dict[Key, Served] = {}
        """What is configured, and what is not any more but still hands over."""
        self.devices: dict[str, Device] = {}
        self.holding: dict[Key, tuple[Interface, ...]] = {}
        """What each MASTER's device is to have."""
        self.conflicts: dict[Key, dict[str, str]] = {}
        """By vhid: what the last probe found, by address."""
        self._confirmed: dict[Key, set[str]] = {}
        self._probe_in: dict[Key, int] = {}
        self.troubles: dict[str, str] = {}
        """What the system refuses, by what was tried."""

    def configure(self, served: Mapping[Key, Served]) -> None:
        """Work with these. A MASTER's new addresses come before its old ones go; a removed one stays until Forget."""
        before, self.served = self.served, {**self.served, **served}
        for key in [key for key in self.holding if _placed(self.served[key]) != _placed(before[key])]:
            old, self.holding[key] = before[key], self.served[key].interfaces
            self._bequeath()
            self._hold(key)
            stays = self.holding[key] if old.target == self.served[key].target else ()
            self._give_back(old, [one for one in old.interfaces if one not in stays])
            self._announce(key)
        self._bequeath()
        for key, old in before.items():
            if old.mac and not self.served[key].mac:
                self._carry(self._carriers.remove, old)

    def cannot_carry(self, device: str, vhid: int) -> str:
        """Why a vhid cannot have its own MAC; empty where it can, and where its device is missing altogether."""
        key = Key(device, vhid)
        why, left = self._uncarried.get(key, ("", 0))
        if left:
            self._uncarried[key] = why, left - 1
            return why
        try:
            if key in self.holding:
                self._carriers.up(device, vhid)
            else:
                self._carriers.prepare(device, vhid)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return ""
            self._uncarried[key] = _text(error), CARRY_AGAIN
            return _text(error)
        return ""

    def close(self) -> None:
        """Remove what was made for the vhids; none is MASTER any more."""
        for one in self.served.values():
            if one.mac:
                self._carry(self._carriers.remove, one)

    def do(self, effect: Effect) -> SendResult | HoldResult | None:
        """One effect; the event that it leads to."""
        match effect:
            case Hold(key):
                self.holding[key] = self.served[key].interfaces
                self._bequeath()
                why = self._hold(key)
                return HoldResult(key.device, False, why) if why else None
            case Release(key):
                self._give_back(self.served[key], self.holding.pop(key, self.served[key].interfaces))
                self._seen.pop(key, None)
                for known in (self.conflicts, self._confirmed, self._probe_in):
                    known.pop(key, None)
                self._bequeath()
            case Advertise(key, advbase, advskew):
                return self._send(key, advbase, advskew)
            case Farewell(key):
                return self._send(key, FAREWELL, FAREWELL)
            case Announce(key):
                self._announce(key)
            case Probe(key):
                self._probe_in[key] = PROBE_AFTER
            case Forget(key):
                one = self.served.pop(key, None)
                self._backups.discard(key)
                if one is not None and one.mac:
                    self._carry(self._carriers.remove, one)
            case Changed(key, old, new, reason):
                level = logging.WARNING if State.MASTER in (old, new) else logging.INFO
                log.log(level, "%s: %s -> %s: %s", key, old, new, reason)
                (self._backups.add if new is State.BACKUP else self._backups.discard)(key)
            case Note(key, text):
                log.info("%s%s", f"{key}: " if key else "", text)
        return None

    def refresh(self, breathe: Callable[[], None]) -> list[HoldResult]:
        """Begin the lifetime of all that is held anew, and remove what should not be there.

        Args:
            breathe: called after each vhid, as there may be hundreds.

        Returns:
            For each device of a MASTER, whether it has all addresses now.
        """
        refused: dict[str, str] = {}
        for key in self.holding:
            why = self._hold(key)
            breathe()
            refused[key.device] = refused.get(key.device, "") or why
            one = self.served[key]
            if one.mac and one.unicast:  # its adverts have the device's MAC: switches would forget the group's
                self._announce(key, one.interfaces[:1])
            if key in self._probe_in:
                self._probe_in[key] -= 1
                if self._probe_in[key] == 0:
                    self._probe(key)
        self.sweep()
        return [HoldResult(device, not why, why) for device, why in refused.items()]

    def restore(self) -> None:
        """After a change of the kernel's: put back what something removed from a MASTER, and remove strays."""
        for key, wanted in self.holding.items():
            held = self._addresses.held(self.served[key].target)
            # Only what was there can have been removed: the kernel reports a new IPv6 address some moments later.
            gone = [one for one in wanted if one in self._seen.get(key, ()) and one not in held]
            self._seen[key] = held.intersection(wanted)
            if gone and not self._addresses.link(key.device):
                log.warning("%s: something removed %s from %s; put back", key, _listed(gone), key.device)
                self._hold(key)
                self._announce(key)
        self.sweep()

    def sweep(self) -> None:
        """Remove addresses of ours where this node is not MASTER; in BACKUP whoever put them there: two would answer.

        In INIT what somebody put there by hand stays: it may be how people help themselves.
        """
        for device in {*self.devices, *(one.target for one in self.served.values())}:
            keep = [one for key, wanted in self.holding.items() if self.served[key].target == device for one in wanted]
            with_trouble = f"sweep {device}"
            try:
                strays = self._addresses.sweep(device, keep, self._elsewhere(device))
                self.troubles.pop(with_trouble, None)
            except OSError as error:
                self._note(with_trouble, error)
                continue
            if strays:
                log.warning("removed from %s, where this node is not MASTER: %s", device, _listed(strays))

    def _elsewhere(self, device: str) -> list[Interface]:
        """What another node serves of all that could be on this device."""
        there = [self.served[key] for key in self._backups if key in self.served]
        return [interface for one in there if device in (one.key.device, one.target) for interface in one.interfaces]

    def collect_conflicts(self) -> bool:
        """Take in who else answered for an address that was probed; whether anybody did."""
        found = False
        for device, address, mac in self._announcer.conflicts():
            for key, wanted in self.holding.items():
                if self.served[key].target == device and any(one.ip == address for one in wanted):
                    text = f"{mac} answers for {address} on {device} too"
                    if text not in self.conflicts.setdefault(key, {}).values():
                        log.warning("%s: %s", key, text)
                    self.conflicts[key][str(address)] = text
                    self._confirmed.setdefault(key, set()).add(str(address))
                    self._probe_in.setdefault(key, PROBE_AGAIN)
                    found = True
        return found

    def runs(self, key: Key) -> bool:
        """Whether it is MASTER or BACKUP."""
        return key in self.holding or key in self._backups

    def held(self, key: Key) -> tuple[str, ...]:
        """Which addresses of a vhid are on its device now, as they are configured."""
        one = self.served[key]
        there = self._addresses.held(one.target)
        pairs = zip(one.settings.addresses, one.interfaces, strict=True)
        return tuple(written for written, interface in pairs if interface in there)

    def _hold(self, key: Key) -> str:
        """Why an address of a MASTER is not there; empty where all are, and where its MAC is the trouble: see above."""
        what = f"hold {key}"
        one = self.served[key]
        carried = not one.mac
        try:
            if one.mac:
                self._carriers.up(key.device, key.vhid)
                carried = True
            self._addresses.hold(one.target, self.holding[key], one.lifetime_s)
            self.troubles.pop(what, None)
        except OSError as error:
            self._note(what, error)
            # An answer that came too late, or a lifetime that was not renewed, is no address that is missing.
            missing = not self._addresses.held(one.target).issuperset(self.holding[key])
            return _text(error) if carried and missing else ""
        return ""

    def _give_back(self, one: Served, interfaces: Iterable[Interface]) -> None:
        what = f"release {one.target}"
        if one.mac and (one.key not in self.holding or self.served[one.key].target != one.target):
            self._carry(self._carriers.down, one)  # before the addresses go; see virtualmac
        try:
            self._addresses.release(one.target, interfaces)
            self.troubles.pop(what, None)
        except OSError as error:
            self._note(what, error)

    def _carry(self, switch: Callable[[str, int], None], one: Served) -> None:
        try:
            switch(one.key.device, one.key.vhid)
            self.troubles.pop(one.target, None)
        except OSError as error:
            self._note(one.target, error)

    def _announce(self, key: Key, interfaces: tuple[Interface, ...] = ()) -> None:
        what = f"announce {key}"
        one = self.served[key]
        try:
            self._announcer.announce(one.target, interfaces or one.interfaces)
            self.troubles.pop(what, None)
        except OSError as error:
            self._note(what, error)

    def _probe(self, key: Key) -> None:
        confirmed = self._confirmed.pop(key, set())
        self.conflicts[key] = {one: text for one, text in self.conflicts.get(key, {}).items() if one in confirmed}
        del self._probe_in[key]
        if confirmed:
            self._probe_in[key] = PROBE_AGAIN
        try:
            self._announcer.probe(self.served[key].target, self.served[key].interfaces)
        except OSError as error:
            log.info("%s: %s", key, _text(error))

    def _send(self, key: Key, advbase: int, advskew: int) -> SendResult:
        one = self.served[key]
        counter = self._counter.next()
        advert = Advert(key.vhid, advskew, advbase, 0, counter, one.keyring.sign(counter))
        # A farewell has the device's own MAC: it may cross the next MASTER's announcement, and lead switches back.
        mac = b"" if advbase == FAREWELL else one.mac
        why = self.devices[key.device].send(key.vhid, counter, encode(advert), one.unicast, mac)
        return SendResult(key.device, not why, why)

    def _note(self, what: str, error: OSError) -> None:
        text = _text(error)
        if self.troubles.get(what) != text:
            log.warning("%s", text)
        self.troubles[what] = text

    def _bequeath(self) -> None:
        held: dict[str, tuple[str, ...]] = {}
        partings = []
        for key, wanted in self.holding.items():
            one = self.served[key]
            held[one.target] = (*held.get(one.target, ()), *map(str, wanted))
            wire = one.settings.wire_set
            sources = tuple(map(str, self.devices[key.device].sources))
            partings.append(Parting(key.device, key.vhid, wire.addresses, wire.password, sources, one.settings.unicast))
        patience_s = min((self.served[key].patience_s for key in self.holding), default=PATIENCE_S)
        self._leave(Will(max(patience_s, PATIENCE_LEAST_S), held, tuple(partings), self.syncs))


def _placed(one: Served) -> tuple[str, tuple[Interface, ...]]:
    return one.target, one.interfaces


def _text(error: OSError) -> str:
    return str(error) if isinstance(error, SyncsrvError) else (error.strerror or str(error)).lower()


def _listed(addresses: Iterable[Interface]) -> str:
    return ", ".join(sorted(map(str, addresses)))
