"""A network segment of the demo's own: a program that holds three network namespaces, joined by a bridge.

    fw1: eth0 ---- port fw1 |
                            | hub: br0, the client's address
    fw2: eth0 ---- port fw2 |

They live as long as it does, and nothing of them is seen outside. As root it makes network namespaces only; else a user
namespace first, in which it is root over these networks and over nothing else: wherever the kernel allows that, the
demo needs no root. The client asks the virtual address every few milliseconds (ICMP echo) and knows how long it was
without an answer.

It is told what to do in lines on its standard input, answers each with one line, and ends when that ends:

    unplug NODE, plug NODE     the cable between a node and the hub
    watch                      start asking
    answers                    how many answers there were since
    gap                        stop asking: the longest time between two answers in ms, and how many there were
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, ip_interface

from syncsrv.carp.packet import checksum
from syncsrv.failover import rtmessages as rt
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL, Requests, attribute

ASK_S = 0.005
LONGEST_LINE = 200

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_IFLA_IFNAME = 3
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_NET_NS_FD = 28
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ECHO = struct.Struct("!BBHHH")
_ECHO_REQUEST = 8
_ECHO_REPLY = 0

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def _enter(namespace: int) -> None:
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _become_root_of_our_own() -> None:
    """A user namespace in which we are uid 0: the rights for networks are had there without being root outside."""
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _new_namespace() -> int:
    """A descriptor of a new network namespace, which we are in now."""
    _unshare(_CLONE_NEWNET)
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _new_link(name: str, kind: str, data: bytes = b"") -> bytes:
    info = attribute(_IFLA_INFO_KIND, kind.encode() + bytes(1))
    info += attribute(_IFLA_INFO_DATA, data) if data else b""
    return (
        _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + bytes(1)) + attribute(_IFLA_LINKINFO, info)
    )


def _switch(requests: Requests, device: str, *, up: bool) -> None:
    requests.ask(rt.RTM_NEWLINK, rt.link_flags(socket.if_nametoindex(device), up=up))


def _give_address(requests: Requests, device: str, interface: IPv4Interface) -> None:
    """For good, with the route to its prefix."""
    head = _ADDRESS.pack(socket.AF_INET, interface.network.prefixlen, 0, 0, socket.if_nametoindex(device))
    both = attribute(_IFA_LOCAL, interface.packed) + attribute(_IFA_ADDRESS, interface.packed)
    requests.ask(rt.RTM_NEWADDR, head + both, NLM_F_CREATE | NLM_F_EXCL)


class Segment:
    """The namespaces. We are in the hub's from its making on.

    Args:
        nodes: name and own address of each.
        client: the hub's address.

    Raises:
        OSError: the kernel does not allow it.
    """

    def __init__(self, nodes: Sequence[tuple[str, IPv4Interface]], client: IPv4Interface) -> None:
        self.namespaces = {name: _new_namespace() for name, _ in nodes}
        hub = _new_namespace()
        self._hub = Requests()
        _switch(self._hub, "lo", up=True)
        self._hub.ask(rt.RTM_NEWLINK, _new_link("br0", "bridge"), NLM_F_CREATE | NLM_F_EXCL)
        _switch(self._hub, "br0", up=True)
        _give_address(self._hub, "br0", client)
        for name, interface in nodes:
            peer = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, b"eth0\0")
            peer += attribute(_IFLA_NET_NS_FD, struct.pack("=i", self.namespaces[name]))
            veth = _new_link(name, "veth", attribute(_VETH_INFO_PEER, peer))
            self._hub.ask(rt.RTM_NEWLINK, veth, NLM_F_CREATE | NLM_F_EXCL)
            master = attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex("br0")))
            self._hub.ask(rt.RTM_NEWLINK, _LINK.pack(0, 0, socket.if_nametoindex(name), 0, 0) + master)
            _switch(self._hub, name, up=True)
            _enter(self.namespaces[name])
            requests = Requests()
            for device in ("lo", "eth0"):
                _switch(requests, device, up=True)
            _give_address(requests, "eth0", interface)
            requests.close()
            _enter(hub)

    def cable(self, name: str, *, plugged: bool) -> None:
        """Between a node and the hub; pulled, the node's device has no carrier."""
        _switch(self._hub, name, up=plugged)


