"""The nodes of a failover group side by side, and who holds which address, as far as it is known. Pure.

Each node tells of itself; a node also tells whom it hears as MASTER. Readings of two nodes are of two moments: one
that is older than a change on this node is no proof against it, and an address is said to be held twice, or by
nobody, only where the readings overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncsrv.carp.demotion import SERVES_NOT
from syncsrv.carp.diagnose import BOTH_S
from syncsrv.carp.timing import LISTEN_S, interval_s, master_down_s
from syncsrv.config.values import split_listen
from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import UNKNOWN, Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_statesync import NoStateSync, StateSync
from syncsrv.web.views import well
from syncsrv.web.views.times import moment

MASTER, BACKUP, INIT = "MASTER", "BACKUP", "INIT"

OWN_POLL_S = 5.0
"""A peer is read so often: what it does meanwhile is known from the wire only."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node, whichever it is.

    Attributes:
        here: it is the node whose page this is.
        lost: it does not answer this node: what stands here is only last known.
        seen_at: when it was read; None for never.
        age_s: of the reading; None for never.
        vips: its VIPs by name (``1@lan``).
        page: where its page is; empty where that is not known.
        state_sync: its table of connections.
    """

    name: str
    role: str
    here: bool
    lost: bool
    seen_at: datetime | None
    age_s: float | None
    vips: Mapping[str, VipInfo]
    demotion: Demotion
    failover: FailoverInfo
    page: str = ""
    state_sync: StateSync = field(default_factory=NoStateSync)

    @property
    def told(self) -> bool:
        """Whether its carp process said something about itself lately."""
        return not self.lost and self.failover.running

    def state(self, key: str) -> str:
        """Of a VIP, as it says itself; UNKNOWN where it says nothing, or nothing that holds now."""
        vip = self.vips.get(key)
        return vip.state if vip is not None and self.told else UNKNOWN

    @property
    def held(self) -> tuple[str, ...]:
        """The VIPs that it says it is MASTER of."""
        return tuple(key for key in self.vips if self.state(key) == MASTER)


@dataclass(frozen=True, slots=True)
class Group:
    """One vhid on one interface, over all nodes.

    Attributes:
        key: ``1@lan``.
        addresses: without their prefix lengths.
        holders: who holds it: nodes, or source addresses of machines that are no node of this cluster.
        strange: those of the holders that are no node of this cluster.
        certain: all nodes that have it were read, and what they said is of one moment.
    """

    key: str
    vhid: int
    interface: str
    addresses: tuple[str, ...]
    holders: tuple[str, ...]
    strange: tuple[str, ...]
    certain: bool

    @property
    def twice(self) -> bool:
        """Whether two nodes hold it at the same time."""
        return len(self.holders) > 1

    @property
    def orphaned(self) -> bool:
        """Whether nobody holds it, and that is certain."""
        return self.certain and not self.holders


def members(status: Status, now: datetime) -> tuple[Member, ...]:
    """This node and its peers, the one where changes are made first.

    Args:
        status: this node's.
        now: when it was read.
    """
    found = [
        Member(
            status.node,
            status.role,
            True,
            False,
            now,
            0.0,
            _by_key(status.vips),
            status.demotion,
            status.failover,
            state_sync=status.state_sync,
        )
    ]
    found += [
        Member(
            name,
            one.role or "",
            False,
            not one.reachable or one.seen_at is None,
            moment(one.seen_at or ""),
            one.age_s,
            _by_key(one.vips),
            one.demotion,
            one.failover,
            _page(one.page),
            one.state_sync,
        )
        for name, one in status.peers.items()
    ]
    return tuple(sorted(found, key=lambda member: member.role != well.MASTER))


def groups(nodes: Iterable[Member], now: datetime) -> tuple[Group, ...]:
    """Every VIP that any of them has, with its holders."""
    nodes = tuple(nodes)
    names: dict[str, VipInfo] = {}
    for node in sorted(nodes, key=lambda node: not node.here):
        for key, vip in node.vips.items():
            names.setdefault(key, vip)
    return tuple(_group(key, vip, nodes, now) for key, vip in names.items())


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


def _page(told: str) -> str:
    """An address that a peer told, as one that a browser opens; nothing where it told something else."""
    try:
        split_listen(told)
    except ValueError:
        return ""
    return f"https://{told}/vips"


def _by_key(vips: Iterable[VipInfo]) -> dict[str, VipInfo]:
    return {vip.key: vip for vip in vips}


def _group(key: str, vip: VipInfo, nodes: tuple[Member, ...], now: datetime) -> Group:
    having = [node for node in nodes if key in node.vips]
    us = next((node for node in having if node.here), None)
    says = [node for node in having if node.state(key) == MASTER]
    outdated = [node for node in having if us is not None and _older(node, us, key)]
    if len(says) > 1:
        says = [node for node in says if node not in outdated]
    known = {node.name: node for node in nodes}
    holders = dict.fromkeys(node.name for node in says)
    if us in says and (rival := _rival(us.vips[key], known, now)):
        holders[rival] = None
    if not holders:
        holders = dict.fromkeys(_heard(key, having, known))
    quiet = all(node.told and node.state(key) != UNKNOWN for node in having)
    certain = quiet and not outdated and (bool(holders) or not any(_young(node, key, now) for node in having))
    return Group(
        key,
        vip.vhid,
        vip.interface,
        tuple(bare(address) for address in vip.addresses),
        tuple(holders),
        tuple(name for name in holders if name not in known),
        certain,
    )


def _older(node: Member, us: Member, key: str) -> bool:
    """Whether a peer was read before this node entered its state: it may have changed since for the same reason."""
    if node.here or node.lost or us.state(key) == UNKNOWN:
        return False
    since = moment(us.vips[key].since or "")
    return since is not None and node.seen_at is not None and since > node.seen_at


def _heard(key: str, having: Iterable[Member], known: Mapping[str, Member]) -> list[str]:
    """Whom those that are BACKUP hear as MASTER, where that is newer than what the node itself said."""
    found = []
    for node in having:
        vip = node.vips[key]
        if node.state(key) != BACKUP or not vip.master:
            continue
        name = vip.master_node or vip.master
        speaker = known.get(name)
        newer = speaker is None or not speaker.told or (node.here and _is_newer(vip.heard_s, speaker.age_s))
        if newer and name not in found:
            found.append(name)
    return found


def _rival(vip: VipInfo, known: Mapping[str, Member], now: datetime) -> str:
    """Who advertises though this node, which is better, has been MASTER for a while; a takeover leaves one or two."""
    since = moment(vip.since or "")
    lately_s = 3 * interval_s(vip.advbase, SERVES_NOT)
    if vip.contested_s is None or vip.contested_s > lately_s or since is None:
        return ""
    if (now - since).total_seconds() < BOTH_S:
        return ""
    speaker = known.get(vip.contested_by)
    newer = speaker is None or not speaker.told or _is_newer(vip.contested_s, speaker.age_s)
    return vip.contested_by if newer else ""


def _is_newer(heard_s: float | None, read_s: float | None) -> bool:
    return heard_s is not None and (read_s is None or heard_s <= read_s)


def _young(node: Member, key: str, now: datetime) -> bool:
    """Whether it is so short in its state that somebody may be about to take over."""
    since = moment(node.vips[key].since or "")
    vip = node.vips[key]
    heard_s = interval_s(vip.advbase, vip.master_advskew or 0)
    wait_s = max(LISTEN_S, master_down_s(vip.advbase, vip.advskew, heard_s)) + OWN_POLL_S
    return node.failover.hold_down_s > 0 or (since is not None and (now - since).total_seconds() < wait_s)
