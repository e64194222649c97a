"""What can be ordered of failover on the node whose page this is: what will happen, and what speaks against it. Pure.

A node decides about itself: maintenance and switchover of another one are ordered there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from syncsrv.carp.demotion import SERVES_NOT
from syncsrv.control.shapes import Status
from syncsrv.control.shapes_failover import VipRequest
from syncsrv.errors import UsageError
from syncsrv.plan.words import listed
from syncsrv.web.views.cells import Fact
from syncsrv.web.views.failover import Outlook, outlook_of
from syncsrv.web.views.holders import addresses
from syncsrv.web.views.ledger import own_reasons
from syncsrv.web.views.members import BACKUP, Group, Member
from syncsrv.web.views.remarks import joined

SWITCHOVER = "switchover"


@dataclass(frozen=True, slots=True)
class Order:
    """One thing that can be ordered.

    Attributes:
        action: as the verb has it; for promote with the demotion's name after a colon.
        label: the verb and its object.
        icon: of the button.
        will: what will happen, in order.
        after: what holds then, and how it ends.
        danger: nothing takes it back by itself, and nobody may serve then.
        why: why it cannot be ordered now; empty where it can.
        outlook: what the node that would take over would serve; None where none would, or it is not about that.
        weigh: it asks for a name and a weight.
    """

    action: str
    label: str
    icon: str
    will: tuple[str, ...] = ()
    after: str = ""
    danger: bool = False
    why: str = ""
    outlook: Outlook | None = None
    weigh: bool = False

    @property
    def against(self) -> tuple[Fact, ...]:
        """What to think of before."""
        facts = self.outlook.facts if self.outlook is not None else ()
        return tuple(fact for fact in facts if fact.kind in {"bad", "warn", "todo"})


def orders(status: Status, nodes: Sequence[Member], found: Sequence[Group], now: str) -> Mapping[str, Order]:
    """Everything that can be ordered here, by action.

    Args:
        status: this node's.
        nodes: all of them.
        found: every VIP.
        now: when the status was read, RFC 3339.
    """
    us = next(node for node in nodes if node.here)
    taker = _taker(us, nodes)
    outlook = outlook_of(status, taker.name, now) if taker is not None and us.held else None
    made = [
        _switchover(us, taker, found, outlook),
        _maintenance_off(us) if us.failover.maintenance else _maintenance_on(us, taker, found, outlook),
        _enable(us) if us.failover.disabled else _disable(us, taker, found, outlook),
        _demote(us),
        *(_promote(us, name) for name in own_reasons(us)),
    ]
    return {one.action: one for one in made}


def request(asked: Callable[[str], str]) -> VipRequest:
    """What a form asks for.

    Args:
        asked: the text of a field; empty where the form does not have it.

    Raises:
        UsageError: a weight that is no number.
    """
    action, _, name = asked("action").partition(":")
    weight = asked("weight").strip()
    if weight and not (weight.isascii() and weight.isdigit() and len(weight) < 5):
        raise UsageError("cannot demote: the weight is no number", "it is 1 to 240, in units of advskew")
    reason = name or asked("reason").strip()
    return VipRequest(action, reason, int(weight or "0"), why=asked("why").strip())


def _taker(us: Member, nodes: Sequence[Member]) -> Member | None:
    """The node that takes over when this one leaves: of those that are well the one with the smallest skew."""
    ready = [node for node in nodes if not node.here and node.told and node.vips and _would(node)]
    return min(ready, key=_rank, default=None)


def _would(node: Member) -> bool:
    """Whether it would take everything over, be it also demoted by less than the one that leaves."""
    waits = all(node.state(key) == BACKUP for key in node.vips)
    return waits and node.demotion.total < SERVES_NOT and not node.failover.hold_down_s


def _rank(node: Member) -> int:
    return max(vip.advskew if vip.advertised is None else vip.advertised for vip in node.vips.values())


def _switchover(us: Member, taker: Member | None, found: Sequence[Group], outlook: Outlook | None) -> Order:
    if us.failover.switchover and not us.held:
        will = ("Note on the disk that the switchover is over", f"{us.name} ranks by its own skew again")
        after = "Whether it takes the addresses back at once is what `carp: preempt` in cluster.yaml says."
        return Order(SWITCHOVER, f"Take the switchover of {us.name} back", "back", will, after, why=_mute(us))
    to = taker.name if taker is not None else "another node"
    label = f"Switch over to {to}" if us.held else "Switch over"
    why = _mute(us)
    if not why and not us.held:
        holders = joined([*dict.fromkeys(name for group in found for name in group.holders)] or ["nobody"])
        why = f"{us.name} holds no address; {holders} does. Switch over on that node's page."
    read_back = "Read back who holds each address, and say so"
    after = (
        f"If nobody takes them over, it is taken back whole, and {us.name} goes on serving. "
        f"Afterwards {us.name} stays BACKUP until {to} leaves or fails; to switch back, switch over on {to}."
    )
    return Order(SWITCHOVER, label, "swap", (*_giving(us, to, found), read_back), after, why=why, outlook=outlook)


def _giving(us: Member, to: str, found: Sequence[Group]) -> tuple[str, ...]:
    """The handover, as the carp process does it: make before break."""
    mine = [group for group in found if group.key in us.held]
    names = listed(addresses(mine))
    where = joined([*dict.fromkeys(group.interface for group in mine)] or ["nothing"])
    return (
        "Note the order on the disk: it outlives a restart",
        f"{us.name} says farewell on {where}, and goes on answering",
        f"{to} takes {names} over and announces itself; then {us.name} removes them",
        f"Services that run only where the addresses are stop on {us.name} and start on {to}",
    )


def _maintenance_on(us: Member, taker: Member | None, found: Sequence[Group], outlook: Outlook | None) -> Order:
    to = taker.name if taker is not None else "another node, if one is well,"
    will: tuple[str, ...] = ("Note the order on the disk: it outlives a restart", f"{us.name} demotes itself by 240")
    if us.held:
        will = (*_giving(us, to, found), "Read back who holds each address, and say so")
    after = (
        f"{us.name} then serves only where no other node can; recording, comparing and synchronizing go on. "
        "It lasts until you end it."
    )
    if us.held and taker is None:
        after = f"No other node is known to be ready: {us.name} would go on serving until one is. {after}"
    return Order("maintenance-on", f"Put {us.name} in maintenance", "pause", will, after, outlook=outlook)


def _maintenance_off(us: Member) -> Order:
    will = ("Note the order on the disk", f"{us.name} ranks by its own skew again")
    after = "Whether it takes the addresses back at once is what `carp: preempt` in cluster.yaml says."
    return Order("maintenance-off", f"End the maintenance of {us.name}", "again", will, after)


def _disable(us: Member, taker: Member | None, found: Sequence[Group], outlook: Outlook | None) -> Order:
    will = ["Note the order on the disk: it outlives a restart"]
    if us.held:
        mine = listed(addresses([group for group in found if group.key in us.held]))
        to = taker.name if taker is not None else "whoever is well"
        will += [f"{us.name} says farewell; {to} takes over", f"{us.name} removes {mine}, also where nobody took over"]
    will.append(f"{us.name} is INIT: it holds nothing and takes nothing, whatever becomes of the others")
    after = "Nobody serves then where no other node can. It lasts until you enable it again."
    return Order("disable", f"Take {us.name} out of failover", "lock", tuple(will), after, danger=True, outlook=outlook)


def _enable(us: Member) -> Order:
    will = ("Note the order on the disk", f"{us.name} becomes BACKUP, and takes part in failover again")
    return Order("enable", f"Let {us.name} take part in failover", "again", will)


def _demote(us: Member) -> Order:
    will = (
        "Note the demotion on the disk: it outlives a restart",
        f"{us.name} advertises a skew that is higher by the weight, 240 at most",
        "A node with a smaller skew takes over, where it may pre-empt",
    )
    after = "240 makes every node that is well preferred. It lasts until you take it back here."
    return Order("demote", f"Demote {us.name}", "pencil", will, after, why=_mute(us), weigh=True)


def _promote(us: Member, name: str) -> Order:
    will = (f"Forget the demotion {name} of {us.demotion.reasons[name]}", f"{us.name} ranks higher by as much")
    return Order(f"promote:{name}", f"Take the demotion {name} back", "back", will)


def _mute(us: Member) -> str:
    if not us.failover.configured:
        return "No virtual addresses are configured."
    return "" if us.told else f"The carp process on {us.name} does not answer."
