"""Rules for how open connections reach the other node. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from syncsrv.config.document import KeyPath
from syncsrv.config.model import StateSync
from syncsrv.config.problem import Severity
from syncsrv.config.sight import File, Finding, Rule, Sight, did_you_mean, in_cluster
from syncsrv.config.values import listed, parse_source, parse_vip

KEY = "state_sync"
PORT_MOST = 65535
PEERS_MOST = 1
"""conntrackd's FTFW expects one row of numbers from all that it hears (conntrack-tools, src/network.c: one
last_seq_recv for all senders). Tried with 1.4.7 and three nodes on one multicast group: each had half of what the
others sent, and counted no loss.
"""


def _state_sync(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None or sight.cluster.state_sync.engine == "none":
        return
    wanted = sight.cluster.state_sync
    if not sight.cluster.vips and ("vips",) not in sight.cluster_unread:
        message = "does nothing without vips: no address fails over, so no connection has to live on elsewhere"
        yield Finding(File.CLUSTER, (KEY, "engine"), message, Severity.WARNING)
    peers = sight.peers()
    if len(peers) > PEERS_MOST:
        message = (
            f"cannot be used by {len(peers) + 1} nodes: of more than two, conntrackd loses entries and says nothing"
        )
        yield in_cluster(KEY, "engine")(message)
    yield from _interfaces(sight, wanted)
    if wanted.port + len(wanted.interfaces) - 1 > PORT_MOST:
        message = f"cannot be {wanted.port} with {len(wanted.interfaces)} interfaces: each has the next port"
        yield in_cluster(KEY, "port")(message)
    yield from _unicast(sight, wanted)


def _interfaces(sight: Sight, wanted: StateSync) -> Iterator[Finding]:
    assert sight.cluster is not None
    if not wanted.interfaces:
        message = "cannot be left out: name the interface between the nodes"
        yield Finding(File.CLUSTER, (KEY, "interface"), message, at_key=True)
    known = sight.interfaces()
    devices = sight.node.interfaces if sight.node else {}
    carrying = {devices.get(vip.interface, vip.interface) for vip in sight.cluster.vips}
    seen: dict[str, str] = {}
    for index, name in enumerate(wanted.interfaces):
        where = _place(wanted.interface, index, "interface")
        device = devices.get(name, name)
        if known is not None and name not in known:
            message = f"cannot be found: node.yaml has no {name} under interfaces{did_you_mean(name, known)}"
            yield in_cluster(*where)(message)
        elif device in seen:
            same = "stands above already" if seen[device] == name else f"is the device of {seen[device]}, {device}"
            yield in_cluster(*where)(f"cannot be given twice: {name} {same}")
        elif device in carrying:
            message = (
                f"{name} carries virtual addresses too: whoever is on that network can read and forge the table of "
                f"connections, which is neither signed nor encrypted; a link between the nodes alone is better"
            )
            yield Finding(File.CLUSTER, where, message, Severity.WARNING)
        seen.setdefault(device, name)


def _unicast(sight: Sight, wanted: StateSync) -> Iterator[Finding]:
    assert sight.cluster is not None
    if not wanted.unicast:
        return
    yield from _nodes(sight, wanted)
    vips = {parse_vip(written).ip for vip in sight.cluster.vips for written in vip.addresses}
    links = len(wanted.interfaces)
    seen: dict[object, str] = {}
    families: dict[int, int] = {}
    for node, written in wanted.unicast.items():
        addresses = listed(written)
        if len(addresses) != links and links:
            message = f"cannot be {_counted(len(addresses))} for {links} under interface: write one for each"
            yield in_cluster(KEY, "unicast", node)(message)
        for index, address in enumerate(addresses):
            where = _place(written, index, "unicast", node)
            ip = parse_source(address)
            if ip in vips:
                message = f"cannot be {ip}: that is a virtual address, and moves; write the node's own"
                yield in_cluster(*where)(message)
            elif ip in seen:
                yield in_cluster(*where)(f"cannot be given twice: {seen[ip]} has {ip} already")
            elif families.setdefault(index, ip.version) != ip.version:
                message = f"cannot be {ip}: the other node has an address of IPv{families[index]} there"
                yield in_cluster(*where)(message)
            seen.setdefault(ip, node)


def _nodes(sight: Sight, wanted: StateSync) -> Iterator[Finding]:
    """Who is named: two nodes, this one and its peer, where it has one already."""
    here = (KEY, "unicast")
    if sight.node is None or ("node",) in sight.node_unread:
        return
    own, peers = sight.node.node, sight.peers()
    known = {own, *peers}
    for node in wanted.unicast:
        if peers and node not in known:
            message = f"cannot be found: node.yaml has no {node} under peers{did_you_mean(node, known)}"
            yield Finding(File.CLUSTER, (*here, node), message, at_key=True)
    if len(wanted.unicast) > PEERS_MOST + 1:
        yield in_cluster(*here)(f"cannot name {len(wanted.unicast)} nodes: two, since each sends to one other")
    for node in sorted(known if len(peers) <= PEERS_MOST else {own}):
        if node not in wanted.unicast:
            whose = "this node" if node == own else "its peer"
            yield in_cluster(*here)(f"cannot leave out {node}, {whose}: write its own address on {_names(wanted)}")
    if len(wanted.unicast) == 1 and not peers and own in wanted.unicast:
        yield in_cluster(*here)("cannot name one node alone: write the other's address too")


def _place(written: str | tuple[str, ...], index: int, *path: str) -> KeyPath:
    return (KEY, *path, index) if isinstance(written, tuple) else (KEY, *path)


def _counted(addresses: int) -> str:
    return "one address" if addresses == 1 else f"{addresses} addresses"


def _names(wanted: StateSync) -> str:
    return " and ".join(wanted.interfaces) or "the interface between the nodes"


RULES: tuple[Rule, ...] = (_state_sync,)
