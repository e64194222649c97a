"""A network of its own for a test: namespaces, veth cables and a bridge, made with our own netlink messages.

A namespace lives as long as a descriptor of it is open, so nothing is left when a test process dies. What is opened
inside ``with space.entered()`` stays inside: a socket belongs to the namespace where it was made.

    lab = Lab("a", "b")            a: eth0 -- bridge -- eth0 :b
    lab.address("a", "eth0", "10.99.0.1/24")
    with lab.entered("a"):
        wire = RawWire("eth0")
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_interface
from pathlib import Path

import pytest

from syncsrv.failover import rtmessages as rt
from syncsrv.failover.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Requests, attribute, attributes
from tests.support.wait import until

_CLONE_NEWNET = 0x4000_0000
_IFLA_IFNAME = 3
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_NET_NS_FD = 28
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFLA_INFO_SLAVE_DATA = 5
_IFLA_BRPORT_STATE = 1
_IFA_CACHEINFO = 6
_FORWARDING = 3
_IFF_RUNNING = 0x40
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _make_namespace() -> int:
    """A descriptor of a new network namespace, made by a thread that ends in it."""
    made: list[int | OSError] = []

    def make() -> None:
        try:
            _checked(_libc.unshare(_CLONE_NEWNET), "new network namespace")
            made.append(os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def why_not() -> str:
    """Why there can be no lab here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        os.close(_make_namespace())
    except OSError as error:
        return f"no network namespaces here: {error}"
    return ""


needs_lab = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a lab")


