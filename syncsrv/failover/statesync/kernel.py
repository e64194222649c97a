"""What conntrackd needs of this node and does not say well itself: devices, addresses, ports, the kernel's settings.

Two of it on one port is what it does not notice at all: its sockets allow that, and the second one takes the first
one's messages.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path

from syncsrv.failover.settings import StateLink, StateSync
from syncsrv.failover.statesync.state import Trouble

TABLE_MOST = 262144
"""Of a kernel that has no connection table yet: what most have then."""

_SETTINGS = Path("/proc/sys/net/netfilter")


def trouble(wanted: StateSync) -> Trouble | None:
    """What is in the way of a conntrackd that is about to be started; None where nothing is."""
    for number, link in enumerate(wanted.links):
        found = _trouble(link, wanted.port + number)
        if found is not None:
            return found
    return None


def indexes(wanted: StateSync) -> tuple[int, ...]:
    """The kernel's numbers of the links' devices, 0 for one that is missing: a device made anew has another."""
    return tuple(_index(link.device) for link in wanted.links)


def entries() -> int:
    """Connections in this kernel's table; 0 where it has none yet."""
    return _setting("nf_conntrack_count", 0)


def table_most() -> int:
    """How many there can be."""
    return _setting("nf_conntrack_max", TABLE_MOST)


def named(protocols: Sequence[str]) -> tuple[str, ...]:
    """Those whose names the C library knows here: none where /etc/protocols is missing."""
    return tuple(one for one in protocols if _has_name(one))


def silent() -> Trouble | None:
    """Whether the kernel was told to report no changes of connections."""
    if _setting("nf_conntrack_events", 1) != 0:
        return None
    return Trouble(
        "the kernel reports no changes of connections, so none reach the peer: net.netfilter.nf_conntrack_events is 0",
        "`sysctl -w net.netfilter.nf_conntrack_events=1`, and where it was set: below /etc/sysctl.d",
    )


def _trouble(link: StateLink, port: int) -> Trouble | None:
    index = _index(link.device)
    if not index:
        return Trouble(
            f"there is no device {link.device}",
            "put the right device into `interfaces:` of node.yaml, or the right interface into `state_sync:`",
        )
    version = ipaddress.ip_address(link.address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    where: tuple[str, int] | tuple[str, int, int, int] = (link.address, 0)
    if version == 6:
        where = (link.address, 0, 0, index if ipaddress.ip_address(link.address).is_link_local else 0)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            return None  # whatever it is, conntrackd meets it too and says so
        return Trouble(
            f"{link.address} is not on this node, {link.device} should have it",
            f"`ip addr show dev {link.device}` shows what it has; name the right one in `state_sync:`",
        )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((link.address if link.peer else "", port, *where[2:]))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return None
        return Trouble(
            f"UDP port {port} is in use by another program",
            f"`ss -ulpn sport = :{port}` shows which; if it is the distribution's own conntrackd: "
            "`systemctl disable --now conntrackd`; or set another `port` in `state_sync:`",
        )
    return None


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def _has_name(protocol: str) -> bool:
    try:
        return socket.getprotobyname(protocol) > 0
    except OSError:
        return False


def _setting(name: str, otherwise: int) -> int:
    try:
        return int((_SETTINGS / name).read_text())
    except (OSError, ValueError):
        return otherwise
