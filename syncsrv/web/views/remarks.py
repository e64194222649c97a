"""What is to be said of one node of a failover group: what keeps it from its part, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from syncsrv.plan.words import counted, listed
from syncsrv.web.views import well
from syncsrv.web.views.members import BACKUP, INIT, Group, Member
from syncsrv.web.views.verdict import brief, sentence

ORDER = ("bad", "warn", "off", "todo", "ok")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of one node, as a part of a sentence; ``step``: what to do about it, a sentence."""

    kind: str
    text: str
    step: str = ""


ANSWERS = "See whether it runs, and what it says itself: `syncsrv vip` there."


def of_holder(node: Member) -> list[Remark]:
    """Of a node that holds something: what is wrong all the same."""
    remarks = [
        Remark("bad", conflict, "Find that machine, and take the address away from it.")
        for vip in node.vips.values()
        for conflict in vip.conflicts
    ]
    if node.lost:
        text = f"{node.name} does not answer; that it holds them is heard on the network"
        return [*remarks, Remark("bad", text, ANSWERS)]
    if not node.told:
        return remarks
    remarks += [
        Remark("warn", f"{node.name} is INIT for {key}: {vip.reason}", "Mend that first.")
        for key, vip in node.vips.items()
        if vip.state == INIT
    ]
    missing = [
        address for key in node.held for address in node.vips[key].addresses if address not in node.vips[key].held
    ]
    if missing:
        remarks.append(Remark("bad", f"{listed(missing)} is not on its device", "See the log of carp there."))
    if node.failover.maintenance:
        text = f"{node.name} is in maintenance, and no peer took over"
        remarks.append(Remark("bad", text, "Mend what keeps the others from it."))
    elif node.demotion.known and node.demotion.total:
        remarks.append(Remark("warn", f"{node.name} is demoted by {reasons(node)}, and no peer is better"))
    if node.failover.timing.startswith("best effort"):
        remarks.append(Remark("warn", f"the timing of {node.name} is {node.failover.timing}"))
    return remarks


def of_other(node: Member, found: Sequence[Group], holders: Sequence[str]) -> list[Remark]:
    """Of a node that holds nothing: why it is not ready; nothing where it is.

    Args:
        node: which.
        found: every VIP of the cluster.
        holders: who holds any of them.
    """
    if node.lost:
        return [Remark("bad", f"{node.name} does not answer, so whether it is ready is not known", ANSWERS)]
    if not node.failover.configured and not node.vips:
        return [Remark("warn", f"{node.name} has no virtual addresses configured", "Synchronize cluster.yaml.")]
    remark = unfit(node)
    if remark is not None:
        return [_with_role(remark, node)]
    lacks = [group.key for group in found if group.key not in node.vips]
    if lacks:
        return [Remark("warn", f"{node.name} does not have {listed(lacks)} yet", "Synchronize cluster.yaml.")]
    remarks = [Remark("bad", text) for vip in node.vips.values() for text in vip.conflicts]
    if node.role == well.MASTER and holders:
        remarks.append(_stays(node))
    if node.failover.timing.startswith("best effort"):
        remarks.append(Remark("warn", f"the timing of {node.name} is {node.failover.timing}"))
    return remarks


def _stays(node: Member) -> Remark:
    """Changes are made there, it is well, and another node serves."""
    if node.failover.hold_preempt:
        text = f"{node.name} is back and stays BACKUP because {node.failover.hold_preempt}"
        return Remark("warn", text, "Bring both to the same configuration first.")
    reason = next((vip.reason for vip in node.vips.values()), "")
    text = f"{node.name} is back and stays BACKUP" + (f": {reason}" if reason else "")
    return Remark("todo", text, "To bring it back, switch over on the page of the node that serves.")


def _with_role(remark: Remark, node: Member) -> Remark:
    """Where changes are made is where people look for the addresses first."""
    if node.role != well.MASTER or any(node.state(key) != BACKUP for key in node.vips):
        return remark
    return replace(remark, text=f"{node.name} is back and stays BACKUP because {remark.text.replace(node.name, 'it')}")


def unfit(node: Member) -> Remark | None:
    """Why a node would not take over, or only as the last; None where nothing speaks against it."""
    failover = node.failover
    if node.lost:
        return Remark("bad", f"{node.name} does not answer", ANSWERS)
    if failover.disabled:
        return Remark(
            "warn", f"{node.name} is disabled and would not take over", f"On {node.name}: `syncsrv vip enable`."
        )
    if failover.maintenance:
        step = f"When it is over, on {node.name}: `syncsrv vip maintenance off`."
        return Remark("warn", f"{node.name} is in maintenance", step)
    init = [key for key in node.vips if node.state(key) == INIT]
    if init:
        reason = node.vips[init[0]].reason
        return Remark("warn", f"{node.name} is INIT for {listed(init)}: {reason}", "Mend that first.")
    if failover.hold_down_s > 0:
        return Remark(
            "todo", f"{node.name} was booted just now and takes nothing over for {failover.hold_down_s:.0f} s yet"
        )
    if failover.switchover:
        step = f"To switch back: `syncsrv vip switchover` on the node that serves, or again on {node.name}."
        return Remark("warn", f"{node.name} gave them away by a switchover", step)
    if node.demotion.known and node.demotion.total:
        return Remark("warn", f"{node.name} is demoted by {reasons(node)}", "See Demotion under Virtual IPs.")
    return None


def trouble_of(node: Member) -> Remark:
    """What a node found wrong itself: the first in short, the others counted; the page has them in full."""
    first, *more = node.failover.troubles
    cause, _, remedy = first.partition("; ")
    rest = f" (and {counted(len(more), 'other trouble')})" if more else ""
    text = cause[:1] + brief(cause).removesuffix(".")[1:]
    return Remark("warn", f"trouble on {node.name}: {text}{rest}", sentence(remedy))


def reasons(node: Member) -> str:
    """``240 (maintenance 240)``."""
    named = listed(f"{name} {weight}" for name, weight in node.demotion.reasons.items() if weight)
    return f"{node.demotion.total} ({named})" if named else str(node.demotion.total)


def joined(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
