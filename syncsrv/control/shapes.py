"""What is asked and what is answered: the dataclasses of the table of verbs. Standard library only.

The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
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
class ServiceInfo:
    name: str
    state: str
    since: str | None
    pid: int | None
    restart_pending: bool
    health: str
    reason: str
    pending_why: str = ""
    run_on: str = "always"
    """``pending_why``: which files are newer than what its process has read; ``run_on``: always, carp-master, never."""


@dataclass(frozen=True, slots=True)
class StateSyncInfo:
    engine: str = "none"


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
class LeftOutInfo:
    """Something inside an area that is not in the history, and why."""

    path: str
    area: str
    reason: str
    detail: str


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
    state_sync: StateSyncInfo = StateSyncInfo()
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


@dataclass(frozen=True, slots=True)
class CommitRequest:
    message: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitReply:
    """``commit`` is None when there was nothing to commit."""

    commit: str | None
    subject: str
    files: int
    left_out: tuple[LeftOutInfo, ...]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """``node``: a peer, as its main was last fetched; ``before``: only what is older than this commit."""

    path: str | None = None
    limit: int = 50
    node: str = ""
    area: str | None = None
    author: str | None = None
    via: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    commit: str
    at: str
    author: str
    subject: str
    via: str
    node: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    areas: tuple[str, ...] = ()
    tagged_at: str = ""
    """``areas``: those that it touches, as they are drawn now; ``tagged_at``: when its newest sync tag was made."""


@dataclass(frozen=True, slots=True)
class LogReply:
    """``more``: there are older ones; ``age_s``: of what is known of a peer's main; ``areas``: all that there are."""

    commits: tuple[LogEntry, ...]
    more: bool = False
    age_s: float | None = None
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that differs: added, removed, changed, type, mode, owner or xattr, the first that holds."""

    path: str
    status: str
    area: str
    old_mode: str | None
    new_mode: str | None
    old_owner: str | None = None
    new_owner: str | None = None
    binary: bool = False
    patch: str = ""
    old_size: int | None = None
    new_size: int | None = None
    old_blob: str = ""
    new_blob: str = ""
    large: bool = False
    """Too large to be compared line by line."""
    old_text: str | None = None
    new_text: str | None = None
    """Where texts were asked for, and it is text on both sides."""
    old_kind: str = ""
    new_kind: str = ""
    """file, link (its text is its target) or directory; empty where it does not exist."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of many files: deletions first, then additions, then changes, each by path.

    ``limit`` 0: all, by path. ``paths``: only these. ``texts``: both sides of each file come along.
    """

    offset: int = 0
    limit: int = 0
    paths: tuple[str, ...] = ()
    texts: bool = False


@dataclass(frozen=True, slots=True)
class AreaCount:
    """How many paths of an area go, come, or become another."""

    area: str
    deleted: int = 0
    added: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class ShowRequest:
    rev: str
    patch: bool = True
    part: Slice = Slice()


@dataclass(frozen=True, slots=True)
class ShowReply:
    commit: LogEntry
    body: str
    parents: tuple[str, ...]
    files: tuple[FileChange, ...]
    counts: tuple[AreaCount, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """No revision: what Synchronize would bring to each backup. One: from it to what is live. Two: between them.

    ``cached``: neither a peer nor the disk is asked: a peer's tree is the one last known, this node's is main.
    ``target``: with no revision, instead of main.
    """

    revs: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    patch: bool = False
    part: Slice = Slice()
    cached: bool = False
    target: str = ""
    nodes: tuple[str, ...] = ()
    """With no revision, only these backups; empty for all."""


@dataclass(frozen=True, slots=True)
class NodeDiff:
    """``age_s`` is None for a tree that was read now; ``unseen`` are areas that the node does not know yet.

    ``counts`` are of all files, also where ``files`` is a part of them.
    """

    base: str | None
    target: str
    files: tuple[FileChange, ...]
    deletions: int
    age_s: float | None = None
    unseen: tuple[str, ...] = ()
    counts: tuple[AreaCount, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffReply:
    nodes: Mapping[str, NodeDiff]


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


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """``want``: ``tag`` (``tag_object``, the newest where empty) or ``main``; ``haves``: commits the asker has."""

    want: str
    tag_object: str = ""
    haves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchReply:
    """What the pack that follows brings; ``tag`` is the tag's name, empty where there is none; ``head`` is main."""

    tag: str
    object: str
    head: str | None
    version: str


@dataclass(frozen=True, slots=True)
class ServicesRequest:
    """``action``: status, start, stop, restart, reload or restart-all; ``node``: empty for the one that is asked."""

    node: str = ""
    action: str = "status"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionInfo:
    name: str
    action: str
    result: str
    reason: str
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class ServicesReply:
    node: str
    services: tuple[ServiceInfo, ...]
    results: tuple[ActionInfo, ...] = ()
