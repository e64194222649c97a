"""What rtnetlink's messages about links, addresses and forwarding say, and how to write them. Pure.

Structures and numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and netconf.h.
"""

from __future__ import annotations

import math
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from syncsrv.failover.netlink import Message, attribute, attributes

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWNETCONF = 80
RTM_DELNETCONF = 81
RTM_GETNETCONF = 82
GROUPS = (1, 5, 9, 25)
"""Reports of links, of IPv4 and IPv6 addresses, and of the settings of IPv6 devices."""

IFF_UP = 0x1
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_LINK = 5
_IFLA_LINKINFO = 18
_IFLA_AF_SPEC = 26
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INET_CONF = 1
_IFLA_MACVLAN_MODE = 1
_MACVLAN_MODE_BRIDGE = 4
_IPV4_DEVCONF_PROMOTE_SECONDARIES = 20
_IFLA_INET6_ADDR_GEN_MODE = 8
_IN6_ADDR_GEN_MODE_NONE = 1

IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_NOPREFIXROUTE = 0x200
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_BROADCAST = 4
_IFA_CACHEINFO = 6
_IFA_FLAGS = 8
_IFA_PROTO = 11
FOREVER = 0xFFFFFFFF

OURS = 0xC4
"""The mark on our addresses (IFA_PROTO, kernel 5.18): 0 to 3 are the kernel's, the rest is anybody's."""

_NETCONFA_IFINDEX = 1
_NETCONFA_FORWARDING = 2

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_CACHEINFO = struct.Struct("=IIII")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Link:
    """A network device.

    Attributes:
        index: its number; another one when it was deleted and made again.
        name: what people call it.
        flags: IFF_…
        mac: its hardware address; empty where it has none.
        kind: ``vlan``, ``bridge``, ``macvlan`` …; empty for hardware.
        below: the number of the device that it lies on; 0 where it lies on none.
    """

    index: int
    name: str
    flags: int
    mac: bytes
    kind: str = ""
    below: int = 0

    @property
    def up(self) -> bool:
        """An administrator switched it on."""
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """The layer below works: a cable, a member of the bond."""
        return bool(self.flags & IFF_LOWER_UP)


@dataclass(frozen=True, slots=True)
class Assigned:
    """An address on a device.

    Attributes:
        index: the device's number.
        interface: the address with the length of its prefix.
        flags: IFA_F_…
        valid_s: seconds until the kernel removes it, as it said then; None: never.
        mark: who put it there (IFA_PROTO); 0 where the kernel does not say.
    """

    index: int
    interface: Interface
    flags: int
    valid_s: int | None = None
    mark: int = 0

    @property
    def usable(self) -> bool:
        """Packets may have it as their source: duplicate address detection is not under way and has not failed."""
        return not self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)


@dataclass(frozen=True, slots=True)
class LinkReport:
    """A link is as given, or is gone."""

    link: Link
    gone: bool


@dataclass(frozen=True, slots=True)
class AddressReport:
    """An address is as given, or is gone."""

    assigned: Assigned
    gone: bool


@dataclass(frozen=True, slots=True)
class ForwardingReport:
    """Whether the device with this number forwards IPv6 packets, which makes this host a router on it (RFC 4861)."""

    index: int
    forwarding: bool


Report = LinkReport | AddressReport | ForwardingReport


def parse(message: Message) -> Report | None:
    """What a message reports; None for what failover does not look at, and for what is too short."""
    if message.kind in (RTM_NEWLINK, RTM_DELLINK):
        return _parse_link(message)
    if message.kind in (RTM_NEWADDR, RTM_DELADDR):
        return _parse_address(message)
    if message.kind == RTM_NEWNETCONF:
        return _parse_netconf(message)
    return None


def _parse_link(message: Message) -> LinkReport | None:
    if len(message.body) < _LINK.size:
        return None
    family, _, index, flags, _ = _LINK.unpack_from(message.body)
    if family != socket.AF_UNSPEC:  # AF_BRIDGE: a port left its bridge, the device is still there
        return None
    found = attributes(message.body[_LINK.size :])
    name = found.get(_IFLA_IFNAME, b"").rstrip(bytes(1)).decode(errors="surrogateescape")
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"").rstrip(bytes(1))
    below = found.get(_IFLA_LINK, b"")
    link = Link(
        index,
        name,
        flags,
        found.get(_IFLA_ADDRESS, b""),
        kind.decode(errors="replace"),
        _U32.unpack(below)[0] if len(below) == _U32.size else 0,
    )
    return LinkReport(link, message.kind == RTM_DELLINK)


def _parse_address(message: Message) -> AddressReport | None:
    if len(message.body) < _ADDRESS.size:
        return None
    family, length, flags, _, index = _ADDRESS.unpack_from(message.body)
    found = attributes(message.body[_ADDRESS.size :])
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")  # on a point-to-point link IFA_ADDRESS is the other end
    interface: Interface
    if family == socket.AF_INET and len(raw) == 4:
        interface = IPv4Interface((raw, length))
    elif family == socket.AF_INET6 and len(raw) == 16:
        interface = IPv6Interface((raw, length))
    else:
        return None
    if len(wide := found.get(_IFA_FLAGS, b"")) == _U32.size:
        (flags,) = _U32.unpack(wide)
    valid_s = FOREVER
    if len(times := found.get(_IFA_CACHEINFO, b"")) == _CACHEINFO.size:
        _, valid_s, _, _ = _CACHEINFO.unpack(times)
    mark = found.get(_IFA_PROTO, b"\0")[0]
    assigned = Assigned(index, interface, flags, None if valid_s == FOREVER else valid_s, mark)
    return AddressReport(assigned, message.kind == RTM_DELADDR)


