"""The group's own MAC, 00:00:5e:00:01:VHID: a macvlan on the device that carries the addresses while we are MASTER.

Neighbours then keep what they know when the MASTER changes; only the switches learn. The macvlan is switched off in
BACKUP, so that nobody answers with the MAC of a group that another node serves. The addresses lie on it without their
prefix: the device below has the routes.

What Linux would do otherwise, and why it does not: the device below answers ARP for every address of the host, and asks
in the name of each, with its own MAC (arp_ignore 1 and arp_announce 2 there, for good); a strict reverse path check
drops what came in by the macvlan (2, loose, on it: the kernel takes the higher one of ``all`` and the device's); a
link-local address made of the MAC would be on two nodes (addr_gen_mode none); and router advertisements would make
routes over it (accept_ra 0). accept_local is left alone: with it a client that is a node itself would not reach the
other one (keepalived sets it).
"""

from __future__ import annotations

import errno
import logging
import struct
from pathlib import Path

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.addresses import KernelAddresses
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL, Requests, attribute
from syncsrv.failover.served import carrier_of, mac_of

log = logging.getLogger(__name__)

_AF_INET = 2
_AF_INET6 = 10
_IFLA_AF_SPEC = 26
_IFLA_INET_CONF = 1
_IFLA_INET6_ADDR_GEN_MODE = 8
_GEN_MODE_NONE = 1
_RP_FILTER = 8
_ARP_ANNOUNCE = 18
_ARP_IGNORE = 19
_LOOSE = 2
_ONLY_OWN = 1
_BEST_OWN = 2
_LINK = struct.Struct("=BxHiII")
_U32 = struct.Struct("=I")


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

    def up(self, device: str, vhid: int) -> None:
        """Have the macvlan of a vhid there and switched on.

        Raises:
            OSError: the kernel refused.
        """
        name = carrier_of(device, vhid)
        made = self._made(name, device, vhid)
        if not made.up:
            self._requests.ask(rt.RTM_NEWLINK, rt.link_flags(made.index, up=True))

    def down(self, device: str, vhid: int) -> None:
        """Switch it off; no error where it is not there.

        Raises:
            OSError: the kernel refused.
        """
        found = self._found(carrier_of(device, vhid))
        if found is not None and found.up:
            self._requests.ask(rt.RTM_NEWLINK, rt.link_flags(found.index, up=False))

    def remove(self, device: str, vhid: int) -> None:
        """Delete it; no error where it is not there.

        Raises:
            OSError: the kernel refused.
        """
        found = self._found(carrier_of(device, vhid))
        if found is not None and found.kind == "macvlan":
            self._requests.ask(rt.RTM_DELLINK, rt.old_link(found.index))

    def _found(self, name: str) -> rt.Link | None:
        self._addresses.link(name)  # takes in what the kernel reported
        return self._addresses.links.link(name)

    def _made(self, name: str, device: str, vhid: int) -> rt.Link:
        found = self._found(name)
        if found is not None and found.mac == mac_of(vhid):
            return found
        below = self._found(device)
        if below is None:
            raise OSError(errno.ENODEV, f"there is no device {device}")
        for setting, value in ((_ARP_IGNORE, _ONLY_OWN), (_ARP_ANNOUNCE, _BEST_OWN)):
            self._requests.ask(rt.RTM_NEWLINK, _settings4(below.index, setting, value))
        body = rt.new_macvlan(name, below.index, mac_of(vhid))
        self._requests.ask(rt.RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)
        made = self._found(name)
        if made is None:
            raise OSError(errno.ENODEV, f"{name} was made and is not there")
        for setting, value in ((_RP_FILTER, _LOOSE), (_ARP_IGNORE, _ONLY_OWN)):
            self._requests.ask(rt.RTM_NEWLINK, _settings4(made.index, setting, value))
        self._quiet6(name, made.index)
        log.info("made %s on %s, with the MAC of vhid %d", name, device, vhid)
        return made

    def _quiet6(self, name: str, index: int) -> None:
        mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_GEN_MODE_NONE,)))
        spec = attribute(_IFLA_AF_SPEC, attribute(_AF_INET6, mode))
        try:
            self._requests.ask(rt.RTM_NEWLINK, _LINK.pack(0, 0, index, 0, 0) + spec)
            Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").write_text("0")
        except OSError as error:  # a kernel without IPv6
            log.info("%s: %s", name, (error.strerror or str(error)).lower())

    def close(self) -> None:
        """Give the socket back; the devices stay as they are."""
        self._requests.close()


def _settings4(index: int, setting: int, value: int) -> bytes:
    """The body of an RTM_NEWLINK that sets one of a device's IPv4 settings (IPV4_DEVCONF_…)."""
    conf = attribute(_IFLA_INET_CONF, attribute(setting, _U32.pack(value)))
    return _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_AF_SPEC, attribute(_AF_INET, conf))
