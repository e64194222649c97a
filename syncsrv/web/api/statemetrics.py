"""What Prometheus is told of the tables of connections. Nothing is 0 that is not known to be.

A node of which nothing is known now has one sample of ``syncsrv_state_sync_state``, that of unknown, beside the age of
what it said last; a node without state sync has none at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_statesync import OFF, UNKNOWN, StateSync, StateSyncInfo
from syncsrv.web.api.carpmetrics import Family, Metric, Samples

WORKS = ("ready", "waiting", "alone")
"""Words of a conntrackd that runs and answers."""
WORDS = (*WORKS, "dead", "missing", OFF)


def families(status: Status, gauge: Family[Metric], counter: Family[Metric]) -> Iterator[Metric]:
    """All of it, of this node and of each peer that has a state sync."""
    found: dict[str, StateSync] = {status.node: status.state_sync}
    found |= {name: one.state_sync for name, one in status.peers.items()}
    nodes = {name: one for name, one in found.items() if isinstance(one, StateSyncInfo)}
    known = {name: one for name, one in nodes.items() if one.word != UNKNOWN}
    by = ("node",)

    yield gauge("state_sync_state", "1 for the word of a node's state sync.", _words(nodes), (*by, "state"))
    up: Samples = {(name,): float(one.word in WORKS) for name, one in known.items()}
    yield gauge("state_sync_up", "Whether conntrackd of a node works.", up, by)
    tables: Samples = {(name,): float(one.table == "received") for name, one in known.items() if one.table != UNKNOWN}
    yield gauge("state_sync_table_received", "Whether a node has the other's table of connections.", tables, by)
    entries: Samples = {(name,): one.entries for name, one in known.items() if one.entries is not None}
    yield gauge("state_sync_entries", "Connections that a node's kernel knows.", entries, by)
    carried: Samples = {(name,): one.carried for name, one in known.items() if one.carried is not None}
    yield gauge("state_sync_carried", "Connections of a node that the other one is told of.", carried, by)
    received: Samples = {(name,): one.received for name, one in known.items() if one.received is not None}
    yield counter(
        "state_sync_received", "Connections taken from the other node since conntrackd started.", received, by
    )
    lag: Samples = {(name,): one.lag for name, one in known.items() if one.lag is not None}
    yield gauge("state_sync_lag", "Messages that wait to be sent or acknowledged.", lag, by)
    errors: Samples = {(name, what): number for name, one in known.items() for what, number in one.errors.items()}
    yield counter("state_sync_errors", "What went wrong since conntrackd started, by name.", errors, (*by, "error"))
    ages: Samples = {(name,): one.age_s for name, one in nodes.items() if one.age_s is not None}
    yield gauge("state_sync_age_seconds", "Seconds since a node's conntrackd was looked at.", ages, by)


def _words(nodes: Mapping[str, StateSyncInfo]) -> Samples:
    found: Samples = {}
    for name, one in nodes.items():
        found[name, UNKNOWN] = float(one.word == UNKNOWN)
        if one.word != UNKNOWN:
            found |= {(name, word): float(word == one.word) for word in WORDS}
    return found
