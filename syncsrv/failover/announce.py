"""Tells neighbours which machine an address is on now: one frame an address, and no answer is waited for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv6Interface

from syncsrv.failover import frames
from syncsrv.failover.links import Address, Interface, Links
from syncsrv.failover.netlink import KernelError
from syncsrv.failover.probe import Prober
from syncsrv.failover.rtmessages import IFF_NOARP


class KernelAnnouncer:
    """Announcements and conflict probes by packet sockets (ports.Announcer).

    Args:
        links: the book of devices that the addresses' side keeps up to date.

    Raises:
        OSError: there can be no such socket here.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._prober = Prober(links)
        # Protocol 0: it receives nothing.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)

    def announce(self, device: str, addresses: Iterable[Interface]) -> None:
        """One gratuitous ARP or unsolicited neighbour advertisement for each address, from the device's MAC.

        Raises:
            KernelError: one could not be sent; the others were.
        """
        failed: KernelError | None = None
        for interface in addresses:
            try:
                self._announce_one(device, interface)
            except OSError as error:
                number = error.errno or errno.EIO
                why = (error.strerror or str(error)).lower()
                remedy = f"see `ip link show dev {device}`"
                failed = failed or KernelError(f"cannot announce {interface} on {device}: {why}", remedy, number)
        if failed:
            raise failed

    def _announce_one(self, device: str, interface: Interface) -> None:
        link = self._links.link(device)
        if link is None:
            raise OSError(errno.ENODEV, "there is no such device")
        if link.flags & IFF_NOARP or len(link.mac) != 6:
            return  # a tunnel: nobody there asks for a hardware address
        match interface:
            case IPv4Interface():
                frame, protocol = frames.gratuitous_arp(link.mac, interface.ip), frames.ETH_P_ARP
            case IPv6Interface():
                router = self._links.forwards(device)
                frame, protocol = frames.unsolicited_na(link.mac, interface.ip, router=router), frames.ETH_P_IPV6
        self._socket.sendto(frame, (device, protocol))

    def probe(self, device: str, addresses: Iterable[Interface]) -> None:
        """Ask who else answers for addresses; see Prober.probe."""
        self._prober.probe(device, addresses)

    def filenos(self) -> Sequence[int]:
        """Always the same one descriptor."""
        return (self._prober.fileno(),)

    def conflicts(self) -> Iterable[tuple[str, Address, str]]:
        """(device, address, MAC) of who else answered; see Prober.conflicts."""
        return self._prober.conflicts()

    def close(self) -> None:
        """Give the sockets back."""
        self._prober.close()
        self._socket.close()
