"""Virtual addresses on devices: what to add, renew and remove is decided first, purely, and then done.

An address has a lifetime, so that the kernel removes it when nobody renews it any more. It never touches what the
device has of its own: where the device has the prefix already, no route comes or goes with it.

Order matters within an IPv4 prefix: the first address of a prefix is its primary one, and when that goes the kernel
removes the others with it (unless promote_secondaries is set). A virtual address that came first, or was left over
when the device's own was removed for a moment, would take the host's own address away. Hence ``again``.
"""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.links import Address, Interface, Links
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_REPLACE, QUEUE_BYTES, Events, KernelError, Message, Requests

_log = logging.getLogger(__name__)

_REMEDIES = {
    errno.EPERM: "the carp process needs CAP_NET_ADMIN",
    errno.ENODEV: "see that the device exists, or correct `interfaces` in node.yaml",
    errno.EACCES: "IPv6 is switched off there: see sysctl net.ipv6.conf.{device}.disable_ipv6",
    errno.EEXIST: "another program put it there: remove it from the system's network configuration",
}
_OTHER_REMEDY = "see `ip address show dev {device}` and the kernel's log"


@dataclass(frozen=True, slots=True)
class Step:
    """An address to put on a device, with or without a route to its prefix."""

    interface: Interface
    prefix_route: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do on one device.

    Attributes:
        add: not there.
        renew: there; only their lifetime begins anew.
        again: there, but in a role that could cost the device its own address or a route: removed, then added.
        remove: ours, and not wanted (any more).
    """

    add: tuple[Step, ...] = ()
    renew: tuple[Step, ...] = ()
    again: tuple[Step, ...] = ()
    remove: tuple[Interface, ...] = ()


def decide(
    wanted: Iterable[Interface],
    present: Collection[rt.Assigned],
    asked: Collection[Interface],
    below: Iterable[rt.Assigned] = (),
) -> Plan:
    """What to do on a device for it to have exactly these addresses of ours.

    Args:
        wanted: what it is to have: a MASTER's addresses, nothing otherwise.
        present: what it has.
        asked: what we put there before; a kernel older than 5.18 does not keep our mark.
        below: what the device has that a macvlan lies on: routes to its prefixes are there already.
    """
    wanted = tuple(dict.fromkeys(wanted))
    wandering = {one.ip for one in (*wanted, *asked)}
    own = {one.interface.network for one in present if one.mark != rt.OURS and one.interface.ip not in wandering}
    routed = own | {one.interface.network for one in below if one.mark != rt.OURS and one.interface.ip not in wandering}
    there = {one.interface: one for one in present}
    add: list[Step] = []
    renew: list[Step] = []
    again: list[Step] = []
    for interface in wanted:
        step = Step(interface, prefix_route=interface.network not in routed)
        found = there.get(interface)
        if found is None:
            add.append(step)
        elif _misplaced(found, step, follows=interface.network in own):
            again.append(step)
        else:
            renew.append(step)
    remove = [
        one.interface
        for one in present
        if (one.mark == rt.OURS or one.interface in asked) and one.interface not in wanted
    ]
    return Plan(tuple(add), tuple(renew), tuple(again), tuple(remove))


def _misplaced(found: rt.Assigned, step: Step, *, follows: bool) -> bool:
    """IPv6 knows no first address, and its flags can be changed in place; neither is so with IPv4."""
    if found.interface.version == 6 or found.flags & rt.IFA_F_SECONDARY:
        return False
    return follows or step.prefix_route == bool(found.flags & rt.IFA_F_NOPREFIXROUTE)


class KernelAddresses:
    """The kernel's devices and addresses, in the network namespace of the thread that makes this (ports.Addresses).

    Args:
        queue_bytes: how many of the kernel's reports may wait.

    Raises:
        OSError: the kernel does not let itself be asked.
    """

    def __init__(self, queue_bytes: int = QUEUE_BYTES) -> None:
        self.links = Links()
        self.resyncs = 0
        """How often reports were lost and everything was read again."""
        self._events = Events(rt.GROUPS, queue_bytes)  # before the dump: what changes meanwhile is reported
        self._requests = Requests()
        self._asked: dict[str, set[Interface]] = {}
        self._held_on: dict[str, int] = {}
        self._dirty = False
        self._stale = False
        self.links.restart(self._dump())

    def filenos(self) -> Sequence[int]:
        """Of the kernel's reports."""
        return (self._events.fileno(),)

    def changed(self) -> bool:
        """Take in what the kernel reported; whether anything is different since this was last asked."""
        self._take_in()
        dirty, self._dirty = self._dirty, False
        return dirty

    def _take_in(self) -> None:
        reports = self._events.read()
        if reports.lost or self._stale:
            self.resyncs += 1
            _log.warning("reports of the kernel were lost; links and addresses are read again")
            self._events.read()  # older than the dump
            try:
                self._dirty |= self.links.restart(self._dump())
                self._stale = False
            except OSError as error:  # what was known is better than no agent; the next question tries again
                _log.warning("cannot read links and addresses again: %s", (error.strerror or str(error)).lower())
                self._stale = True
        else:
            self._dirty |= self.links.take(_parsed(reports.messages))

    def _dump(self) -> list[rt.Report]:
        messages = [
            *self._requests.dump(rt.RTM_GETLINK, rt.all_links()),
            *self._requests.dump(rt.RTM_GETADDR, rt.all_addresses()),
        ]
        try:
            messages += self._requests.dump(rt.RTM_GETNETCONF, rt.all_netconf())
        except OSError as error:  # a kernel without IPv6
            _log.info("cannot read the settings of IPv6: %s", error)
        return _parsed(messages)

    def link(self, device: str) -> str:
        """Why a device cannot be used; empty where it can."""
        self._take_in()
        return self.links.trouble(device)

    def sources(self, device: str, vips: Iterable[Interface], named: Collection[Address] = ()) -> Sequence[Address]:
        """Its own addresses; see Links.sources."""
        self._take_in()
        return self.links.sources(device, [*vips, *self._asked.get(device, ())], named)

    def held(self, device: str) -> frozenset[Interface]:
        """Which addresses of ours are on it: with our mark, also of an earlier process, or put there by this one."""
        self._take_in()
        asked = self._asked.get(device, set())
        return frozenset(
            one.interface for one in self.links.assigned(device) if one.mark == rt.OURS or one.interface in asked
        )

    def hold(self, device: str, addresses: Iterable[Interface], lifetime_s: float) -> None:
        """Put addresses on a device, or renew their lifetime.

        Args:
            device: its name.
            addresses: those of one vhid or of several; others of ours are left alone.
            lifetime_s: seconds until the kernel removes them by itself.

        Raises:
            KernelError: the kernel refused one; the others are there.
        """
        self._take_in()
        asked = self._asked.setdefault(device, set())
        if (link := self.links.link(device)) is not None:
            self._held_on[device] = link.index
        asked.update(wanted := tuple(addresses))
        plan = decide(wanted, self.links.assigned(device), asked, self.links.assigned_below(device))
        refused = self._each("move", device, [step.interface for step in plan.again], self._remove)
        routed = {step.interface: step.prefix_route for step in (*plan.again, *plan.add, *plan.renew)}

        added = {step.interface for step in plan.add}

        def put(device: str, index: int, interface: Interface) -> None:
            body = rt.new_address(index, interface, lifetime_s, prefix_route=routed[interface])
            self._requests.ask(rt.RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)
            if interface.version == 6 and interface in added:
                # Of these the kernel reports only a moment later (addrconf_dad_work), and whoever asks now must know.
                flags = rt.IFA_F_NODAD | rt.IFA_F_DEPRECATED | (0 if routed[interface] else rt.IFA_F_NOPREFIXROUTE)
                assigned = rt.Assigned(index, interface, flags, math.ceil(lifetime_s), rt.OURS)
                self._dirty |= self.links.take([rt.AddressReport(assigned, gone=False)])

        refused += self._each("put", device, list(routed), put)
        if refused:
            raise refused[0]

    def release(self, device: str, addresses: Iterable[Interface]) -> None:
        """Take addresses away, whoever put them there; nothing happens where they or the device are not there.

        Raises:
            KernelError: the kernel refused one; the others are gone.
        """
        self._take_in()
        gone = set(addresses)
        called = self._called(device)
        present = {one.interface: one for one in self.links.assigned(called)}
        # Secondary ones first, so that no primary takes one along that stays.
        order = sorted(gone & set(present), key=lambda one: not present[one].flags & rt.IFA_F_SECONDARY)
        refused = self._each("take", called, order, self._remove)
        self._asked.get(device, set()).difference_update(gone)
        if refused:
            raise refused[0]

    def _called(self, device: str) -> str:
        """What the device is called now that addresses were put on: it may have been renamed, and they are on it still,
        and answered for there until their lifetime ends.
        """
        held_on = self._held_on.get(device)
        return next((link.name for link in self.links.all() if link.index == held_on), device)

    def sweep(
        self, device: str, keep: Iterable[Interface], elsewhere: Iterable[Interface] = ()
    ) -> frozenset[Interface]:
        """Remove what is ours on a device and not to be kept: strays of a process that ended without its clean-up.

        Args:
            device: its name.
            keep: what this node serves.
            elsewhere: what another node serves: removed whoever put it here, and with any length of its prefix.

        Returns:
            What was removed.

        Raises:
            KernelError: the kernel refused one; the others are gone.
        """
        self._take_in()
        present = self.links.assigned(device)
        moving = {one.ip for one in elsewhere} - {one.ip for one in keep}
        strays = {*decide(keep, present, self._asked.get(device, set())).remove}
        strays |= {one.interface for one in present if one.interface.ip in moving}
        self.release(device, strays)
        return frozenset(strays)

    def _each(
        self, verb: str, device: str, interfaces: Iterable[Interface], act: Callable[[str, int, Interface], None]
    ) -> list[KernelError]:
        refused = []
        for interface in interfaces:
            link = self.links.link(device)
            try:
                if link is None:
                    raise OSError(errno.ENODEV, "there is no such device")
                act(device, link.index, interface)
            except OSError as error:
                refused.append(_refused(verb, device, interface, error))
        return refused

    def _remove(self, device: str, index: int, interface: Interface) -> None:
        present = self.links.assigned(device)
        found = next((one for one in present if one.interface == interface), None)
        leads = found is not None and interface.version == 4 and not found.flags & rt.IFA_F_SECONDARY
        followed = any(one.interface != interface and one.interface.network == interface.network for one in present)
        if leads and followed:
            self._remove_leader(index, interface)
        else:
            self._ask_to_remove(index, interface)
        self._take_in()

    def _remove_leader(self, index: int, interface: Interface) -> None:
        """Remove the first IPv4 address of a prefix and have the kernel keep the others."""
        promoted = any(rt.promotes(one, index) for one in self._requests.dump(rt.RTM_GETLINK, rt.all_links()))
        if not promoted:
            self._requests.ask(rt.RTM_NEWLINK, rt.promote_secondaries(index, promote=True))
        try:
            self._ask_to_remove(index, interface)
        finally:
            if not promoted:
                self._requests.ask(rt.RTM_NEWLINK, rt.promote_secondaries(index, promote=False))

    def _ask_to_remove(self, index: int, interface: Interface) -> None:
        try:
            self._requests.ask(rt.RTM_DELADDR, rt.old_address(index, interface))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):  # gone is what was wanted
                raise

    def close(self) -> None:
        """Give the sockets back; addresses stay as they are."""
        self._events.close()
        self._requests.close()


def _parsed(messages: Iterable[Message]) -> list[rt.Report]:
    return [report for message in messages if (report := rt.parse(message)) is not None]


def _refused(verb: str, device: str, interface: Interface, error: OSError) -> KernelError:
    number = error.errno or errno.ETIMEDOUT
    why = error.strerror or str(error)
    remedy = _REMEDIES.get(number, _OTHER_REMEDY).format(device=device)
    joined = {"put": "put {} on {}", "take": "take {} from {}", "move": "move {} behind the own address of {}"}[verb]
    return KernelError(f"cannot {joined.format(interface, device)}: {why}", remedy, number)
