"""What the agent asks of the system, as Protocols: the kernel's side implements them, and so does a demo without root.

The agent calls from one thread. Nothing here waits: a socket that is full or a device that is gone raises OSError, and
the agent counts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Protocol

from syncsrv.carp.receive import Frame

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
"""An address with the length of its prefix."""


class Wire(Protocol):
    """CARP packets in and out on one device."""

    def filenos(self) -> Sequence[int]:
        """Descriptors that are readable when a packet is there; they change after ``reopen``."""

    def send(self, data: bytes, sources: Sequence[Address], unicast: Sequence[Address], mac: bytes = b"") -> None:
        """Send one packet, once for each family of ``sources``.

        Args:
            data: 36 bytes.
            sources: the device's own addresses, from ``Addresses.sources``: one of each family, no VIP.
            unicast: whom to send it to; empty: the multicast group of each family.
            mac: where it comes from, when it goes to the groups; empty: the device's own.

        Raises:
            OSError: no family let it through.
        """

    def receive(self) -> Iterable[Frame]:
        """Whatever has come in, without waiting, until the sockets are empty.

        Raises:
            OSError: the device is gone.
        """

    def reopen(self) -> None:
        """Join the groups again; after each change of link or addresses."""

    def close(self) -> None:
        """Give everything back."""


class Addresses(Protocol):
    """The addresses on devices, and which devices there are and have link."""

    def filenos(self) -> Sequence[int]:
        """Descriptors that are readable when the kernel reports a change."""

    def changed(self) -> bool:
        """Take in what the kernel reported; whether link or addresses of any device are different now."""

    def link(self, device: str) -> str:
        """Empty when ``device`` is there and has link, else why not: ``there is no device eth0``."""

    def sources(self, device: str, vips: Iterable[Interface], named: Collection[Address] = ()) -> Sequence[Address]:
        """Its best own address of each family, one of ``named`` where it has such: none of ``vips``, not tentative."""

    def held(self, device: str) -> frozenset[Interface]:
        """Which addresses of ours (by IFA_PROTO, or by being asked for) are on it."""

    def hold(self, device: str, addresses: Iterable[Interface], lifetime_s: float) -> None:
        """Put addresses on a device, or renew their lifetime; after it the kernel removes them by itself.

        Raises:
            OSError: the kernel refused one; the others are there.
        """

    def release(self, device: str, addresses: Iterable[Interface]) -> None:
        """Take addresses away; no error where they are not there.

        Raises:
            OSError: the kernel refused.
        """

    def sweep(
        self, device: str, keep: Iterable[Interface], elsewhere: Iterable[Interface] = ()
    ) -> frozenset[Interface]:
        """Remove what is ours on a device and not to be kept, and whatever another node serves; what was removed.

        Args:
            device: its name.
            keep: what this node serves.
            elsewhere: virtual addresses that another node serves: nobody may put them here, with any prefix length.

        Raises:
            OSError: the kernel refused one; the others are gone.
        """


class Carriers(Protocol):
    """Devices with a group's own MAC, for the vhids that want one; see virtualmac."""

    def prepare(self, device: str, vhid: int) -> None:
        """Have it there, however it is switched; a new one is switched off.

        Raises:
            OSError: the kernel refused; ENODEV: there is no such device.
        """

    def up(self, device: str, vhid: int) -> None:
        """Have it there and switched on.

        Raises:
            OSError: the kernel refused.
        """

    def down(self, device: str, vhid: int) -> None:
        """Switch it off; no error where it is not there.

        Raises:
            OSError: the kernel refused.
        """

    def remove(self, device: str, vhid: int) -> None:
        """Delete it; no error where it is not there.

        Raises:
            OSError: the kernel refused.
        """


class Announcer(Protocol):
    """Tells neighbours which machine an address is on now, and asks whether another one answers for it."""

    def announce(self, device: str, addresses: Iterable[Interface]) -> None:
        """One gratuitous ARP or unsolicited NA for each.

        Raises:
            OSError: it could not be sent.
        """

    def probe(self, device: str, addresses: Iterable[Interface]) -> None:
        """Ask who else answers for them; answers come in at ``conflicts``.

        Raises:
            OSError: it could not be sent.
        """

    def filenos(self) -> Sequence[int]:
        """Descriptors that are readable when an answer is there."""

    def conflicts(self) -> Iterable[tuple[str, Address, str]]:
        """(device, address, MAC of who else answers), for what was probed in the last seconds."""
