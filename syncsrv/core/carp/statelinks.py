"""Which devices and addresses conntrackd of this node uses, and whose connections it keeps to itself.

cluster.yaml has interfaces, node.yaml their devices, the kernel the devices' addresses. conntrackd is started anew when
any of it changes: so what was found once stays while a device has no address or is not there, as it may come back; and
of the node's own addresses only those count whose devices node.yaml names: tunnels and containers come and go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from syncsrv.config.load import Configuration
from syncsrv.config.model import StateSync as Wanted
from syncsrv.config.values import parse_vip
from syncsrv.failover import rtmessages as rt
from syncsrv.failover.links import Address, Links
from syncsrv.failover.netlink import Requests
from syncsrv.failover.settings import StateLink, StateSync

log = logging.getLogger(__name__)

GROUP = "225.0.0.50"
"""The one in the examples of conntrack-tools; both nodes have to have the same."""
LOOPBACK = ("127.0.0.1", "::1")

Addresses = Mapping[str, tuple[Address, ...]]
"""Device to its addresses, the kernel's first choice first; nothing for one that has none, or is not there."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What conntrackd works with; None with the reason, and what to do, where it cannot."""

    state_sync: StateSync | None = None
    reason: str = ""
    remedy: str = ""


def kernel_addresses(devices: Iterable[str]) -> Addresses:
    """The addresses that stay: neither link-local ones nor IPv6's temporary ones, whose flag is that of a secondary.

    Raises:
        OSError: the kernel does not let itself be asked.
    """
    requests = Requests()
    try:
        messages = [
            *requests.dump(rt.RTM_GETLINK, rt.all_links()),
            *requests.dump(rt.RTM_GETADDR, rt.all_addresses()),
        ]
    finally:
        requests.close()
    links = Links()
    links.restart(report for report in map(rt.parse, messages) if report is not None)
    found: dict[str, tuple[Address, ...]] = {}
    for device in devices:
        own = sorted(
            (one for one in links.assigned(device) if one.usable and one.mark != rt.OURS),
            key=lambda one: one.flags & rt.IFA_F_SECONDARY,
        )
        found[device] = tuple(
            one.interface.ip
            for one in own
            if not one.interface.ip.is_link_local
            and not (one.interface.version == 6 and one.flags & rt.IFA_F_SECONDARY)
        )
    return found


def chosen(config: Configuration, addresses: Addresses, before: StateSync | None) -> Choice:
    """What follows from the configuration and the devices' addresses.

    Args:
        config: in force; ``check`` found it well.
        addresses: of the devices that node.yaml names.
        before: what conntrackd works with now: an address that is still there stays, whichever stands first.
    """
    wanted = config.cluster.state_sync
    if wanted.engine == "none" or not config.cluster.vips:
        return Choice()
    vips = {parse_vip(written).ip for vip in config.cluster.vips for written in vip.addresses}
    devices = dict.fromkeys(config.node.interfaces.values())
    own = {device: tuple(ip for ip in addresses.get(device, ()) if ip not in vips) for device in devices}
    links = []
    for index, name in enumerate(wanted.interfaces):
        device = config.node.interfaces[name]
        there = own.get(device, ())
        was = next((ip_address(one.address) for one in before.links if one.device == device), None) if before else None
        given, peer = _given(wanted, config.node.node, index)
        address = _address(there, was, given)
        if address is None:
            what = given or "IPv4 address of its own"
            has = f"; it has {', '.join(map(str, there))}" if there else ""
            remedy = f"give {device} that address, or correct `state_sync` in cluster.yaml or `interfaces` in node.yaml"
            return Choice(None, f"{name} ({device}) has no {what}{has}", remedy)
        links.append(StateLink(device, str(address), peer))
    ignore = {*vips, *(ip for found in own.values() for ip in found)}
    if before is not None and not all(own[link.device] for link in links):  # as before the network is up
        ignore.update(ip_address(one) for one in before.ignore if one not in LOOPBACK)
    ordered = sorted(ignore, key=lambda ip: (ip.version, int(ip)))
    return Choice(
        StateSync(
            engine="conntrackd",
            links=tuple(links),
            group=GROUP,
            port=wanted.port,
            ignore=(*LOOPBACK, *map(str, ordered)),
            timeout_s=wanted.timeout_s,
        )
    )


def _given(wanted: Wanted, node: str, index: int) -> tuple[str, str]:
    """For unicast, this node's address on an interface and the other one's; empty for multicast."""
    other = next((one for one in wanted.unicast if one != node), "")
    if not other:
        return "", ""
    return wanted.addresses(node)[index], wanted.addresses(other)[index]


def _address(there: tuple[Address, ...], was: Address | None, given: str) -> Address | None:
    """The address to send from; None where the device has none that would do."""
    if given:
        ip = ip_address(given)
        return ip if ip in there or (not there and ip == was) else None
    if was is not None and was.version == 4 and (was in there or not there):
        return was
    return next((ip for ip in there if ip.version == 4), None)


class StateLinks:
    """What is chosen now, and what the kernel said last.

    Args:
        config: the configuration in force.
        before: what an earlier core chose.
        read: asks the kernel for the addresses of these devices.
    """

    def __init__(
        self,
        config: Callable[[], Configuration],
        before: StateSync | None,
        read: Callable[[Iterable[str]], Addresses] = kernel_addresses,
    ) -> None:
        self._config = config
        self._read = read
        self._known: dict[str, tuple[Address, ...]] = {}
        self._before = before

    def now(self) -> Choice:
        """Ask the kernel and choose; the same as before where nothing that counts has changed."""
        config = self._config()
        devices = tuple(dict.fromkeys(config.node.interfaces.values()))
        if config.cluster.state_sync.engine != "none" and config.cluster.vips:
            try:
                found = self._read(devices)
            except OSError as error:
                log.warning("cannot read the addresses of this node: %s", error)
                found = {}
            kept = {device: found.get(device) or self._known.get(device, ()) for device in devices}
            self._known = kept
        choice = chosen(config, self._known, self._before)
        self._before = choice.state_sync or self._before
        return choice
