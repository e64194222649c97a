"""Who holds the addresses, and whether the others are ready: one sentence, why, and what to do first. Pure.

What is not known is said to be so: a node that does not answer holds nothing in these sentences, and is not ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from syncsrv.control.shapes import Status
from syncsrv.plan.words import listed
from syncsrv.web.views.members import MASTER, Group, Member, groups, members
from syncsrv.web.views.remarks import ANSWERS, ORDER, Remark, joined, of_holder, of_other, trouble_of, unfit
from syncsrv.web.views.verdict import WAYS, Answer, Way, sentence


@dataclass(frozen=True, slots=True)
class Standing:
    """How failover stands.

    Attributes:
        kind: ok, todo, warn, bad or off.
        sign: same, different, unknown, or conflict for two masters.
        title: the sentence.
        text: why, in full; empty where the title says all.
        step: what to do first; empty where nothing is to be done.
        base: who holds what, as a part of a sentence; empty where that is not known.
        wrong: how many VIPs nobody holds, or several do.
        silent: all that is wrong is that a node does not answer, which the rest of the page says too.
    """

    kind: str
    sign: str
    title: str
    text: str = ""
    step: str = ""
    base: str = ""
    wrong: int = 0
    silent: bool = False


def standing(status: Status, now: datetime) -> Standing | None:
    """The sentence; None where no virtual addresses are configured.

    Args:
        status: this node's.
        now: when it was read.
    """
    nodes = members(status, now)
    found = groups(nodes, now)
    if not found and not any(node.failover.configured for node in nodes):
        return None
    return of(nodes, found)


def of(nodes: Sequence[Member], found: Sequence[Group]) -> Standing:
    """The sentence about these nodes and VIPs."""
    twice = [group for group in found if group.twice]
    orphaned = [group for group in found if group.orphaned]
    wrong = len(twice) + len(orphaned)
    if twice:
        return replace(_twice(twice, nodes), wrong=wrong)
    mute = [node for node in nodes if node.failover.configured and not node.lost and not node.failover.running]
    if mute:
        return replace(_mute(mute, nodes, found), wrong=wrong)
    if orphaned:
        return replace(_orphaned(orphaned, nodes), wrong=wrong)
    return _held(nodes, found)


def addresses(found: Sequence[Group]) -> tuple[str, ...]:
    """All of them, each once."""
    return tuple(dict.fromkeys(address for group in found for address in group.addresses))


def _twice(found: Sequence[Group], nodes: Sequence[Member]) -> Standing:
    names = tuple(dict.fromkeys(name for group in found for name in group.holders))
    where = tuple(dict.fromkeys(group.interface for group in found))
    cause, step = _why_twice(found, [node for node in nodes if node.name in names])
    return Standing(
        "bad",
        "conflict",
        f"Two masters: {joined(names)} both hold {listed(addresses(found))} on {joined(where)}.",
        cause,
        step,
    )


def _why_twice(found: Sequence[Group], nodes: Sequence[Member]) -> tuple[str, str]:
    """The likely cause and what to do: what a node found out itself, else what its carp process counted."""
    keys = {group.key for group in found}
    for node in sorted(nodes, key=lambda node: not node.here):
        for trouble in node.failover.troubles if node.told else ():
            if trouble.partition(": ")[0] in keys and "both MASTER" in trouble:
                cause, _, remedy = trouble.partition("; ")
                return sentence(cause), f"{sentence(remedy)} {_DISABLE}".lstrip()
    for node in nodes:
        devices = {vip.device for key, vip in node.vips.items() if key in keys}
        others = {source for one in nodes if one is not node for it in one.failover.devices for source in it.sources}
        for one in node.failover.devices if node.told else ():
            bad = [said for said in one.badauth if said.partition(" ")[0] in others]
            if one.device in devices and bad:
                said = f"{node.name} hears {listed(bad)} with other addresses or another password than its own"
                step = "Make addresses and password of the VIP equal on both, then the worse node gives way by itself."
                return sentence(said), step
    text = (
        "Neither gives way, so at least one of them does not hear the other: something between them drops CARP "
        "(protocol 112 to 224.0.0.18 and ff02::12)."
    )
    return text, f"Look at the network between them. {_DISABLE}"


_DISABLE = "Until then, on the node that should not serve: `syncsrv vip disable`."


def _mute(mute: Sequence[Member], nodes: Sequence[Member], found: Sequence[Group]) -> Standing:
    names = joined([node.name for node in mute])
    plural = len(mute) > 1
    base = _base(nodes, found)
    why = [sentence(f"{node.name}: {node.failover.why}") for node in mute if node.failover.why]
    others = f"As the others say, {base}." if base else "Who holds the addresses is not known."
    step = f"On {names}: look at the log of syncsrv-carp, or of `syncsrv serve`, which starts the carp process."
    if all(node.failover.absent for node in mute):
        title = f"The carp process{'es' if plural else ''} on {names} {'do' if plural else 'does'} not run."
        others = f"So nothing is held there. {f'As the others say, {base}.' if base else ''}".rstrip()
        return Standing("bad", "unknown", title, " ".join([others, *why]), step, base)
    title = f"UNKNOWN: the carp process{'es' if plural else ''} on {names} {'do' if plural else 'does'} not answer."
    return Standing("bad", "unknown", title, " ".join([others, *why]), step, base)


def _orphaned(found: Sequence[Group], nodes: Sequence[Member]) -> Standing:
    reasons = []
    steps: dict[str, None] = {}
    for node in nodes:
        vip = next((node.vips[group.key] for group in found if group.key in node.vips), None)
        if vip is None:
            continue
        remark = unfit(node)
        reasons.append(sentence(remark.text if remark else f"{node.name} is {vip.state}: {vip.reason}"))
        if remark and remark.step:
            steps[remark.step] = None
    step = next(iter(steps), "See the reason of each node under Virtual IPs.")
    return Standing("bad", "different", f"Nobody holds {listed(addresses(found))}.", " ".join(reasons), step)


def _held(nodes: Sequence[Member], found: Sequence[Group]) -> Standing:
    base = _base(nodes, found)
    if not base:
        lost = [node.name for node in nodes if node.lost]
        why = f"{joined(lost)} {'does' if len(lost) == 1 else 'do'} not answer." if lost else _moving(nodes)
        title = "Who holds the addresses is not known now."
        return Standing(
            "bad" if lost else "todo", "unknown", title, why, "See the reason of each node under Virtual IPs."
        )
    remarks = sorted(_remarks(nodes, found), key=lambda one: ORDER.index(one.kind))
    open_ = [group for group in found if not group.certain and not group.holders]
    if open_:
        remarks.insert(0, Remark("todo", f"who holds {listed(addresses(open_))} is not known yet"))
    if not remarks:
        return Standing("ok", "same", f"{base}.", base=base)
    first, *rest = remarks
    silent = first.kind == "bad" and first.step == ANSWERS and all(one.kind != "bad" for one in rest)
    if first.kind == "ok":
        rest = []
    return Standing(
        first.kind,
        "unknown" if silent else "same" if first.kind == "ok" else "different",
        f"{base}; {_again(first.text, base)}".removesuffix(".") + ("" if first.text.endswith("…") else "."),
        " ".join(sentence(one.text) for one in rest if one.kind != "ok"),
        first.step,
        base,
        silent=silent,
    )


def _again(text: str, base: str) -> str:
    """Text that goes on about the node that the sentence begins with says ``it``."""
    name = base.partition(" ")[0]
    return f"it {text.removeprefix(f'{name} ')}" if text.startswith(f"{name} ") and " and " not in base else text


def _moving(nodes: Sequence[Member]) -> str:
    waits = [node for node in nodes if node.told and node.failover.hold_down_s > 0]
    if waits:
        left = max(node.failover.hold_down_s for node in waits)
        return f"{waits[0].name} was booted just now and takes nothing over for {left:.0f} s yet."
    return "Something has changed just now; the other node is read again within a few seconds."


def _base(nodes: Sequence[Member], found: Sequence[Group]) -> str:
    """Who holds what, as a part of a sentence; empty where nobody is known to hold anything."""
    by: dict[str, list[Group]] = {}
    for group in found:
        for name in group.holders[:1]:
            by.setdefault(name, []).append(group)
    everything = len(addresses(found))
    strange = {name for group in found for name in group.strange}
    said = []
    for name, its in by.items():
        mine = addresses(its)
        what = f"all {everything} addresses" if len(mine) == everything else f"{len(mine)} of {everything} addresses"
        if everything == 1 or (len(mine) == 1 and len(by) > 1):
            what = mine[0]
        who = f"{name}, which is no node of this cluster," if name in strange else name
        said.append(f"{who} holds {what}")
    return " and ".join(said)


def _remarks(nodes: Sequence[Member], found: Sequence[Group]) -> list[Remark]:
    """Of each node what keeps it from its part, else that it is ready."""
    holders = tuple(dict.fromkeys(name for group in found for name in group.holders))
    strange = tuple(dict.fromkeys(name for group in found for name in group.strange))
    remarks = [Remark("warn", f"what {name} runs is not known here", "") for name in strange]
    if len(holders) > 1:
        remarks.append(Remark("warn", "they do not move together", "See the reasons under Virtual IPs."))
    ready = []
    for node in nodes:
        own = of_holder(node) if node.name in holders else of_other(node, found, holders)
        remarks += own
        if not own and node.name not in holders:
            ready.append(node.name)
    remarks += [trouble_of(node) for node in nodes if node.told and node.failover.troubles]
    front = "it" if len(holders) == 1 else "them"
    if ready:
        remarks.append(Remark("ok", f"{joined(ready)} {'is' if len(ready) == 1 else 'are'} ready behind {front}"))
    if len(nodes) == 1 and not remarks:
        remarks.append(Remark("off", "no other node is configured"))
    return remarks


def lead(answer: Answer, found: Standing | None, status: Status, power: str) -> Answer:
    """The overview's sentence with what failover has to say: the worse of both first, the other beside it.

    Args:
        answer: how the nodes' configurations stand.
        found: how failover stands; None where there is none.
        status: this node's.
        power: of who looks.
    """
    if found is None:
        return answer
    ways = _ways(answer, found, status, power)
    plain = answer.title.removesuffix(".")
    if found.silent:
        return replace(answer, also=(found.base, *answer.also), ways=ways)
    if found.kind == "bad" or (found.kind == "warn" and answer.kind not in {"bad", "warn"}):
        return replace(
            answer,
            kind=found.kind,
            sign=found.sign if found.kind == "bad" else answer.sign,
            title=found.title,
            text=found.text,
            step=found.step or answer.step,
            also=(plain, *answer.also),
            ways=ways,
        )
    if answer.kind == "ok" and found.kind in {"ok", "off"}:
        return replace(answer, title=f"{plain}; {found.base}.", ways=ways)
    return replace(answer, also=(found.title.removesuffix("."), *answer.also), ways=ways)


def _ways(answer: Answer, found: Standing, status: Status, power: str) -> tuple[Way, ...]:
    """What failover offers, where there is room."""
    if found.kind == "bad" and not found.silent:
        label = "Resolve two masters…" if found.sign == "conflict" else "See virtual IPs"
        rest = [replace(way, first=False) for way in answer.ways]
        return (Way(label, "/vips", "swap", first=True), *rest)[:WAYS]
    if len(answer.ways) >= WAYS:
        return answer.ways
    first, *rest = answer.ways
    if not any(vip.state == MASTER for vip in status.vips):
        return (first, Way("See virtual IPs", "/vips", "swap"), *rest)
    why = "It needs the role operator" if power == "viewer" else ""
    return (first, Way("Switch over…", "/vips?ask=switchover#ask", "swap", why=why), *rest)
