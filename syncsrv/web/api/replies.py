"""Answers of the API that are no verb's reply as it is, but a part of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import JobInfo, Status
from syncsrv.control.shapes_failover import Demotion, VipInfo
from syncsrv.control.shapes_page import Session


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
    """``age_s``: of the reading; 0 for this node, None for a peer that was never heard."""

    reachable: bool
    age_s: float | None
    vips: tuple[VipInfo, ...]
    demotion: Demotion


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
    peers = {name: NodeVips(one.reachable, one.age_s, one.vips, one.demotion) for name, one in status.peers.items()}
    return VipsReply({status.node: NodeVips(True, 0.0, status.vips, status.demotion), **peers})


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