def _parse_netconf(message: Message) -> ForwardingReport | None:
    if message.body[:1] != bytes([socket.AF_INET6]):
        return None
    found = attributes(message.body[4:])
    if _NETCONFA_IFINDEX not in found or _NETCONFA_FORWARDING not in found:
        return None
    (index,) = _I32.unpack(found[_NETCONFA_IFINDEX])
    return ForwardingReport(index, _I32.unpack(found[_NETCONFA_FORWARDING])[0] != 0)


def all_links() -> bytes:
    """The body of a dump of links (RTM_GETLINK)."""
    return _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)


def all_addresses() -> bytes:
    """The body of a dump of addresses of both families (RTM_GETADDR)."""
    return _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)


def all_netconf() -> bytes:
    """The body of a dump of the settings of IPv6 devices (RTM_GETNETCONF)."""
    return struct.pack("=Bxxx", socket.AF_INET6)


def new_address(index: int, interface: Interface, lifetime_s: float, *, prefix_route: bool) -> bytes:
    """The body of an RTM_NEWADDR that puts one of our addresses on a device, or renews it.

    An IPv6 address is put there deprecated (preferred lifetime 0): what the host itself sends has another source.
    Duplicate address detection is left out: it would keep the address unused for a second, and the election has
    already decided whose it is.

    Args:
        index: the device's number.
        interface: the address with the length of its prefix.
        lifetime_s: seconds until the kernel removes it by itself; rounded up to whole ones.
        prefix_route: whether a route to the prefix comes with it.
    """
    flags = 0 if prefix_route else IFA_F_NOPREFIXROUTE
    valid_s = min(math.ceil(lifetime_s), FOREVER - 1)
    raw = interface.packed
    parts = [attribute(_IFA_LOCAL, raw), attribute(_IFA_ADDRESS, raw)]
    if isinstance(interface, IPv6Interface):
        family, preferred_s = socket.AF_INET6, 0
        flags |= IFA_F_NODAD
    else:
        family, preferred_s = socket.AF_INET, valid_s
        if interface.network.prefixlen < 31:
            parts.append(attribute(_IFA_BROADCAST, interface.network.broadcast_address.packed))
    parts.append(attribute(_IFA_CACHEINFO, _CACHEINFO.pack(preferred_s, valid_s, 0, 0)))
    parts.append(attribute(_IFA_FLAGS, _U32.pack(flags)))
    parts.append(attribute(_IFA_PROTO, bytes([OURS])))
    return _ADDRESS.pack(family, interface.network.prefixlen, flags & 0xFF, 0, index) + b"".join(parts)


def old_address(index: int, interface: Interface) -> bytes:
    """The body of an RTM_DELADDR."""
    family = socket.AF_INET6 if interface.version == 6 else socket.AF_INET
    head = _ADDRESS.pack(family, interface.network.prefixlen, 0, 0, index)
    return head + attribute(_IFA_LOCAL, interface.packed) + attribute(_IFA_ADDRESS, interface.packed)


def promote_secondaries(index: int, promote: bool) -> bytes:
    """The body of an RTM_NEWLINK that says what becomes of a prefix's other IPv4 addresses when its first one goes."""
    return setting4(index, _IPV4_DEVCONF_PROMOTE_SECONDARIES, promote)


def setting4(index: int, setting: int, value: int) -> bytes:
    """The body of an RTM_NEWLINK that changes one IPv4 setting of a device (IPV4_DEVCONF_…)."""
    conf = attribute(_IFLA_INET_CONF, attribute(setting, _U32.pack(value)))
    return _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, conf))


def no_link_local(index: int) -> bytes:
    """The body of an RTM_NEWLINK after which a device makes no IPv6 address of its MAC."""
    mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    return _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))


def promotes(message: Message, index: int) -> bool:
    """Whether a dumped link is the one with this number, and keeps the other IPv4 addresses when the first one goes."""
    if message.kind != RTM_NEWLINK or _LINK.unpack_from(message.body)[2] != index:
        return False
    families = attributes(attributes(message.body[_LINK.size :]).get(_IFLA_AF_SPEC, b""))
    settings = attributes(families.get(socket.AF_INET, b"")).get(_IFLA_INET_CONF, b"")
    at = _U32.size * (_IPV4_DEVCONF_PROMOTE_SECONDARIES - 1)  # they are counted from 1
    return len(settings) >= at + _U32.size and _U32.unpack_from(settings, at)[0] != 0


def link_flags(index: int, *, up: bool) -> bytes:
    """The body of an RTM_NEWLINK that switches a device on or off."""
    return _LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP)


def new_macvlan(name: str, parent: int, mac: bytes) -> bytes:
    """The body of an RTM_NEWLINK that makes a device with a hardware address of its own on another one.

    Mode bridge: in mode private the kernel keeps from the device below what comes in from the macvlan's own MAC, and a
    MASTER would never hear that another one is (macvlan_handle_frame, "forward to original port").
    """
    data = attribute(_IFLA_INFO_DATA, attribute(_IFLA_MACVLAN_MODE, _U32.pack(_MACVLAN_MODE_BRIDGE)))
    return (
        _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + attribute(_IFLA_IFNAME, name.encode() + bytes(1))
        + attribute(_IFLA_LINK, _U32.pack(parent))
        + attribute(_IFLA_ADDRESS, mac)
        + attribute(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, b"macvlan\0") + data)
    )


def old_link(index: int) -> bytes:
    """The body of an RTM_DELLINK."""
    return _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
