"""Which devices there are, whether they have link, which addresses they have: kept by the kernel's reports. Pure.

Link state comes from netlink only: /sys shows another network namespace's devices to a process that was moved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from syncsrv.failover.rtmessages import (
    IFA_F_SECONDARY,
    OURS,
    AddressReport,
    Assigned,
    ForwardingReport,
    Link,
    LinkReport,
    Report,
)

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


class Links:
    """The devices of one network namespace, by name; a name's number changes when it is made again."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._assigned: dict[tuple[int, Interface], Assigned] = {}
        self._forwarding: dict[int, bool] = {}

    def restart(self, reports: Iterable[Report]) -> bool:
        """Forget everything, then take these; whether it differs from what was known."""
        before = self._links, self._told(), self._forwarding
        self._links, self._assigned, self._forwarding = {}, {}, {}
        self.take(reports)
        return before != (self._links, self._told(), self._forwarding)

    def take(self, reports: Iterable[Report]) -> bool:
        """Take in what changed, in the kernel's order.

        Returns:
            Whether anything is different now; an address whose lifetime was renewed is not.
        """
        changed = False
        for report in reports:
            match report:
                case LinkReport(link, gone):
                    changed |= self._forget(link.index) if gone else self._links.get(link.index) != link
                    if not gone:
                        self._links[link.index] = link
                case AddressReport(assigned, gone):
                    key = (assigned.index, assigned.interface)
                    before = self._assigned.pop(key, None)
                    if not gone:
                        self._assigned[key] = assigned
                    changed |= _lasting(before) != (None if gone else _lasting(assigned))
                case ForwardingReport(index, forwarding):
                    changed |= self._forwarding.get(index) != forwarding
                    self._forwarding[index] = forwarding
        return changed

    def _forget(self, index: int) -> bool:
        known = self._links.pop(index, None) is not None
        self._forwarding.pop(index, None)
        for key in [key for key in self._assigned if key[0] == index]:
            del self._assigned[key]
        return known

    def _told(self) -> dict[tuple[int, Interface], Assigned | None]:
        return {key: _lasting(one) for key, one in self._assigned.items()}

    def link(self, device: str) -> Link | None:
        """The device with this name; None where there is none."""
        return next((link for link in self._links.values() if link.name == device), None)

    def all(self) -> tuple[Link, ...]:
        """Every device."""
        return tuple(self._links.values())

    def trouble(self, device: str) -> str:
        """Why nothing can be sent or received on a device; empty where it can."""
        link = self.link(device)
        if link is None:
            return f"there is no device {device}"
        if not link.up:
            return f"{device} is switched off"
        return "" if link.carrier else f"{device} has no link"

    def macs(self) -> frozenset[bytes]:
        """Hardware addresses of all devices: an answer from one of them is our own, by whichever cable."""
        return frozenset(link.mac for link in self._links.values() if any(link.mac))

    def forwards(self, device: str) -> bool:
        """Whether this host is an IPv6 router on the device."""
        link = self.link(device)
        return link is not None and self._forwarding.get(link.index, False)

    def assigned(self, device: str) -> tuple[Assigned, ...]:
        """All addresses of a device, in the kernel's order."""
        link = self.link(device)
        return tuple(one for one in self._assigned.values() if link is not None and one.index == link.index)

    def assigned_below(self, device: str) -> tuple[Assigned, ...]:
        """All addresses of the device that a macvlan lies on; of another device none."""
        link = self.link(device)
        if link is None or link.kind != "macvlan":
            return ()
        return tuple(one for one in self._assigned.values() if one.index == link.below)

    def sources(self, device: str, vips: Iterable[Interface], named: Collection[Address] = ()) -> tuple[Address, ...]:
        """The device's own addresses that CARP packets can come from.

        Args:
            device: its name.
            vips: addresses that wander and therefore are nobody's own, whoever put them there.
            named: better than others: peers that name their senders listen to no other one.

        Returns:
            At most one IPv4 address, one link-local IPv6 address and one wider one, in this order: the first of a
            family goes with multicast; a unicast packet needs one that reaches as far as its destination.
        """
        wandering = {vip.ip for vip in vips}
        own = [
            one
            for one in self.assigned(device)
            if one.usable and one.mark != OURS and one.interface.ip not in wandering
        ]
        own.sort(key=lambda one: (one.interface.ip not in named, one.flags & IFA_F_SECONDARY))
        found: dict[tuple[int, bool], Address] = {}
        for one in own:
            address = one.interface.ip
            found.setdefault((address.version, address.version == 6 and not address.is_link_local), address)
        return tuple(found[key] for key in sorted(found))


def _lasting(assigned: Assigned | None) -> Assigned | None:
    """Without what only the passing of time changes."""
    if assigned is None or assigned.valid_s is None:
        return assigned
    return replace(assigned, valid_s=0)
