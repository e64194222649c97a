"""What only the page and its API ask, and what they are answered. Standard library only.

The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncsrv.control.shapes import Step
from syncsrv.control.shapes_history import AreaCount


@dataclass(frozen=True, slots=True)
class WebSetupRequest:
    """``digest``: of the setup that web has; ``listening``: the address that it already listens at."""

    digest: str = ""
    listening: str = ""


@dataclass(frozen=True, slots=True)
class WebSetup:
    """What the web process is told, never finds; a listening socket comes along where ``listen`` is not its own.

    Attributes:
        digest: of all below; where it is the one that web has, the rest is empty.
        listen: ADDR:PORT.
        certificate, key: PEM; both empty where TLS is off.
        fingerprint: SHA-256 of the certificate, for the log-in page; empty where TLS is off.
        cookie_secret: signs web's cookies; the same after a restart.
    """

    digest: str
    node: str = ""
    cluster: str = ""
    listen: str = ""
    certificate: str = ""
    key: str = ""
    fingerprint: str = ""
    cookie_secret: str = ""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """``device``: what an earlier log-in of this browser was given; it has a limit of its own."""

    name: str
    password: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in.

    Attributes:
        session: the id to send from now on; another one than was sent where core rotated it; empty for a token.
        person: empty for nobody.
        role: viewer, operator or admin.
        ends_at: when it ends whatever happens, UTC.
        idle_s: seconds without a request after which it ends.
        device: given at log-in, for the next one.
    """

    session: str = ""
    person: str = ""
    role: str = ""
    ends_at: str = ""
    idle_s: float = 0.0
    device: str = ""


@dataclass(frozen=True, slots=True)
class OwnPasswordRequest:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """What ``sync`` (``kind``) of these nodes, or ``rollback`` of this one to ``rev``, would do; asks no peer."""

    kind: str
    nodes: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    rev: str = ""


@dataclass(frozen=True, slots=True)
class GuardInfo:
    """A guard that fires; ``admin``: only an admin may force it."""

    guard: str
    saw: str
    remedy: str
    admin: bool


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """``action``: reload, restart, none; ``reason`` where it is not what on_change says."""

    name: str
    action: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodePreview:
    """What would happen on one node, as far as this node knows it.

    Attributes:
        plan: digest of everything that the operator was shown; ``sync`` and ``rollback`` take it and refuse another.
        base: the commit that is live there, as last known.
        target: the commit that it would get.
        tag: the tag that this commit already has with these areas; empty where one would be made.
        tag_next: the name that a new tag would get.
        reachable, age_s: how old the knowledge is.
        areas: counts, those with changes first.
        checks: area and command line that would be run on the stage.
        refusals: what nothing can force.
        unseen: areas that the node does not know yet, so that what stands there is not known here.
        commands: at the node's first sync, the key and command line of everything that cluster.yaml has run there.
        ahead: on a backup, commits of its master's main that the tag has not; None where that is not known.
        failed: on a backup, why its last run, which was of this tag, did not bring it.
        rolled_back: to what, by whom and why the node was rolled back since its last sync.
    """

    plan: str
    base: str | None
    target: str
    tag: str
    tag_next: str
    reachable: bool
    age_s: float | None
    areas: tuple[AreaCount, ...]
    deletions: tuple[str, ...]
    services: tuple[ServicePlan, ...]
    checks: tuple[tuple[str, str], ...]
    guards: tuple[GuardInfo, ...]
    refusals: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    ahead: int | None = 0
    failed: str = ""
    rolled_back: str = ""


@dataclass(frozen=True, slots=True)
class PreviewReply:
    nodes: Mapping[str, NodePreview]


@dataclass(frozen=True, slots=True)
class FileRequest:
    """One path as it was at a revision of this node or, as last known, of a peer."""

    rev: str
    path: str


@dataclass(frozen=True, slots=True)
class FileReply:
    """Its bytes follow; ``kind``: file, link (its target follows) or directory (nothing follows)."""

    commit: str
    path: str
    kind: str
    mode: str
    owner: str
    size: int
    blob: str


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """Receipts of this node, newest first; ``before``: those older than this one."""

    limit: int = 50
    before: str | None = None
    job: str | None = None
    person: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class ReceiptInfo:
    """One receipt.

    ``origin`` is the address or the way (cli, ssh) that the request came from; ``subject`` and ``why``: what it is
    about and the person's reason; ``nodes``: the result of each node that did it.
    """

    commit: str
    at: str
    node: str
    job: str
    kind: str
    tag: str | None
    requested_by: str
    origin: str
    result: str
    reason: str
    guards: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    subject: str = ""
    why: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditReply:
    """``problem``: why older ones are not shown: a receipt that this node did not write, or that was changed.

    ``next``: the ``before`` of what follows, empty where nothing does; a filter may leave a reply without receipts that
    has more behind it.
    """

    receipts: tuple[ReceiptInfo, ...]
    more: bool = False
    problem: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One value that is in force; a secret only says that it is set.

    Attributes:
        key: as it is written, from the top of its file.
        value: as it would be written.
        file, line: where it stands; the line is 0 for a default.
        note: where the file says something else by now.
    """

    key: str
    value: str
    file: str = ""
    line: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class SettingsReply:
    """``problems``: why what the files say is not in force, or what in them should be looked at."""

    settings: tuple[SettingInfo, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """One thing that core does by the clock.

    Attributes:
        name: ``scan``, ``services``, ``peers``, ``repack``, or ``sync N`` for the Nth of cluster.yaml.
        when: in words: every 60 s, or the cron line.
        enabled: an admin has turned it on; always for core's own.
        next_at: when it fires next; None where it is off.
        last_at, last_result: how it went last, since core started or as remembered.
        missed: how often it could not run in time since core started.
        owner: in whose name a schedule of cluster.yaml synchronizes.
        digest: of a schedule of cluster.yaml: another one by now is refused by ``schedule-set``.
        hindrance: why it would not run now; empty where it would.
    """

    name: str
    when: str
    enabled: bool
    next_at: str | None = None
    last_at: str | None = None
    last_result: str = ""
    missed: int = 0
    owner: str = ""
    digest: str = ""
    hindrance: str = ""


@dataclass(frozen=True, slots=True)
class SchedulesReply:
    schedules: tuple[ScheduleInfo, ...]


@dataclass(frozen=True, slots=True)
class ScheduleSetRequest:
    """Turn a schedule of cluster.yaml on or off; ``digest``: the one that the admin was shown."""

    name: str
    enabled: bool
    digest: str = ""
