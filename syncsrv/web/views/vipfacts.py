"""What the failover panel says of the addresses: would a node get them, and when. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from syncsrv.carp.timing import interval_s, master_down_s
from syncsrv.control.shapes import Status
from syncsrv.plan.words import listed
from syncsrv.web.views import statetable
from syncsrv.web.views.cells import Fact
from syncsrv.web.views.holders import addresses
from syncsrv.web.views.members import BACKUP, Group, Member, groups, members
from syncsrv.web.views.remarks import unfit
from syncsrv.web.views.times import duration, moment
from syncsrv.web.views.verdict import sentence


def facts(status: Status, name: str, now: str) -> tuple[Fact, ...]:
    """Of a node that would have to take over.

    Args:
        status: this node's.
        name: which node.
        now: when the status was read, RFC 3339.
    """
    at = moment(now)
    assert at is not None
    nodes = members(status, at)
    found = groups(nodes, at)
    node = next(node for node in nodes if node.name == name)
    if not found and not any(one.failover.configured for one in nodes):
        evidence = "Who moves traffic to the other node is not known to syncsrv."
        return (Fact("off", "later", "No virtual addresses are configured", evidence),)
    twice = [group for group in found if group.twice]
    already = [
        Fact("bad", "bad", f"Held twice already: {listed(group.addresses)}", f"By {' and '.join(group.holders)}.")
        for group in twice
    ]
    return (*already, *_of(node, nodes, found), *_connections(node, nodes, found))


def serving(status: Status, now: str) -> tuple[str, ...]:
    """Who holds any address; empty where that is not known, or none are configured."""
    at = moment(now)
    assert at is not None
    found = groups(members(status, at), at)
    return tuple(dict.fromkeys(name for group in found for name in group.holders))


def _of(node: Member, nodes: Sequence[Member], found: Sequence[Group]) -> tuple[Fact, ...]:
    if node.lost:
        return ()
    if not node.failover.configured:
        evidence = "Synchronize cluster.yaml."
        return (Fact("bad", "bad", f"{node.name} has no virtual addresses configured", evidence),)
    if not node.failover.running:
        return (Fact("bad", "bad", f"The carp process on {node.name} does not answer", sentence(node.failover.why)),)
    holds = [group for group in found if node.name in group.holders]
    if any(group.twice for group in holds):
        return ()
    if holds and len(holds) == len(found):
        return (Fact("ok", "ok", f"{node.name} holds {_count(found)} already"),)
    remark = unfit(node)
    if remark is not None:
        kind = "bad" if node.failover.disabled or any(node.state(key) != BACKUP for key in node.vips) else "warn"
        return (Fact(kind, kind, remark.text, remark.step),)
    lacks = [group for group in found if group.key not in node.vips]
    if lacks:
        evidence = "Synchronize cluster.yaml."
        return (Fact("bad", "bad", f"{node.name} would not take {listed(addresses(lacks))}", evidence),)
    waiting = [group for group in found if group not in holds]
    ahead = [one.name for one in nodes if one is not node and not one.held and _before(one, node)]
    if ahead:
        return (Fact("off", "pause", f"{' and '.join(ahead)} would take the addresses before {node.name}"),)
    return (Fact("ok", "ok", f"{node.name} is next in line for {_count(waiting)}", _when(node, waiting)),)


def _connections(node: Member, nodes: Sequence[Member], found: Sequence[Group]) -> tuple[Fact, ...]:
    """Of a node that would take something over; whoever holds it all has the connections already."""
    if node.lost or not node.told or all(node.name in group.holders for group in found):
        return ()
    return statetable.facts(node, nodes)


def _count(found: Sequence[Group]) -> str:
    names = addresses(found)
    return f"all {len(names)} addresses" if len(names) > 1 else names[0]


def _before(one: Member, other: Member) -> bool:
    """Whether a third node that is well has the smaller skew."""
    return one.told and unfit(one) is None and bool(one.vips) and _rank(one) < _rank(other)


def _rank(node: Member) -> int:
    return max((vip.advskew if vip.advertised is None else vip.advertised for vip in node.vips.values()), default=0)


def _when(node: Member, waiting: Sequence[Group]) -> str:
    """Whom it hears, and after how long a silence it takes over."""
    vips = [node.vips[group.key] for group in waiting]
    heard = {vip.master_node or vip.master for vip in vips}
    late = max(
        master_down_s(vip.advbase, vip.advskew, interval_s(vip.advbase, vip.master_advskew or 0)) for vip in vips
    )
    takes = f"after {duration(round(late, 1))} of silence, or at once when the other one leaves in order"
    if len(heard) == 1 and (name := heard.pop()):
        ages = [vip.heard_s for vip in vips if vip.heard_s is not None]
        ago = f" {duration(max(ages))} ago" if ages else ""
        return f"It heard {name}{ago}, and takes over {takes}."
    return f"It takes over {takes}."
