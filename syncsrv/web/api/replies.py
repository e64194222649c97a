"""Answers of the API that are no verb's reply as it is, but a part of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import JobInfo, Status
from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_page import Session
from syncsrv.control.shapes_statesync import StateSync


@dataclass(frozen=True, slots=True)
class Me:
    """Who asks. A session's own id is never told, or a script could carry it away; a token has no end."""

    person: str
    role: str
    ends_at: str
    idle_s: float


@dataclass(frozen=True, slots=True)
class JobsReply:
    """Jobs of this node, the newest first."""

    jobs: tuple[JobInfo, ...]


@dataclass(frozen=True, slots=True)
class VersionReply:
    """``version``: of the program; ``api``: of this interface, as in its address."""

    version: str
    api: str
    node: str
    cluster: str


@dataclass(frozen=True, slots=True)
class NodeVips:
    """What a node said of its virtual addresses.

    Attributes:
        reachable: whether it answers this node; where it does not, it may hold something else by now.
        age_s: of the reading; 0 for this node, None for a peer that was never heard.
        vips: each; UNKNOWN where its carp process does not answer.
        demotion: how far it has lowered its own rank, and why.
        failover: its carp process, and what an operator has told it.
        state_sync: its table of connections, and how that reaches the other node.
    """

    reachable: bool
    age_s: float | None
    vips: tuple[VipInfo, ...]
    demotion: Demotion
    failover: FailoverInfo
    state_sync: StateSync


@dataclass(frozen=True, slots=True)
class VipsReply:
    """Node to what it holds; a peer that is not reachable may hold something else by now."""

    nodes: Mapping[str, NodeVips]


@dataclass(frozen=True, slots=True)
class NodeDrift:
    """``age_s``: of the reading; 0 for this node, None for a peer that was never heard."""

    reachable: bool
    age_s: float | None
    applied_tag: str | None
    drift: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriftReply:
    """Backup to the paths that were changed there; a master has none, changes are made there."""

    nodes: Mapping[str, NodeDrift]


def me(session: Session) -> Me:
    """A session, without its id."""
    return Me(session.person, session.role, session.ends_at, session.idle_s)


def jobs(status: Status) -> JobsReply:
    """The jobs that status names."""
    return JobsReply(status.jobs)


def vips(status: Status) -> VipsReply:
    """This node's virtual addresses and each peer's."""
    peers = {
        name: NodeVips(one.reachable, one.age_s, one.vips, one.demotion, one.failover, one.state_sync)
        for name, one in status.peers.items()
    }
    own = NodeVips(True, 0.0, status.vips, status.demotion, status.failover, status.state_sync)
    return VipsReply({status.node: own, **peers})


def drift(status: Status) -> DriftReply:
    """What each backup has that no sync brought."""
    nodes = {
        name: NodeDrift(one.reachable, one.age_s, one.applied_tag, one.drift)
        for name, one in status.peers.items()
        if one.role != "master"
    }
    if status.role != "master":
        nodes[status.node] = NodeDrift(True, 0.0, status.sync.applied_tag, status.sync.drift)
    return DriftReply(nodes)
