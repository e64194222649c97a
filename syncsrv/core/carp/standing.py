"""What the carp process's report means for this node: does it serve, may it be changed, which hook is due. Pure.

    MASTER       MASTER of every VIP whose interface works, and of at least one. A VIP in INIT (its cable is out) does
                 not count: where the peer is dead too, the other VIPs have nobody else, nor have the services.
    STOP         an operator took it out (`syncsrv vip disable`), or it has no VIPs any more
    MAINTENANCE  demoted by an operator, and not MASTER as above
    INIT         no VIP can work: no link, no address of its own
    BACKUP       all else; also MASTER of some VIPs while another node is MASTER of the rest

Nothing is concluded from silence: while the carp process does not answer, the state is unknown, and nothing is started,
stopped or called. Its VIPs leave by themselves then, if it is dead.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from syncsrv.failover.messages import Report
from syncsrv.failover.outcome import key_of


class NodeState(enum.StrEnum):
    """The CARP state of a node, of all its VIPs in one word."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    INIT = "INIT"
    MAINTENANCE = "MAINTENANCE"
    STOP = "STOP"


def state_of(report: Report | None) -> NodeState | None:
    """The node's state; None where nothing is known."""
    if report is None:
        return None
    working = [vip for vip in report.vips if vip.state != "INIT"]
    if working and all(vip.state == "MASTER" for vip in working):
        return NodeState.MASTER
    if report.disabled or not report.vips:
        return NodeState.STOP
    if report.maintenance:
        return NodeState.MAINTENANCE
    return NodeState.BACKUP if working else NodeState.INIT


def why(report: Report) -> str:
    """Why the node is in its state: the reason of the VIP that changed last."""
    newest = max(report.vips, key=lambda vip: vip.since_boot_s, default=None)
    return "" if newest is None else f"{key_of(newest)}: {newest.reason}"


def serves(report: Report | None) -> bool | None:
    """Whether services with ``run_on: carp-master`` belong here; None where nothing is known."""
    state = state_of(report)
    return None if state is None else state is NodeState.MASTER


def served(report: Report | None) -> tuple[str, ...]:
    """What this node is MASTER of, for people: ``1@lan (192.0.2.10/24)``."""
    vips = () if report is None else report.vips
    return tuple(f"{key_of(vip)} ({', '.join(vip.addresses)})" for vip in vips if vip.state == "MASTER")


def took_over_s(report: Report, booted_s: float) -> float | None:
    """Seconds since this node became MASTER of the last VIP that it is MASTER of; None where it is of none.

    Args:
        report: of it.
        booted_s: CLOCK_BOOTTIME now; no wall clock, which anybody may set.
    """
    since = [vip.since_boot_s for vip in report.vips if vip.state == "MASTER"]
    return booted_s - max(since) if since else None


def held(report: Report) -> frozenset[str]:
    """The VIPs that this node is MASTER of."""
    return frozenset(key_of(vip) for vip in report.vips if vip.state == "MASTER")


def states(report: Report) -> Mapping[str, str]:
    """VIP to CARP state."""
    return {key_of(vip): vip.state for vip in report.vips}
