"""The group's own MAC, 00:00:5e:00:01:VHID: a macvlan on the device that carries the addresses while we are MASTER.

Neighbours then keep what they know when the MASTER changes; only the switches learn, from adverts, which have this MAC
as their source (to named peers: from an announcement each second). In BACKUP the macvlan is there and switched off, so
that nothing answers with the MAC of a group that another node serves; and it is switched off before its addresses go,
since the kernel would report their multicast groups as left, from that MAC, and lead the switches to the wrong node.

What Linux would do otherwise, and why it does not: the device below answers ARP for every address of the host, and asks
in the name of each, with its own MAC (arp_ignore 1 and arp_announce 2 there, for good); a strict reverse path check
drops what came in by the macvlan (2, loose, on it: the kernel takes the higher one of ``all`` and the device's); a
link-local address made of the MAC would be on two nodes (addr_gen_mode none); router advertisements would make
addresses and routes on it (accept_ra 0). Whether it forwards it has from the device below. Where that device has the
network of an address, its routes are enough, and the macvlan gets none. accept_local stays off: with it a killed node
answers its successor's announcement, and takes the MAC back (keepalived sets it).

Limits. What comes in for an address comes in by the macvlan: a packet filter's rules see its name and not that of the
device below. What goes out goes by the routes, so from the device's own MAC, as FreeBSD does; only answers to ARP and
neighbour solicitation, announcements and adverts have the group's. A switch that lets a port have one MAC only, and
most clouds and wireless networks, drop it. Another machine that has the group's MAC too cannot be told from our own.
The two ARP settings of the device below stay when the process ends.
"""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL, KernelError, Requests
from syncsrv.failover.served import carrier_of, mac_of

log = logging.getLogger(__name__)

_RP_FILTER = 8
_ARP_ANNOUNCE = 18
_ARP_IGNORE = 19
_LOOSE = 2
_ONLY_OWN = 1
_BEST_OWN = 2
_SETTINGS = Path("/proc/sys/net")

_REMEDIES = {
    errno.EPERM: "the carp process needs CAP_NET_ADMIN",
    errno.EOPNOTSUPP: "load the kernel's module macvlan, or write `mac: real`",
    errno.EINVAL: "only an Ethernet device can carry a second MAC: write `mac: real`",
    errno.EBUSY: "name the bridge or the bond under `interfaces` in node.yaml, not its member",
    errno.EEXIST: "see `ip link show {name}`: another program made it; remove it there",
    errno.EADDRINUSE: "another device on this host has that MAC (VRRP with the same id?): give the vip another vhid",
    errno.EROFS: "let the carp process write below /proc/sys/net, or write `mac: real`",
}
_OTHER_REMEDY = "see the kernel's log, or write `mac: real`"


