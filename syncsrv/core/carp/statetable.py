"""How the table of connections is, as status and facts have it, and what is wrong between two nodes. Pure.

The process that keeps conntrackd says it in ``run_dir/state-sync.json``; what is old, missing or unreadable is unknown,
with the reason. What it counted last stays beside that, with its age.
"""

from __future__ import annotations

from dataclasses import replace

from syncsrv.config.load import Configuration
from syncsrv.control.shapes_statesync import (
    OFF,
    UNKNOWN,
    NoStateSync,
    StateLinkInfo,
    StateOrder,
    StateSync,
    StateSyncInfo,
)
from syncsrv.core.carp.statelinks import Choice
from syncsrv.failover.statesync.state import OLD_S, LastOrder, State

ENTRIES_LEAST = 200
ENTRIES_RATIO = 2
"""Two tables are far apart where one node carries so many connections more than the other knows, and so many times as
many: short ones come and go between two looks. What a node has for itself is in its own table alone."""

WORKS = ("ready", "waiting", "alone")
"""Words of a conntrackd that runs and answers."""

BREAKS = "a failover now breaks open connections"


def info(config: Configuration, choice: Choice, found: State | None, why: str, boot_s: float) -> StateSync:
    """What is known now.

    Args:
        config: in force.
        choice: what conntrackd of this node is to work with.
        found: what its keeper said last; None where it said nothing.
        why: it could not be read, in a sentence; empty where it could.
        boot_s: seconds since boot, now.
    """
    wanted = config.cluster.state_sync
    if wanted.engine == "none" or not config.cluster.vips:
        return NoStateSync()
    names = {device: name for name, device in reversed(config.node.interfaces.items()) if name in wanted.interfaces}
    links = choice.state_sync.links if choice.state_sync is not None else ()
    empty = StateSyncInfo(
        engine="conntrackd",
        word=UNKNOWN,
        reason=why or "the carp process has said nothing of conntrackd yet",
        remedy="see whether the carp process runs, and its log",
        way="unicast" if wanted.unicast else "multicast",
        port=wanted.port,
        links=tuple(StateLinkInfo(names[one.device], one.device, one.address) for one in links),
    )
    if choice.state_sync is None:
        return replace(empty, word=OFF, reason=choice.reason, remedy=choice.remedy)
    if found is None:
        return empty
    age_s = round(max(0.0, boot_s - found.at_boot_s), 1)
    known = replace(
        empty,
        word=found.word,
        reason=found.reason,
        remedy=found.remedy,
        pid=found.pid,
        entries=found.entries,
        carried=found.carried,
        received=found.received,
        peer=found.peer,
        lag=found.lag,
        errors=dict(found.errors),
        table=found.table,
        last_order=_order(found.last_order, boot_s),
        age_s=age_s,
    )
    if age_s > OLD_S:
        said = f"the carp process has said nothing of conntrackd for {age_s:.0f} s"
        return replace(known, word=UNKNOWN, reason=said, remedy=empty.remedy)
    return known


def _order(order: LastOrder | None, boot_s: float) -> StateOrder | None:
    if order is None:
        return None
    age_s = round(max(0.0, boot_s - order.at_boot_s), 1)
    return StateOrder(order.what, order.result, order.why, order.seconds, age_s)


def heard(told: StateSync, since_s: float | None, *, reachable: bool) -> StateSync:
    """What a peer told of itself, ``since_s`` seconds ago; nothing is known of one that is away."""
    if isinstance(told, NoStateSync):
        return told
    order = told.last_order
    aged = replace(
        told,
        age_s=_older(told.age_s, since_s),
        last_order=None if order is None else replace(order, age_s=round(order.age_s + (since_s or 0.0), 1)),
    )
    if reachable:
        return aged
    return replace(aged, word=UNKNOWN, reason="the node cannot be reached; this is what it said last", remedy="")


