"""Why nobody took over: what the peers say of themselves when they are asked now, and what was heard on the wire."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from syncsrv.carp.demotion import SERVES_NOT
from syncsrv.control.shapes import Facts
from syncsrv.control.shapes_failover import UNKNOWN
from syncsrv.core.parts import Core
from syncsrv.failover.messages import Report
from syncsrv.failover.outcome import together
from syncsrv.plan.verdict import Sentence
from syncsrv.plan.words import listed

_MEANT = ("maintenance", "switchover")


def ask_peers(core: Core) -> Mapping[str, Facts]:
    """What each peer that answers says of itself now."""
    heard = {name: core.book.refresh(name) for name in core.live.config.node.peers}
    return {name: one.facts for name, one in heard.items() if one.facts is not None and not one.misses}


def not_taken(core: Core, keys: Collection[str]) -> Sentence:
    """The likely causes, the surest first; ``ask_peers`` has just been called.

    Args:
        core: of this node.
        keys: the VIPs that nobody took.
    """
    causes: list[Sentence] = []
    for name, heard in core.book.now().items():
        if heard.facts is None or heard.misses:
            said = f": {heard.why}" if heard.why else ""
            causes.append(Sentence(f"{name} does not answer{said}", heard.remedy or f"see whether {name} runs"))
        else:
            causes += _of_peer(name, heard.facts, keys, core.carp.sets())
    report = core.carp.reading.now
    causes += _on_the_wire(report, keys, core.carp.nodes()) if report is not None else ()
    if not core.live.config.node.peers:
        causes.append(Sentence("no peer is configured", "pair this node with another one, `peers:` in node.yaml"))
    if not causes:
        names = listed(core.live.config.node.peers)
        said = f"{names} answers over SSH and is well, so CARP does not reach it or is not answered"
        causes.append(Sentence(said, "let protocol 112 and 224.0.0.18 (ff02::12) through firewalls and switches"))
    remedies = dict.fromkeys(one.remedy for one in causes if one.remedy)
    return Sentence("; ".join(one.reason for one in causes), "; ".join(remedies))


def also_leaving(core: Core, takers: Iterable[str]) -> str:
    """A remark on those that took over although they are to serve only where nobody else does; empty without such."""
    book = core.book.now()
    facts = {name: book[name].facts for name in dict.fromkeys(takers) if name in book}
    leaving = [name for name, one in facts.items() if one is not None and one.failover.maintenance]
    said = f"; {together(leaving)} took over although in maintenance itself" if leaving else ""
    for name, one in facts.items():
        # A switchover of its own ends when it takes over, and may still be in what it said of itself.
        ill = {key: weight for key, weight in one.demotion.reasons.items() if key not in _MEANT} if one else {}
        if sum(ill.values()) >= SERVES_NOT:
            said += f"; {name} took over although demoted for {listed(f'{key} {ill[key]}' for key in ill)}"
    return said


def _of_peer(name: str, facts: Facts, keys: Collection[str], sets: Mapping[str, str]) -> Iterator[Sentence]:
    failover = facts.failover
    if not failover.configured:
        yield Sentence(f"{name} has no vips configured", "synchronize cluster.yaml")
        return
    if not failover.running:
        why = f": {failover.why}" if failover.why else ""
        yield Sentence(f"on {name} the carp process does not run{why}", f"see `syncsrv vip` on {name}")
        return
    if failover.disabled:
        yield Sentence(f"failover is disabled on {name}", f"`syncsrv vip enable` on {name}")
    if failover.maintenance:
        yield Sentence(f"{name} is in maintenance too", f"`syncsrv vip maintenance off` on {name}")
    if failover.hold_down_s > 0:
        yield Sentence(
            f"{name} takes nothing over for {failover.hold_down_s:.0f} s more: it was booted just now", "wait"
        )
    others = {reason: weight for reason, weight in facts.demotion.reasons.items() if reason != "maintenance"}
    if others:
        yield Sentence(f"{name} is demoted: {listed(f'{one} {weight}' for one, weight in others.items())}", "")
    states = {vip.key: vip for vip in facts.vips}
    lacking = [key for key in keys if key not in states]
    if lacking:
        yield Sentence(f"{name} has no vip {together(lacking)}", "synchronize cluster.yaml")
    other = [key for key in keys if key in facts.vip_sets and facts.vip_sets[key] != sets.get(key)]
    if other:
        yield Sentence(
            f"{name} has other addresses or another password for {together(other)}",
            "synchronize cluster.yaml, and compare the password in secrets.yaml of both",
        )
    for key in keys:
        if key in states and states[key].state in ("INIT", UNKNOWN) and not failover.disabled:
            yield Sentence(f"{name} is {states[key].state} for {key}: {states[key].reason}", "")


def _on_the_wire(report: Report, keys: Collection[str], nodes: Mapping[str, str]) -> Iterator[Sentence]:
    """Of ``192.0.2.2 vhid 1`` in the report: whose advertisements do not verify here."""
    devices = {vip.device for vip in report.vips if f"{vip.vhid}@{vip.interface}" in keys}
    for device in report.devices:
        if device.device not in devices:
            continue
        if not device.up:
            yield Sentence(f"{device.device} has no link", "look at its cable and switch port")
        for said in device.badauth:
            source, _, vhid = said.partition(" ")
            who = f"{nodes[source]} ({source})" if source in nodes else source
            yield Sentence(
                f"{who} advertises {vhid or 'a vhid'} on {device.device} with other addresses or another password",
                "make addresses and password of that vip equal on both",
            )