class Client:
    """Asks one address and counts how long no answer came."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
        self._socket.setblocking(False)
        self._number = 0
        self._answered_at = 0.0
        self._longest_s = 0.0
        self.answers = 0
        self.asks_at: float | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def start(self, now: float) -> None:
        self._answered_at, self._longest_s, self.answers = now, 0.0, 0
        self.asks_at = now

    def stop(self, now: float) -> str:
        """``GAP_MS ANSWERS``; the time since the last answer counts."""
        self.asks_at = None
        return f"{max(self._longest_s, now - self._answered_at) * 1000:.0f} {self.answers}"

    def ask(self, now: float) -> None:
        """Send one echo request; where nobody has the address the kernel says so, and that is no answer either."""
        self._number = (self._number + 1) & 0xFFFF
        bare = _ECHO.pack(_ECHO_REQUEST, 0, 0, os.getpid() & 0xFFFF, self._number)
        with contextlib.suppress(OSError):
            self._socket.sendto(bare[:2] + checksum(bare).to_bytes(2, "big") + bare[4:], (self._address, 0))
        self.asks_at = now + ASK_S

    def hear(self, now: float) -> None:
        """Take in what came."""
        while True:
            try:
                data, (source, _) = self._socket.recvfrom(2048)
            except OSError:
                return
            body = data[(data[0] & 0xF) * 4 :]
            if self.asks_at is None or source != self._address or len(body) < _ECHO.size:
                continue
            kind, _, _, ident, _ = _ECHO.unpack_from(body)
            if kind == _ECHO_REPLY and ident == os.getpid() & 0xFFFF:
                self._longest_s = max(self._longest_s, now - self._answered_at)
                self._answered_at = now
                self.answers += 1


def _commands(segment: Segment, client: Client) -> dict[str, Callable[[list[str]], str]]:
    def cable(words: list[str]) -> str:
        segment.cable(words[1], plugged=words[0] == "plug")
        return "done"

    def watch(words: list[str]) -> str:
        client.start(time.monotonic())
        return "done"

    return {
        "plug": cable,
        "unplug": cable,
        "watch": watch,
        "answers": lambda words: str(client.answers),
        "gap": lambda words: client.stop(time.monotonic()),
    }


def _serve(segment: Segment, client: Client) -> None:
    """Until standard input ends."""
    commands = _commands(segment, client)
    while True:
        wait_s = None if client.asks_at is None else max(0.0, client.asks_at - time.monotonic())
        ready, _, _ = select.select([sys.stdin.fileno(), client], [], [], wait_s)
        if client in ready:
            client.hear(time.monotonic())
        if client.asks_at is not None and time.monotonic() >= client.asks_at:
            client.ask(time.monotonic())
        if sys.stdin.fileno() in ready:
            line = os.read(sys.stdin.fileno(), LONGEST_LINE).decode()
            if not line:
                return
            words = line.split()
            try:
                _say(commands[words[0]](words))
            except OSError as error:
                _say(f"cannot {line.strip()}: {error.strerror or error}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    """Hold a segment.

    Args:
        argv: the virtual address, the client's with its prefix, then NAME=ADDRESS/LENGTH of each node.

    Returns:
        0: its standard input ended; 1: the kernel does not allow it, and the one line printed says why. Else that line
        has, for each node, the path of the user namespace (``-``: there is none of its own) and of the network's.
    """
    nodes = [(name, IPv4Interface(text)) for name, _, text in (word.partition("=") for word in argv[2:])]
    try:
        user = "-"
        if os.geteuid() != 0:
            _become_root_of_our_own()
            user = f"/proc/{os.getpid()}/ns/user"
        segment = Segment(nodes, IPv4Interface(argv[1]))
        client = Client(str(ip_interface(argv[0]).ip))
    except OSError as error:
        _say(f"cannot make network namespaces: {(error.strerror or str(error)).lower()}")
        return 1
    _say(" ".join(f"{user}:/proc/{os.getpid()}/fd/{segment.namespaces[name]}" for name, _ in nodes))
    _serve(segment, client)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