def _older(age_s: float | None, since_s: float | None) -> float | None:
    return None if age_s is None or since_s is None else round(age_s + since_s, 1)


def own_trouble(us: StateSync) -> str:
    """What an operator should look at here, in a sentence; empty where nothing."""
    if isinstance(us, NoStateSync):
        return ""
    if us.word in WORKS:
        order = us.last_order
        if order is None or order.result != "failed":
            return ""
        return f"conntrackd did not do what it was told ({order.what}), so connections may be missing here: {order.why}"
    return f"open connections are not carried to the other node: {_said(us.reason, us.remedy)}"


def between(us: StateSync, name: str, peer: StateSync) -> tuple[str, ...]:
    """What is wrong with a peer's side, or between the two, a sentence each; but for what has to last: see below.

    Args:
        us: this node.
        name: the peer's.
        peer: as it says of itself now.
    """
    if isinstance(us, NoStateSync):
        if isinstance(peer, NoStateSync):
            return ()
        return (f"{name} has a state sync and this node has none: {BREAKS}; cluster.yaml differs, synchronize it",)
    if isinstance(peer, NoStateSync):
        return (f"{name} has no state sync: {BREAKS}; cluster.yaml differs, synchronize it",)
    said = []
    ours, theirs = _settings(us), _settings(peer)
    if ours != theirs and OFF not in (us.word, peer.word):  # that one is off is said, with its own remedy
        said.append(
            f"the state sync of {name} works with {theirs}, this node's with {ours}: neither hears the other, and "
            f"{BREAKS}; cluster.yaml differs, synchronize it"
        )
    if peer.word not in WORKS:
        said.append(f"{BREAKS}: {name} does not take this node's: {_said(peer.reason, peer.remedy)}")
    elif peer.table == "timed out":
        said.append(f"{name} waited for the table of connections and did not get all of it: {BREAKS}")
    return tuple(said)


def deaf(us: StateSync, peer: StateSync) -> bool:
    """Whether both conntrackds run, and one does not hear the other."""
    if isinstance(us, NoStateSync) or isinstance(peer, NoStateSync):
        return False
    return us.word in WORKS and peer.word in WORKS and "silent" in (us.peer, peer.peer)


def unheard(us: StateSyncInfo, name: str) -> str:
    """The sentence for that."""
    return (
        f"{name} answers, but the conntrackd of one node does not hear the other's: {BREAKS}; let UDP port "
        f"{us.port} through on {_interfaces(us)} of both"
    )


def far_apart(us: StateSync, peer: StateSync) -> bool:
    """Whether one carries so many connections more than the other knows that no burst of short ones explains it."""
    if isinstance(us, NoStateSync) or isinstance(peer, NoStateSync) or "ready" not in (us.word, peer.word):
        return False
    return any(_lacks(carried, known) for carried, known in ((us.carried, peer.entries), (peer.carried, us.entries)))


def _lacks(carried: int | None, known: int | None) -> bool:
    if carried is None or known is None:
        return False
    return carried - known >= ENTRIES_LEAST and carried >= ENTRIES_RATIO * known


def apart(us: StateSyncInfo, name: str, peer: StateSyncInfo) -> str:
    """The sentence for that."""
    if _lacks(us.carried, peer.entries):
        said = f"this node carries {us.carried} connections, and {name} knows {peer.entries}"
    else:
        said = f"{name} carries {peer.carried} connections, and this node knows {us.entries}"
    return f"{said}: {BREAKS}; see the errors and the lag of both"


def _settings(one: StateSyncInfo) -> str:
    links = f"{len(one.links)} links" if len(one.links) != 1 else "1 link"
    return f"{one.engine} by {one.way} on port {one.port}, {links}"


def _interfaces(one: StateSyncInfo) -> str:
    return " and ".join(f"{link.interface} ({link.device})" for link in one.links) or "the interface between them"


def _said(reason: str, remedy: str) -> str:
    return f"{reason}; {remedy}" if remedy else reason