class Lab:
    """Namespaces by name, each with lo and with eth0 on one bridge, which is in a namespace of its own.

    The bridge's port of ``a`` is the device ``a`` there. IPv6 addresses are usable at once: duplicate address
    detection is off, so that a test does not begin with two seconds of waiting.
    """

    BRIDGE = "bridge"

    def __init__(self, *names: str) -> None:
        self._spaces: dict[str, int] = {}
        self._cables: dict[tuple[str, str], str] = {}  # the bridge's port by a device's namespace and name
        for name in (self.BRIDGE, *names):
            self.add(name)
        self.bridge("br0")
        for name in names:
            self.plug(name)

    def bridge(self, bridge: str) -> None:
        """One more bridge, beside br0."""
        with self.asking(self.BRIDGE) as requests:
            requests.ask(rt.RTM_NEWLINK, _new_link(bridge, "bridge"), NLM_F_CREATE | NLM_F_EXCL)
        self.switch(self.BRIDGE, bridge, up=True)

    def add(self, name: str) -> None:
        """One more namespace, without a cable."""
        self._spaces[name] = _make_namespace()
        self.switch(name, "lo", up=True)

    def __contains__(self, name: str) -> bool:
        return name in self._spaces

    def drop(self, name: str) -> None:
        """Let a namespace go, and its cables with it, before the kernel finds the time to remove it."""
        for other, device in list(self._cables):
            if other == name:
                self.unplug(name, device)
        os.close(self._spaces.pop(name))

    def plug(self, name: str, device: str = "eth0", port: str = "", bridge: str = "br0") -> None:
        """A cable from a bridge to a namespace; at both ends switched on."""
        port = self._cables[name, device] = port or name
        peer = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, device.encode() + bytes(1))
        peer += attribute(_IFLA_NET_NS_FD, struct.pack("=i", self._spaces[name]))
        with self.asking(self.BRIDGE) as requests:
            body = _new_link(port, "veth", attribute(_VETH_INFO_PEER, peer))
            requests.ask(rt.RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)
            master = attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(bridge)))
            requests.ask(rt.RTM_NEWLINK, _LINK.pack(0, 0, socket.if_nametoindex(port), 0, 0) + master)
        self.write(name, f"net/ipv6/conf/{device}/accept_dad", "0")
        self.switch(self.BRIDGE, port, up=True)
        self.switch(name, device, up=True)

    def _settle(self, name: str, device: str, port: str) -> None:
        """Wait until the kernel has done what follows the start of both ends of a cable, and packets get through."""
        ends = self._flags(name, device) & self._flags(self.BRIDGE, port)
        if ends & rt.IFF_UP:
            until(lambda: self._carries(name, device, port), what=f"the cable of {device} of {name}")

    def _flags(self, name: str, device: str) -> int:
        with self.asking(name) as requests:
            links = [rt.parse(one) for one in requests.dump(rt.RTM_GETLINK, rt.all_links())]
        return next(one.link.flags for one in links if isinstance(one, rt.LinkReport) and one.link.name == device)

    def _carries(self, name: str, device: str, port: str) -> bool:
        """Whether the device runs, the bridge forwards to it, and its link-local address is usable."""
        with self.asking(self.BRIDGE) as requests:
            found = [one.body for one in requests.dump(rt.RTM_GETLINK, rt.all_links())]
        wanted = attribute(_IFLA_IFNAME, port.encode() + bytes(1))
        slave = next(
            attributes(attributes(attributes(one[_LINK.size :])[_IFLA_LINKINFO])[_IFLA_INFO_SLAVE_DATA])
            for one in found
            if wanted in one
        )
        local = self._usable(name, device, "fe80")
        return (
            bool(self._flags(name, device) & _IFF_RUNNING)
            and slave[_IFLA_BRPORT_STATE] == bytes([_FORWARDING])
            and (local or self.read_setting(name, f"net/ipv6/conf/{device}/disable_ipv6") == "1")
        )

    def _usable(self, name: str, device: str, begin: str) -> bool:
        """Whether the kernel is done with duplicate address detection; off it is no matter of the moment either."""
        lines = [line.split() for line in self.read(name, "if_inet6").splitlines()]
        return any(line[5] == device and line[0].startswith(begin) and line[4] in {"00", "80"} for line in lines)

    def unplug(self, name: str, device: str = "eth0") -> None:
        """Delete a cable, both its devices."""
        del self._cables[name, device]
        with self.asking(name) as requests:
            requests.ask(rt.RTM_DELLINK, rt.old_link(socket.if_nametoindex(device)))

    def switch(self, name: str, device: str, *, up: bool) -> None:
        """Switch a device on or off; the bridge's port off is a pulled cable: no carrier at the other end."""
        with self.asking(name) as requests:
            requests.ask(rt.RTM_NEWLINK, rt.link_flags(socket.if_nametoindex(device), up=up))
        for (other, end), port in self._cables.items():
            if up and (name, device) in ((other, end), (self.BRIDGE, port)):
                self._settle(other, end, port)

    def address(self, name: str, device: str, text: str, *, remove: bool = False, valid_s: int = rt.FOREVER) -> None:
        """Give a device an address of its own, without our mark, or take one away.

        Args:
            name: the namespace.
            device: its device.
            text: the address with the length of its prefix.
            remove: take it away.
            valid_s: seconds that it has, as one from DHCP or from a router's advertisement has; without an end.
        """
        interface = ip_interface(text)
        with self.asking(name) as requests:
            index = socket.if_nametoindex(device)
            if remove:
                requests.ask(rt.RTM_DELADDR, rt.old_address(index, interface))
                return
            family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
            body = _ADDRESS.pack(family, interface.network.prefixlen, 0, 0, index)
            body += attribute(2, interface.packed) + attribute(1, interface.packed)
            body += attribute(_IFA_CACHEINFO, struct.pack("=IIII", valid_s, valid_s, 0, 0))
            requests.ask(rt.RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)
        if interface.version == 6 and self._flags(name, device) & _IFF_RUNNING:
            until(lambda: self._usable(name, device, interface.packed.hex()), what=text)

    def write(self, name: str, setting: str, value: str) -> None:
        """Set a sysctl of a namespace, as a path below /proc/sys: it is that of the thread that opens it."""
        with self.entered(name):
            Path("/proc/sys", setting).write_text(value)

    def read_setting(self, name: str, setting: str) -> str:
        """A sysctl of a namespace."""
        with self.entered(name):
            return Path("/proc/sys", setting).read_text().strip()

    def read(self, name: str, path: str) -> str:
        """A file below /proc/net of a namespace: what the kernel says, not by netlink."""
        with self.entered(name):
            return Path("/proc/thread-self/net", path).read_text()

    @contextlib.contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """This thread in a namespace; afterwards it is where it was."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(self._spaces[name], _CLONE_NEWNET), f"enter {name}")
            try:
                yield
            finally:
                _checked(_libc.setns(before, _CLONE_NEWNET), "go back")
        finally:
            os.close(before)

    @contextlib.contextmanager
    def asking(self, name: str) -> Iterator[Requests]:
        """This thread in a namespace, with a socket to its kernel."""
        with self.entered(name), contextlib.closing(Requests()) as requests:
            yield requests

    def path(self, name: str) -> str:
        """A namespace's name for other programs, while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._spaces[name]}"

    def prefix(self, name: str) -> list[str]:
        """The beginning of an argv that runs in a namespace; while this process lives."""
        return ["nsenter", f"--net={self.path(name)}", "--"]

    def pids(self, name: str) -> list[int]:
        """The processes in a namespace, whoever started them."""
        wanted, found = os.fstat(self._spaces[name]).st_ino, []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if entry.name.isdecimal() and (entry / "ns/net").stat().st_ino == wanted:
                    found.append(int(entry.name))
        return found

    def run(self, name: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace to its end."""
        argv = [*self.prefix(name), *argv]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)

    def start(self, name: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program in a namespace, with pipes; for the test to end."""
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.prefix(name), *argv], stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def python(self, name: str, code: str) -> str:
        """What a piece of Python writes in a namespace."""
        done = self.run(name, [sys.executable, "-c", code])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        """Let the namespaces go; the kernel removes them with their last process and socket."""
        for one in self._spaces.values():
            os.close(one)
        self._spaces.clear()


def _new_link(name: str, kind: str, data: bytes = b"") -> bytes:
    info = attribute(_IFLA_INFO_KIND, kind.encode() + bytes(1)) + (attribute(_IFLA_INFO_DATA, data) if data else b"")
    return (
        _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + bytes(1)) + attribute(_IFLA_LINKINFO, info)
    )
