"""What came of giving virtual addresses away, judged from reports: for core, and for the command line without core."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncsrv.failover.messages import Report, VipReport

WAIT_S = 5.0
"""For an outcome: several times the agent's own patience (0.3 s), and a master-down time at the usual advbase of 1."""

NOBODY = "no peer took over"
"""What a VipReport's ``handover`` says then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per VIP (``1@lan``) what became of it.

    Attributes:
        taken: who serves it now: an own peer's name, else a source address.
        kept: those that nobody took.
        waiting: those of which that is not known yet.
    """

    taken: Mapping[str, str]
    kept: tuple[str, ...]
    waiting: tuple[str, ...]


def key_of(vip: VipReport) -> str:
    """How people call it: ``1@lan``."""
    return f"{vip.vhid}@{vip.interface}"


def served(report: Report) -> tuple[str, ...]:
    """The VIPs that this node is MASTER of."""
    return tuple(key_of(vip) for vip in report.vips if vip.state == "MASTER")


def outcome(given: Collection[str], report: Report) -> Outcome:
    """How far it has come.

    Args:
        given: the VIPs that this node was MASTER of when it was told to give them away.
        report: a later one, by an agent that knows of the order.
    """
    now = {key_of(vip): vip for vip in report.vips}
    taken: dict[str, str] = {}
    kept, waiting = [], []
    for key in given:
        vip = now.get(key)
        if vip is not None and vip.handover == NOBODY:
            kept.append(key)
        elif vip is not None and (who := _taker(vip)):
            taken[key] = who
        else:
            waiting.append(key)
    return Outcome(taken, tuple(kept), tuple(waiting))


def _taker(vip: VipReport) -> str:
    """Who has taken it from this node; empty while nobody is known to have."""
    if vip.state == "MASTER":
        return ""
    if vip.handover.startswith("taken by "):
        said = vip.handover.removeprefix("taken by ").partition(" (")[0]  # fw2 (192.0.2.2)
        return vip.master_peer or said or vip.master_source
    return (vip.master_peer or vip.master_source) if vip.state == "BACKUP" else ""


def told(outcome: Outcome) -> str:
    """An outcome in words: ``fw2 serves 1@lan and 2@wan; nobody took 3@dmz``."""
    by: dict[str, list[str]] = {}
    for key, who in outcome.taken.items():
        by.setdefault(who, []).append(key)
    said = [f"{who} serves {together(keys)}" for who, keys in by.items()]
    nobody = (*outcome.kept, *outcome.waiting)
    if nobody:
        said.append(f"nobody took {together(nobody)}")
    return "; ".join(said)


def together(words: Collection[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
