"""CARP packets on one device: raw sockets of both families that hear and say nothing elsewhere.

The sockets belong to a device's number, so they are opened anew when it was deleted and made again. They look at no
packet's content; what is good is decided in carp/receive.py.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from syncsrv.carp.receive import Frame
from syncsrv.failover import frames
from syncsrv.failover.netlink import KernelError

_log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address

PROTOCOL = frames.CARP
GROUPS: dict[int, Address] = {4: IPv4Address("224.0.0.18"), 6: IPv6Address("ff02::12")}
HOPS = 255
"""A receiver takes no other in the group, so that nothing comes through a router (ip_carp.c: CARP_DFLTTL)."""
_PRIORITY = 6
_QUEUE_BYTES = 1 << 20
_PACKET_BYTES = 2048
_AT_ONCE = 256
"""Packets taken from one socket in one go: a flood must not keep the agent from its timers."""

_IP_MULTICAST_ALL = 49
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DO = 2
_IP_PKTINFO = 8
_IPV6_CHECKSUM = 7
_SOL_RAW = 255

_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_INT = struct.Struct("=i")
_EXTRA_BYTES = socket.CMSG_SPACE(_INT.size) + socket.CMSG_SPACE(_PKTINFO6.size)

_REMEDIES = {
    errno.EPERM: "let the firewall of this host send protocol 112; the carp process needs CAP_NET_RAW",
    errno.EACCES: "let the firewall of this host send protocol 112",
    errno.ENODEV: "see that the device exists, or correct `interfaces` in node.yaml",
    errno.ENXIO: "see that the device exists, or correct `interfaces` in node.yaml",
    errno.ENETDOWN: "switch the device on",
    errno.ENETUNREACH: "give the device an address of its own, or a route to the unicast receiver",
    errno.EINVAL: "give the device an address of its own",
    errno.EADDRNOTAVAIL: "give the device an address of its own",
}


class RawWire:
    """CARP packets in and out on one device (ports.Wire).

    A device that is not there is no error here: sending says so, and ``reopen`` tries again.

    Attributes:
        faults: why a family cannot be used, by IP version; what succeeds again is taken out.

    Args:
        device: its name.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.faults: dict[int, str] = {}
        self._index = 0
        self._sockets: dict[int, socket.socket] = {}
        self._frames: socket.socket | None = None
        self.reopen()

    def filenos(self) -> Sequence[int]:
        """Readable when a packet is there."""
        return tuple(one.fileno() for one in self._sockets.values())

    def reopen(self) -> None:
        """Join the groups again, with new sockets where the device is another one now or a family was missing."""
        try:
            index = socket.if_nametoindex(self.device)
        except OSError:
            index = 0
        if index != self._index:
            self.close()
            self._index = index
        for version in (4, 6):
            try:
                if index == 0:
                    raise OSError(errno.ENODEV, "there is no such device")
                self._renew(version, index)
                self.faults.pop(version, None)
            except OSError as error:
                self._note(version, "open a socket for", error)

    def _renew(self, version: int, index: int) -> None:
        open_one = self._sockets.get(version)
        if open_one is None:
            self._sockets[version] = _opened(version, self.device, index)
            return
        _leave(open_one, version, index)
        _join(open_one, version, index)

    def send(self, data: bytes, sources: Sequence[Address], unicast: Sequence[Address], mac: bytes = b"") -> None:
        """Send one packet to the group of each family that ``sources`` has, or to each unicast receiver.

        From another MAC than the device's it goes by a packet socket, as no device of this host has the source address
        and that MAC both; the packet filter's output hook does not see it.

        Raises:
            KernelError: none of them went out. When only some did, ``faults`` says why the others did not.
        """
        targets = tuple(unicast) or tuple(GROUPS[version] for version in sorted({one.version for one in sources}))
        error: KernelError | None = None
        failed: set[int] = set()
        sent = False
        for target in targets:
            try:
                self._send_one(data, target, sources, mac)
                sent = True
                if target.version not in failed:
                    self.faults.pop(target.version, None)
            except OSError as caught:
                failed.add(target.version)
                error = self._note(target.version, f"send to {target} from", caught)
        if not sent:
            raise error or self._note(0, "send from", OSError(errno.EADDRNOTAVAIL, "it has no address of its own"))

    def _send_one(self, data: bytes, target: Address, sources: Sequence[Address], mac: bytes) -> None:
        sender = self._sockets.get(target.version)
        if sender is None:
            raise OSError(errno.ENODEV, "there is no such device" if self._index == 0 else "its socket is not open")
        source = _fitting(target, sources)
        if source is None:
            raise OSError(errno.EADDRNOTAVAIL, f"the device has no own IPv{target.version} address")
        if mac and target.is_multicast:
            kind = frames.ETH_P_IPV4 if target.version == 4 else frames.ETH_P_IPV6
            self._as_frame().sendto(frames.multicast(mac, source, target, data), (self.device, kind))
        elif target.version == 4:
            info = (socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(0, source.packed, bytes(4)))
            sender.sendmsg([data], [info], 0, (str(target), 0))
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(source.packed, self._index))
            sender.sendmsg([data], [info], 0, (str(target), 0, 0, self._index))

    def _as_frame(self) -> socket.socket:
        """A socket for whole frames, which hears nothing (protocol 0)."""
        if self._frames is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._frames = socket.socket(socket.AF_PACKET, kind, 0)
            self._frames.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)
        return self._frames

    def receive(self) -> list[Frame]:
        """What has come in, at most some hundreds, without waiting; what a socket says instead is in ``faults``."""
        frames: list[Frame] = []
        for version, receiver in self._sockets.items():
            read = _read4 if version == 4 else _read6
            try:
                for _ in range(_AT_ONCE):
                    frame = read(receiver)
                    if frame is not None:
                        frames.append(frame)
            except BlockingIOError:
                continue
            except OSError as error:
                self._note(version, "receive on", error)
        return frames

    def close(self) -> None:
        """Give the sockets back."""
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        self._index = 0

    def _note(self, version: int, doing: str, error: OSError) -> KernelError:
        number = error.errno or errno.EIO
        why = (error.strerror or str(error)).lower()
        noted = KernelError(f"cannot {doing} {self.device}: {why}", _REMEDIES.get(number, ""), number)
        if version and self.faults.get(version) != str(noted):
            self.faults[version] = str(noted)
            _log.info("IPv%d: %s", version, noted)
        return noted