class KernelCarriers:
    """Makes, switches and removes the macvlans (ports.Carriers).

    Args:
        addresses: whose book of devices is asked.

    Raises:
        OSError: the kernel does not let itself be asked.
    """

    def __init__(self, addresses: KernelAddresses) -> None:
        self._addresses = addresses
        self._requests = Requests()

    def prepare(self, device: str, vhid: int) -> None:
        """Have the macvlan of a vhid there; a new one is switched off.

        Raises:
            KernelError: the kernel refused, in which case there is none; ENODEV: there is no such device.
        """
        try:
            self._made(device, vhid)
        except OSError as error:
            raise _refused("make", device, vhid, error) from error

    def up(self, device: str, vhid: int) -> None:
        """Have it there and switched on.

        Raises:
            KernelError: the kernel refused.
        """
        try:
            made = self._made(device, vhid)
            if not made.up:
                self._forward_as(device, made.name)
                self._requests.ask(rt.RTM_NEWLINK, rt.link_flags(made.index, up=True))
        except OSError as error:
            raise _refused("switch on", device, vhid, error) from error

    def down(self, device: str, vhid: int) -> None:
        """Switch it off; no error where it is not there.

        Raises:
            KernelError: the kernel refused.
        """
        try:
            self.switch_off(carrier_of(device, vhid))
        except OSError as error:
            raise _refused("switch off", device, vhid, error) from error

    def switch_off(self, name: str) -> None:
        """Switch one off by its name; another device, or none, is left alone.

        Raises:
            OSError: the kernel refused.
        """
        found = self._found(name)
        if found is not None and found.up and _is_ours(found):
            self._requests.ask(rt.RTM_NEWLINK, rt.link_flags(found.index, up=False))

    def remove(self, device: str, vhid: int) -> None:
        """Delete it; no error where it is not there.

        Raises:
            KernelError: the kernel refused.
        """
        found = self._found(carrier_of(device, vhid))
        if found is not None and _is_ours(found):
            try:
                self._delete(found)
            except OSError as error:
                raise _refused("remove", device, vhid, error) from error

    def sweep(self) -> tuple[str, ...]:
        """Delete every one that any process of ours made; what they were called.

        Raises:
            OSError: the kernel refused.
        """
        ours = tuple(one for one in self._addresses.links.all() if _is_ours(one))
        for one in ours:
            self._delete(one)
        return tuple(one.name for one in ours)

    def _delete(self, link: rt.Link) -> None:
        try:
            self._requests.ask(rt.RTM_DELLINK, rt.old_link(link.index))
        except OSError as error:
            if error.errno != errno.ENODEV:  # the device below went, and it with it
                raise

    def _found(self, name: str) -> rt.Link | None:
        self._addresses.link(name)  # takes in what the kernel reported
        return self._addresses.links.link(name)

    def _made(self, device: str, vhid: int) -> rt.Link:
        name, below = carrier_of(device, vhid), self._found(device)
        if below is None:
            raise OSError(errno.ENODEV, f"there is no device {device}")
        found = self._found(name)
        if found is not None and _is_ours(found) and found.mac == mac_of(vhid) and found.below == below.index:
            return found
        for setting, value in ((_ARP_IGNORE, _ONLY_OWN), (_ARP_ANNOUNCE, _BEST_OWN)):
            self._requests.ask(rt.RTM_NEWLINK, rt.setting4(below.index, setting, value))
        body = rt.new_macvlan(name, below.index, mac_of(vhid))
        self._requests.ask(rt.RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)
        made = self._found(name)
        if made is None:
            raise OSError(errno.ENODEV, f"{name} was made and is not there")
        try:
            for setting, value in ((_RP_FILTER, _LOOSE), (_ARP_IGNORE, _ONLY_OWN), (_ARP_ANNOUNCE, _BEST_OWN)):
                self._requests.ask(rt.RTM_NEWLINK, rt.setting4(made.index, setting, value))
            self._quiet6(made)
        except OSError:
            self._delete(made)
            raise
        log.info("made %s on %s, with the MAC of vhid %d", name, device, vhid)
        return made

    def _quiet6(self, made: rt.Link) -> None:
        if not Path(_SETTINGS, "ipv6/conf", made.name).exists():  # a kernel without IPv6
            return
        self._requests.ask(rt.RTM_NEWLINK, rt.no_link_local(made.index))
        _set(f"ipv6/conf/{made.name}/accept_ra", "0")

    def _forward_as(self, device: str, name: str) -> None:
        """A router is one on both devices: packets to the group's MAC come in by the macvlan."""
        for family in ("ipv4", "ipv6"):
            below = Path(_SETTINGS, family, "conf", device, "forwarding")
            if below.exists():
                _set(f"{family}/conf/{name}/forwarding", below.read_text().strip())

    def close(self) -> None:
        """Give the socket back; the devices stay as they are."""
        self._requests.close()


def _set(setting: str, value: str) -> None:
    """Below /proc/sys/net, which may be read-only and well all the same; it is that of this process's namespace."""
    path = Path(_SETTINGS, setting)
    if path.read_text().strip() != value:
        path.write_text(value)


def _is_ours(link: rt.Link) -> bool:
    """By kind, MAC and name together; keepalived has macvlans with such a MAC too, and other names."""
    vhid = link.mac[5] if len(link.mac) == 6 else 0
    return link.kind == "macvlan" and link.mac == mac_of(vhid) and link.name.startswith(carrier_of("", vhid))


def _refused(verb: str, device: str, vhid: int, error: OSError) -> KernelError:
    number = error.errno or errno.ETIMEDOUT
    name = carrier_of(device, vhid)
    why = (error.strerror or str(error)).lower()
    remedy = _REMEDIES.get(number, _OTHER_REMEDY).format(name=name)
    return KernelError(f"cannot {verb} {name}, with the MAC of vhid {vhid} on {device}: {why}", remedy, number)
