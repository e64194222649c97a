"""What the keeper says about itself, out of what it knows. Pure."""

from __future__ import annotations

from dataclasses import replace

from syncsrv.failover.statesync.decide import Machine
from syncsrv.failover.statesync.state import LastOrder, State, Trouble, Word
from syncsrv.failover.statesync.stats import Stats

ENGINE = "conntrackd"

NOT_INSTALLED = Trouble(
    "conntrackd is not installed", "`apt install conntrackd`, or take `state_sync:` out of cluster.yaml"
)


def state(
    machine: Machine,
    stats: Stats | None,
    *,
    trouble: Trouble | None,
    missing: bool,
    pid: int | None,
    entries: int,
    last: LastOrder | None,
    now: float,
) -> State:
    """How it is at ``now``; ``at_boot_s`` is for the caller to fill in.

    Args:
        machine: what is known.
        stats: the last reading; None: there is none.
        trouble: why conntrackd does not run, or does not do what it should.
        missing: it is not installed.
        pid: conntrackd's.
        entries: of the kernel's table.
        last: order.
        now: monotonic seconds.
    """
    starting = stats is None and trouble is None
    word, reason, remedy = _STARTING if starting else _word(machine, trouble, missing, now)
    return State(
        engine=ENGINE,
        word=word,
        reason=reason,
        remedy=remedy,
        pid=pid,
        at_boot_s=0.0,
        entries=entries,
        carried=stats.carried if stats is not None else 0,
        received=stats.taken if stats is not None else 0,
        peer=machine.peer(now),
        lag=stats.lag if stats is not None else 0,
        last_order=last,
        table=machine.table,
        errors=dict(stats.errors) if stats is not None else {},
    )


def standing(said: State) -> State:
    """Without what only time and traffic change: two that are equal in it need not be told apart."""
    return replace(said, at_boot_s=0.0, entries=0, carried=0, received=0, lag=0, errors={})


def _word(machine: Machine, trouble: Trouble | None, missing: bool, now: float) -> tuple[Word, str, str]:
    if trouble is not None:
        lost = "; this node serves on, and a failover breaks open connections" if machine.serving else ""
        return ("missing" if missing else "dead"), trouble.reason + lost, trouble.remedy
    if machine.table == "awaited":
        if machine.peer(now) == "silent":
            return "waiting", "no peer is heard yet; its connections are waited for", _LOOK
        return "waiting", "the peer's connections are on their way", ""
    if machine.peer(now) == "unknown":
        return "waiting", "conntrackd has just started: whether a peer is there is not known yet", ""
    if machine.peer(now) == "silent":
        return "alone", "no peer is heard: connections would not survive a failover", _LOOK
    if machine.serving:
        return "ready", "this node's connections are sent to the peer", ""
    if machine.table == "timed out":
        return "ready", "the peer is heard, and its connections did not come in time", ""
    return "ready", "the peer's connections are known here", ""


_STARTING: tuple[Word, str, str] = ("waiting", "conntrackd is being started", "")
_LOOK = (
    "see whether conntrackd runs on the peer (`syncsrv status` there), whether the link between them is up, and that "
    "no firewall drops its port on that link"
)
