"""The conflict probe: does another machine answer for an address that we just took? It only reports.

A packet socket listens only while an answer is due, and a filter in the kernel lets only such answers through: on a
router the agent must not be woken by the traffic.
"""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from syncsrv.failover import frames
from syncsrv.failover.links import Address, Interface, Links
from syncsrv.failover.netlink import KernelError
from syncsrv.failover.rtmessages import IFF_NOARP

LISTEN_S = 2.0
"""How long an answer counts: some machines answer a probe only after a random pause (RFC 5227: at most 2 s)."""
_FRAME_BYTES = 2048
_AT_ONCE = 64
_SO_ATTACH_FILTER = 26
_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136

_LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: operation, jump if true, jump if false, value
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: how many, where

_ONLY_NEIGHBOURS = (
    (_LOAD_BYTE, 0, 0, 14 + 6),  # the next header
    (_JUMP_EQUAL, 0, 3, _ICMPV6),
    (_LOAD_BYTE, 0, 0, 14 + 40),  # the type
    (_JUMP_EQUAL, 0, 1, _NEIGHBOUR_ADVERTISEMENT),
    (_RETURN, 0, 0, _FRAME_BYTES),
    (_RETURN, 0, 0, 0),
)


@dataclass(slots=True)
class _Listener:
    """One device and family while answers are due: until when for which address."""

    socket: socket.socket
    device: str
    index: int
    awaited: dict[Address, float]


class Prober:
    """Asks, and collects the answers of others.

    Args:
        links: the book of devices; answers from one of their MACs are our own.
        monotonic: the clock of the deadlines, in seconds.
    """

    def __init__(self, links: Links, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._links = links
        self._monotonic = monotonic
        self._epoll = select.epoll()  # one descriptor for all, which stays the same when listeners come and go
        self._listeners: dict[tuple[str, int], _Listener] = {}

    def fileno(self) -> int:
        """Readable when an answer is there."""
        return self._epoll.fileno()

    def probe(self, device: str, addresses: Iterable[Interface]) -> None:
        """Ask who else has addresses: ARP probe or neighbour solicitation, from nobody, so that no cache changes.

        Args:
            device: where.
            addresses: which; answers count for LISTEN_S seconds.

        Raises:
            KernelError: one question could not be sent; the others were.
        """
        self._end_due()
        failed: KernelError | None = None
        for interface in addresses:
            try:
                self._ask(device, interface)
            except OSError as error:
                number = error.errno or errno.EIO
                why = (error.strerror or str(error)).lower()
                remedy = f"see `ip link show dev {device}`"
                failed = failed or KernelError(f"cannot probe {interface} on {device}: {why}", remedy, number)
        if failed:
            raise failed

    def _ask(self, device: str, interface: Interface) -> None:
        link = self._links.link(device)
        if link is None:
            raise OSError(errno.ENODEV, "there is no such device")
        if link.flags & IFF_NOARP or len(link.mac) != 6:
            return
        if isinstance(interface, IPv4Interface):
            frame = frames.arp_probe(link.mac, interface.ip)
        else:
            frame = frames.neighbour_probe(link.mac, interface.ip)
        listener = self._listener(device, link.index, interface.version)
        listener.awaited[interface.ip] = self._monotonic() + LISTEN_S
        listener.socket.send(frame)

    def _listener(self, device: str, index: int, version: int) -> _Listener:
        found = self._listeners.get((device, version))
        if found is not None and found.index == index:
            return found
        if found is not None:
            self._end((device, version))
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        one = socket.socket(socket.AF_PACKET, kind, 0)  # deaf until it has its filter and its device
        try:
            if version == 6:
                _attach(one)
            one.bind((device, frames.ETH_P_ARP if version == 4 else frames.ETH_P_IPV6))
        except OSError:
            one.close()
            raise
        self._epoll.register(one, select.EPOLLIN)
        made = self._listeners[device, version] = _Listener(one, device, index, {})
        return made

    def conflicts(self) -> list[tuple[str, Address, str]]:
        """(device, address, MAC) of each other machine that answered for an address asked about; each once a call."""
        found: dict[tuple[str, Address, str], None] = {}
        own = self._links.macs()
        now = self._monotonic()
        for listener in self._listeners.values():
            for address, mac in _claims(listener.socket):
                if mac not in own and listener.awaited.get(address, 0.0) > now:
                    found[listener.device, address, frames.mac_text(mac)] = None
        self._end_due()
        return list(found)

    def _end_due(self) -> None:
        now = self._monotonic()
        for key in [key for key, one in self._listeners.items() if max(one.awaited.values(), default=0.0) <= now]:
            self._end(key)

    def _end(self, key: tuple[str, int]) -> None:
        self._listeners.pop(key).socket.close()  # which takes it out of the epoll too

    def close(self) -> None:
        """Give the sockets back."""
        for key in list(self._listeners):
            self._end(key)
        self._epoll.close()


def _claims(one: socket.socket) -> list[tuple[IPv4Address | IPv6Address, bytes]]:
    found: list[tuple[IPv4Address | IPv6Address, bytes]] = []
    for _ in range(_AT_ONCE):
        try:
            frame, (_, protocol, packet_type, _, _) = one.recvfrom(_FRAME_BYTES)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno == errno.ENETDOWN:  # said once, when the device goes down; then it is quiet
                continue
            raise
        if packet_type == socket.PACKET_OUTGOING:
            continue
        claim = frames.arp_claim(frame) if protocol == frames.ETH_P_ARP else frames.neighbour_claim(frame)
        if claim is not None:
            found.append(claim)
    return found


def _attach(one: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*step) for step in _ONLY_NEIGHBOURS))
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM.pack(len(_ONLY_NEIGHBOURS), ctypes.addressof(code)))
