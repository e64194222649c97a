"""The rows of the overview's table that failover has: who holds what, and how far each node is demoted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from syncsrv.control.shapes_failover import UNKNOWN
from syncsrv.plan.words import listed
from syncsrv.web.views.cells import Cell, Plate, Row
from syncsrv.web.views.members import BACKUP, INIT, MASTER, Group, Member, bare
from syncsrv.web.views.verdict import brief

PAGE = ("See virtual IPs", "/vips")


def rows(left: Member, right: Member, found: Sequence[Group]) -> tuple[Row, ...]:
    """Of two nodes, where any of them has VIPs."""
    twice = {group.key for group in found if group.twice and {left.name, right.name} <= set(group.holders)}
    unsure = any(node.lost or not node.told for node in (left, right))
    sign, kind = ("different", "bad") if twice else ("unknown", "") if unsure else ("", "")
    return (
        Row("Virtual IPs", _vips(left, twice, found), sign, kind, _vips(right, twice, found)),
        _demotion(left, right),
    )


def _vips(node: Member, twice: set[str], found: Sequence[Group]) -> Cell:
    if not node.vips:
        text = "none told" if node.lost else "none configured"
        return Cell(text, kind="off", icon="later", notes=_wire(node, found))
    if not node.lost and not node.told:
        text = "Unknown: the carp process does not answer"
        return Cell(text, kind="off", icon="unknown", notes=(brief(node.failover.why),), link=PAGE)
    states = {key: vip.state for key, vip in node.vips.items()}
    notes = _notes(node, found)
    if len({*states.values()}) == 1 and not twice & set(states):
        addresses = tuple(bare(address) for vip in node.vips.values() for address in vip.addresses)
        state = next(iter(states.values()))
        text = f"for all {len(addresses)}" if len(addresses) > 1 else ""
        if state == BACKUP and (master := _heard(node)):
            text = f"{text}, hears {master}".removeprefix(", ")
        return Cell(plates=(Plate(state, _look(state, bad=False), text, addresses),), notes=notes)
    plates = tuple(
        Plate(states[key], _look(states[key], bad=key in twice), addresses=tuple(map(bare, vip.addresses)))
        for key, vip in node.vips.items()
    )
    return Cell(plates=plates, notes=notes)


def _look(state: str, *, bad: bool) -> str:
    if bad and state == MASTER:
        return "bad"
    return "solid" if state == MASTER else ""


def _heard(node: Member) -> str:
    """Whom it hears as MASTER of all its VIPs; empty where that is not one."""
    names = {vip.master_node or vip.master for vip in node.vips.values()}
    return names.pop() if len(names) == 1 else ""


def _notes(node: Member, found: Sequence[Group]) -> tuple[str, ...]:
    notes = []
    if node.failover.disabled:
        notes.append("taken out of failover by an operator: `syncsrv vip enable`")
    if node.failover.maintenance:
        notes.append("in maintenance")
    if node.failover.switchover:
        notes.append("gave them away by a switchover")
    if node.told:
        lame = [vip for vip in node.vips.values() if vip.state in {INIT, UNKNOWN}]
        notes += [f"{vip.interface}: {brief(vip.reason)}" for vip in lame[:2] if vip.reason]
    return (*notes, *_wire(node, found))


def _wire(node: Member, found: Sequence[Group]) -> tuple[str, ...]:
    """What is heard of a node that does not answer over SSH."""
    if not node.lost:
        return ()
    heard = [group.interface for group in found if node.name in group.holders]
    return (f"heard on the network as MASTER on {listed(heard)}",) if heard else ()


def _demotion(left: Member, right: Member) -> Row:
    cells = tuple(_demoted(node) for node in (left, right))
    if any(node.lost or not node.demotion.known or not node.told for node in (left, right)):
        return Row("Demotion", cells[0], "unknown", "", cells[1])
    if not left.demotion.total and not right.demotion.total:
        return Row("Demotion", cells[0], "same", "", cells[1])
    return Row("Demotion", cells[0], "different", "warn", cells[1])


def _demoted(node: Member) -> Cell:
    known = node.told and node.demotion.known
    reasons = tuple(f"{name} {weight}" for name, weight in node.demotion.reasons.items() if weight)
    if not known and not node.lost:
        ordered = (f"ordered: {listed(reasons)}",) if reasons else ()
        return Cell("not known", kind="off", icon="unknown", notes=ordered)
    if node.lost and node.seen_at is None:
        return Cell("not known")
    return Cell(str(node.demotion.total), notes=(listed(reasons),) if reasons else ())
