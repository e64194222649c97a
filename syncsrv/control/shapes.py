"""What is asked and answered: jobs, synchronizing, and how a node stands. Standard library only.

The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_history import LeftOutInfo
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.control.shapes_statesync import NoStateSync, StateSync
from syncsrv.plan.verdict import Situation


@dataclass(frozen=True, slots=True)
class Empty:
    """No arguments, or nothing to say."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a job as it is shown: ``result`` is running, done, failed, skipped or warning."""

    name: str
    result: str
    seconds: float = 0.0
    output: str = ""


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What became of one node: done, unchanged, failed, refused or unreachable."""

    result: str
    reason: str = ""
    remedy: str = ""
    guards: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStarted:
    job: str


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Wait up to ``wait_s`` for steps after the first ``after``, or for the end."""

    job: str
    after: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class JobReply:
    """A job so far; ``steps`` are those after ``after``, as (node, step); ``nodes`` are filled at the end."""

    job: str
    kind: str
    state: str
    steps: tuple[tuple[str, Step], ...] = ()
    tag: str | None = None
    nodes: Mapping[str, NodeResult] = field(default_factory=dict)
    requested_by: str = ""
    at: str = ""
    origin: str = ""
    reason: str = ""
    subject: str = ""
    ended_at: str = ""


@dataclass(frozen=True, slots=True)
class HeadInfo:
    commit: str
    at: str
    subject: str


@dataclass(frozen=True, slots=True)
class LastSync:
    job: str
    result: str
    at: str


@dataclass(frozen=True, slots=True)
class SyncInfo:
    """Where a node stands; ``state``: a word of DESIGN 3.3; ``lacks``: areas in which its master has something else."""

    state: str
    reason: str
    remedy: str
    applied_tag: str | None
    areas: Mapping[str, str]
    behind: int
    drift: tuple[str, ...]
    known_good: str | None
    confirm_by: str | None
    hold: str | None
    last: LastSync | None
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer as last heard, or never (``age_s`` None); ``lacks``: areas in which its master has something else.

    ``page``: ADDRESS:PORT where it says that its page is; empty where only the node itself reaches that.
    """

    role: str | None
    reachable: bool
    seen_at: str | None
    age_s: float | None
    version: str | None
    state: str
    reason: str
    remedy: str
    applied_tag: str | None = None
    behind: int = 0
    drift: tuple[str, ...] = ()
    known_good: str | None = None
    services: tuple[ServiceInfo, ...] = ()
    vips: tuple[VipInfo, ...] = ()
    demotion: Demotion = field(default_factory=Demotion)
    areas: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    failover: FailoverInfo = field(default_factory=FailoverInfo)
    page: str = ""
    state_sync: StateSync = field(default_factory=NoStateSync)


@dataclass(frozen=True, slots=True)
class JobInfo:
    """``result`` per node, empty while it runs; ``subject``: what it is about, such as a tag or a service."""

    job: str
    kind: str
    state: str
    requested_by: str
    at: str
    origin: str = ""
    tag: str | None = None
    subject: str = ""
    results: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """``syncsrv status --json``; page and metrics are built from the same object."""

    node: str
    role: str
    version: str
    cluster: str
    head: HeadInfo | None
    last_tag: str | None
    untagged: int
    sync: SyncInfo
    peers: Mapping[str, PeerInfo]
    services: tuple[ServiceInfo, ...]
    vips: tuple[VipInfo, ...] = ()
    demotion: Demotion = field(default_factory=Demotion)
    maintenance: bool = False
    state_sync: StateSync = field(default_factory=NoStateSync)
    jobs: tuple[JobInfo, ...] = ()
    left_out: tuple[LeftOutInfo, ...] = ()
    notices: tuple[str, ...] = ()
    failover: FailoverInfo = field(default_factory=FailoverInfo)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a master has that a backup has not: areas that differ by content, and commits that touch them."""

    areas: tuple[str, ...]
    behind: int


@dataclass(frozen=True, slots=True)
class FactsRequest:
    """``applied``: area to the commit that the asker has applied, so that a master can say what it is behind."""

    applied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node tells its peers about itself; the word for it is decided by who hears it.

    Attributes:
        situation: what its own verdict is made from, without what only its master knows.
        applied: area to the commit that the tag applied there names.
        pending: on a master, what the asker is behind.
        people: a digest of names, roles, hashes and keys; a backup asks for them when it changes.
        last_tag: on a master, the newest tag.
        tagged: the commit that it names.
        failover: its process carp; with ``maintenance`` and ``disabled``.
        sources: logical interface to the addresses that its advertisements come from.
        vip_sets: VIP (``1@lan``) to a digest of its addresses and password, which two nodes must have in common.
        page: ADDRESS:PORT of its page; empty where only the node itself reaches that.
        accepts: peer to the digest of its declaration (``accept-also``) that is in force here.
        state_sync: how open connections reach its peer.
    """

    node: str
    role: str
    version: str
    head: str | None
    situation: Situation
    areas: Mapping[str, str]
    applied: Mapping[str, str]
    known_good: str | None
    services: tuple[ServiceInfo, ...]
    vips: tuple[VipInfo, ...]
    demotion: Demotion
    pending: Pending | None
    people: str = ""
    last_tag: str = ""
    tagged: str = ""
    failover: FailoverInfo = field(default_factory=FailoverInfo)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vip_sets: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    accepts: Mapping[str, str] = field(default_factory=dict)
    state_sync: StateSync = field(default_factory=NoStateSync)


@dataclass(frozen=True, slots=True)
class SyncRequest:
    nodes: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    rev: str | None = None
    reason: str = ""
    dry_run: bool = False
    restart_all: bool = False
    confirm_within_s: float | None = None
    force: tuple[str, ...] = ()
    plans: Mapping[str, str] = field(default_factory=dict)
    """Per node the plan that the operator was shown (``preview``); another one by now is refused."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A master asks a backup to pull a tag; ``tag`` is empty for a dry run of a commit that has none."""

    tag: str
    tag_object: str
    areas: tuple[str, ...]
    reason: str = ""
    dry_run: bool = False
    restart_all: bool = False
    confirm_within_s: float | None = None
    force: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    rev: str
    areas: tuple[str, ...] = ()
    reason: str = ""
    dry_run: bool = False
    force: tuple[str, ...] = ()
    plan: str = ""
    """The plan that the operator was shown (``preview``); another one by now is refused."""
