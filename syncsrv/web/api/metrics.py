"""What Prometheus is told, made from the status object; the only module that knows its library.

A gauge that is not known is left out, never shown as 0: a rule about it then has nothing to fire on, and
``syncsrv_peer_reachable`` says why. All states and roles of a node are listed, the one that holds with 1, so that a
rule can be written before a state was ever seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan import verdict
from syncsrv.web.api import carpmetrics, statemetrics

OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain"

ROLES = ("master", "backup")
STATES = tuple(word for word, _ in verdict.TABLE)
RESULTS = ("done", "unchanged", "failed", "rolled_back", "refused")

_Samples = dict[tuple[str, ...], float]
_AS_OPENMETRICS: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest


@dataclass(frozen=True, slots=True)
class _Node:
    """What status says of one node, be it this one or a peer."""

    role: str | None
    state: str
    services: tuple[ServiceInfo, ...]


class _FromStatus(Collector):
    """One scrape: ``status`` as it is now, None where core does not answer."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        yield gauge("up", "Whether core answers; without it nothing else is told.", {(): float(bool(self._status))})
        if self._status is not None:
            yield from _families(self._status)


def render(status: Status | None, *, as_openmetrics: bool) -> tuple[bytes, str]:
    """The text of a scrape and its content type.

    Args:
        status: None where core does not answer.
        as_openmetrics: whether the scraper asked for OpenMetrics.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FromStatus(status))
    if as_openmetrics:
        return _AS_OPENMETRICS(registry), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _families(status: Status) -> Iterator[Metric]:
    own = status.node
    peers = status.peers
    nodes = {own: _Node(status.role, status.sync.state, status.services)}
    nodes |= {name: _Node(one.role, one.state, one.services) for name, one in peers.items()}
    behind = {own: status.sync.behind, **{name: one.behind for name, one in peers.items() if one.age_s is not None}}
    drift = {own: status.sync.drift, **{name: one.drift for name, one in peers.items() if one.age_s is not None}}

    labels = ("node", "cluster", "version")
    yield gauge("build_info", "What this node runs.", {(own, status.cluster, status.version): 1}, labels)
    yield _one_of("role", "The role of a node.", {name: one.role for name, one in nodes.items()}, ROLES)
    yield _one_of("state", "The state of a node.", {name: one.state for name, one in nodes.items()}, STATES)
    yield _per_node("behind_commits", "Commits of the master that a node has not applied.", behind)
    yield _per_node("drift_files", "Files changed on a node since they were applied.", _counts(drift))
    yield gauge("untagged_commits", "Commits that no tag has yet.", {(): status.untagged})
    yield gauge("jobs_running", "Jobs of this node under way.", {(): _running(status)})

    reachable: _Samples = {(name,): float(one.reachable) for name, one in peers.items()}
    ages: _Samples = {(name,): one.age_s for name, one in peers.items() if one.age_s is not None}
    yield gauge("peer_reachable", "Whether a peer answered the last polls.", reachable, ("peer",))
    yield gauge("peer_age_seconds", "Seconds since a peer was last heard.", ages, ("peer",))

    yield from _services(nodes)
    yield from carpmetrics.families(status, gauge, counter)
    yield from statemetrics.families(status, gauge, counter)
    yield from _last_sync(status)

    left: Counter[tuple[str, ...]] = Counter((one.area, one.reason) for one in status.left_out)
    yield gauge("left_out_files", "Paths in an area that are not in the history.", left, ("area", "reason"))


def _services(nodes: Mapping[str, _Node]) -> Iterator[Metric]:
    labels = ("node", "service")
    running: _Samples = {}
    healthy: _Samples = {}
    pending: _Samples = {}
    memory: _Samples = {}
    restarts: _Samples = {}
    for node, its in nodes.items():
        for one in its.services:
            if one.state != "unknown":
                running[node, one.name] = one.state == "running"
            if one.health in ("ok", "failing"):
                healthy[node, one.name] = one.health == "ok"
            pending[node, one.name] = one.restart_pending
            if one.memory is not None:
                memory[node, one.name] = one.memory
            if one.restarts is not None:
                restarts[node, one.name] = one.restarts
    yield gauge("service_running", "Whether a service runs.", running, labels)
    yield gauge("service_healthy", "What its health check says, where it has one.", healthy, labels)
    yield gauge("service_restart_pending", "Whether it runs with an older configuration.", pending, labels)
    yield gauge("service_memory_bytes", "Memory of a service, or of its main process.", memory, labels)
    yield gauge("service_restarts", "Starts by its manager since a person last did.", restarts, labels)


def _last_sync(status: Status) -> Iterator[Metric]:
    last = status.sync.last
    if last is None:
        return
    yield _one_of("last_sync_result", "How the last run on this node ended.", {status.node: last.result}, RESULTS)
    if last.at:
        at = datetime.fromisoformat(last.at).timestamp()
        yield gauge("last_sync_timestamp_seconds", "When the last run on this node ended.", {(): at})


def _running(status: Status) -> int:
    return sum(job.state == "running" for job in status.jobs)


def _counts(found: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    return {name: len(paths) for name, paths in found.items()}


def _per_node(name: str, about: str, values: Mapping[str, float]) -> Metric:
    return gauge(name, about, {(node,): value for node, value in values.items()}, ("node",))


def _one_of(name: str, about: str, held: Mapping[str, str | None], words: tuple[str, ...]) -> Metric:
    """Every word of every node, 1 where it holds; a word that this version does not know comes along."""
    values: _Samples = {
        (node, word): float(word == now)
        for node, now in held.items()
        if now is not None
        for word in dict.fromkeys((*words, now))
    }
    return gauge(name, about, values, ("node", name.removeprefix("last_sync_")))


def gauge(
    name: str, about: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    """A number that goes up and down; what is not known is left out of ``values``."""
    family = GaugeMetricFamily(f"syncsrv_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def counter(
    name: str, about: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()
) -> CounterMetricFamily:
    """A number that only grows, and begins anew with the process that counts."""
    family = CounterMetricFamily(f"syncsrv_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family