def _fitting(target: Address, sources: Sequence[Address]) -> Address | None:
    """The first source that reaches as far as the target; a link-local one is better than none."""
    same = [one for one in sources if one.version == target.version]
    near = target.is_multicast or target.is_link_local
    return next((one for one in same if near or not one.is_link_local), same[0] if same else None)


def _opened(version: int, device: str, index: int) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    one = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, PROTOCOL)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + bytes(1))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        _set_up[version](one, index)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)  # after the type of service, which sets it too
        _join(one, version, index)
    except OSError:
        one.close()
        raise
    return one


def _set_up4(one: socket.socket, index: int) -> None:
    level = socket.IPPROTO_IP
    one.setsockopt(level, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
    one.setsockopt(level, socket.IP_MULTICAST_LOOP, 0)
    one.setsockopt(level, _IP_MULTICAST_ALL, 0)  # else also groups that other programs joined
    one.setsockopt(level, socket.IP_MULTICAST_TTL, HOPS)
    one.setsockopt(level, socket.IP_TTL, HOPS)
    one.setsockopt(level, socket.IP_TOS, frames.CLASS)
    one.setsockopt(level, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)  # sets "do not fragment", as the BSDs do


def _set_up6(one: socket.socket, index: int) -> None:
    level = socket.IPPROTO_IPV6
    one.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
    one.setsockopt(level, socket.IPV6_MULTICAST_LOOP, 0)
    one.setsockopt(level, socket.IPV6_MULTICAST_HOPS, HOPS)
    one.setsockopt(level, socket.IPV6_UNICAST_HOPS, HOPS)
    one.setsockopt(level, socket.IPV6_TCLASS, frames.CLASS)
    one.setsockopt(level, socket.IPV6_RECVHOPLIMIT, 1)
    one.setsockopt(level, socket.IPV6_RECVPKTINFO, 1)
    # CARP's checksum has no pseudo header (ip_carp.c: in_cksum over the CARP header alone): the kernel must not help.
    one.setsockopt(_SOL_RAW, _IPV6_CHECKSUM, -1)


_set_up: dict[int, Callable[[socket.socket, int], None]] = {4: _set_up4, 6: _set_up6}


def _membership(version: int, index: int) -> tuple[int, int, int, bytes]:
    group = GROUPS[version].packed
    if version == 4:
        request = group + bytes(4) + _INT.pack(index)
        return socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP, request
    return socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP, group + _INT.pack(index)


def _join(one: socket.socket, version: int, index: int) -> None:
    level, join, _, request = _membership(version, index)
    one.setsockopt(level, join, request)


def _leave(one: socket.socket, version: int, index: int) -> None:
    """So that joining again is reported to the switches, which may have forgotten it with the link."""
    level, _, leave, request = _membership(version, index)
    try:
        one.setsockopt(level, leave, request)
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):  # the kernel had left already
            raise


def _read4(receiver: socket.socket) -> Frame | None:
    """One packet without its IP header; None where that is cut off."""
    packet, _ = receiver.recvfrom(_PACKET_BYTES)
    if len(packet) < 20 or len(packet) < (length := (packet[0] & 0x0F) * 4):
        return None
    return Frame(packet[length:], IPv4Address(packet[12:16]), packet[8])


def _read6(receiver: socket.socket) -> Frame | None:
    """One packet; None for one to a group that other programs joined, of which the kernel gives us a copy.

    IPV6_MULTICAST_ALL would not help: the kernel does not heed it for a raw socket (raw_v6_match).
    """
    data, extra, _, sender = receiver.recvmsg(_PACKET_BYTES, _EXTRA_BYTES)
    told = {kind: value for level, kind, value in extra if level == socket.IPPROTO_IPV6}
    if socket.IPV6_PKTINFO in told:
        target = IPv6Address(_PKTINFO6.unpack(told[socket.IPV6_PKTINFO])[0])
        if target.is_multicast and target != GROUPS[6]:
            return None
    hops = told.get(socket.IPV6_HOPLIMIT)
    source = IPv6Address(sender[0].partition("%")[0])
    return Frame(data, source, _INT.unpack(hops)[0] if hops else None)
