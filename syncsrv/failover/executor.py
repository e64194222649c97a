"""Executes the will of an agent that died: its farewells, then its addresses; by sockets that are open before."""

from __future__ import annotations

import ipaddress
import logging
import os
import select
import socket
from collections.abc import Mapping, Sequence

from syncsrv.carp.auth import VipSet, digest
from syncsrv.carp.packet import FAREWELL, Advert, encode
from syncsrv.carp.timing import FAREWELL_GAP_S, FAREWELLS
from syncsrv.clock import Clock
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.counting import Counter
from syncsrv.failover.rawsock import RawWire
from syncsrv.failover.served import devices_of, vip_set
from syncsrv.failover.settings import SetSettings, Settings
from syncsrv.failover.virtualmac import KernelCarriers
from syncsrv.failover.will import Parting, Will

log = logging.getLogger(__name__)


class Executor:
    """The guardian's hands.

    Args:
        clock: monotonic.
        base: of the counters; see ``counting``.

    Raises:
        OSError: the kernel does not let itself be asked.
    """

    def __init__(self, clock: Clock, base: int) -> None:
        self._addresses = KernelAddresses()
        self._carriers = KernelCarriers(self._addresses)
        self._wires: dict[str, RawWire] = {}
        self._sets: dict[tuple[str, int], VipSet] = {}
        self._counter = Counter(clock, base)

    def sweep(self, found: Settings) -> None:
        """Remove what an earlier process left behind: it is nobody's, until an agent becomes MASTER."""
        self.dismantle()
        for device in devices_of(found):
            ours = [ipaddress.ip_interface(one) for vip in found.vips if vip.device == device for one in vip.addresses]
            try:
                there = self._addresses.held(device)
                there |= {one.interface for one in self._addresses.links.assigned(device)}.intersection(ours)
                self._addresses.sweep(device, ())
                self._addresses.release(device, ours)
            except OSError as error:
                log.warning("%s", error)
            else:
                if there:
                    log.warning("removed from %s what was left there: %s", device, ", ".join(sorted(map(str, there))))

    def dismantle(self) -> None:
        """Remove every device with a group's MAC; no agent lives."""
        self.take_in()
        try:
            gone = self._carriers.sweep()
        except OSError as error:
            log.warning("cannot remove the devices with a MAC of their own: %s", (error.strerror or str(error)).lower())
        else:
            if gone:
                log.warning("removed what was left there: %s", ", ".join(gone))

    def prepare(self, will: Will) -> None:
        """Open and work out now what its execution will need."""
        wanted = {parting.device for parting in will.partings}
        for device in set(self._wires) - wanted:
            self._wires.pop(device).close()
        for device in wanted - set(self._wires):
            self._wires[device] = RawWire(device)
            for handle in self._wires[device].filenos():  # nobody reads there: let the kernel keep nothing
                with socket.socket(fileno=os.dup(handle)) as one:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        for parting in will.partings:
            self._sets[parting.device, parting.vhid] = vip_set(
                parting.vhid, SetSettings(parting.addresses, parting.password)
            )

    def execute(self, will: Will) -> str:
        """Say farewell for what was MASTER, take all addresses away, and say it again: a farewell can be lost.

        Returns:
            What was done, for people; empty where there was nothing to do.
        """
        self._farewell(will.partings)
        removed = self._remove(will.held)
        for _ in range(FAREWELLS - 1 if will.partings else 0):
            select.select([], [], [], FAREWELL_GAP_S)  # there is nothing else to do, so nothing else to wait for
            self._farewell(will.partings)
        done = [f"said farewell for vhid {parting.vhid} on {parting.device}" for parting in will.partings]
        return ", ".join(done + [f"removed {address} from {device}" for device, address in removed])

    def filenos(self) -> Sequence[int]:
        """Readable when the kernel reports something."""
        return self._addresses.filenos()

    def take_in(self) -> None:
        """Read what the kernel reports, so that the book of addresses is right when it is needed."""
        self._addresses.changed()

    def close(self) -> None:
        """Give the sockets back."""
        for wire in self._wires.values():
            wire.close()
        self._carriers.close()
        self._addresses.close()

    def _farewell(self, partings: Sequence[Parting]) -> None:
        for parting in partings:
            counter = self._counter.next()
            signed = digest(self._sets[parting.device, parting.vhid], counter)
            data = encode(Advert(parting.vhid, FAREWELL, FAREWELL, 0, counter, signed))
            sources = [ipaddress.ip_address(one) for one in parting.sources]
            named = [ipaddress.ip_address(one) for one in parting.unicast]
            others = [one for one in named if one not in sources]
            if named and not others:
                continue
            try:
                self._wires[parting.device].send(data, sources, others)
            except OSError as error:
                log.warning("vhid %d on %s: its farewell did not go out: %s", parting.vhid, parting.device, error)

    def _remove(self, held: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
        removed = []
        for device, written in held.items():
            interfaces = [ipaddress.ip_interface(one) for one in written]
            self.take_in()
            there = {one.interface for one in self._addresses.links.assigned(device)}
            try:
                self._carriers.switch_off(device)
                self._addresses.release(device, interfaces)
                removed += [(device, str(one)) for one in interfaces if one in there]
            except OSError as error:
                log.error("%s; the kernel removes it when its lifetime ends", error)
        return removed
