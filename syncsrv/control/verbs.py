"""The one table of what a node can be asked (DESIGN law 3), with who may ask it. Standard library only.

A verb has a name, a request, a reply, the least power of the caller and the doors it may come through. Command
line, page, API and peers all go through this table; core checks it before a handler runs. The meaning of a field
never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import (
    Empty,
    Facts,
    FactsRequest,
    JobReply,
    JobRequest,
    JobStarted,
    PullRequest,
    RollbackRequest,
    Status,
    SyncRequest,
)
from syncsrv.control.shapes_failover import Declaration, VipReply, VipRequest
from syncsrv.control.shapes_history import (
    CommitReply,
    CommitRequest,
    DiffReply,
    DiffRequest,
    FetchReply,
    FetchRequest,
    LogReply,
    LogRequest,
    ShowReply,
    ShowRequest,
)
from syncsrv.control.shapes_page import (
    AuditReply,
    AuditRequest,
    FileReply,
    FileRequest,
    LoginRequest,
    LogoutRequest,
    OwnPasswordRequest,
    PreviewReply,
    PreviewRequest,
    ScheduleSetRequest,
    SchedulesReply,
    Session,
    SettingsReply,
    WebSetup,
    WebSetupRequest,
)
from syncsrv.control.shapes_people import (
    PasswordRequest,
    PeopleReply,
    TokenReply,
    UserAddRequest,
    UserRequest,
    UsersReply,
)
from syncsrv.control.shapes_services import ServicesReply, ServicesRequest


class Door(enum.StrEnum):
    """Where a request came in; core decides it from the socket, never from what the request says."""

    LOCAL = "local"
    """core.sock: the command line of this host."""
    WEB = "web"
    PEER = "peer"
    """A pinned node, its signature checked by core."""
    PERSON = "person"
    """A person with a listed SSH key."""
    DOOR = "door"
    """The door process itself, about its own business."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the table.

    Attributes:
        name: as it travels.
        request: the dataclass of its arguments.
        reply: the dataclass of its answer.
        power: the least power of the caller: viewer, operator or admin.
        doors: where it may come in.
        streams: whether binary chunks follow the reply.
    """

    name: str
    request: type
    reply: type
    power: str
    doors: frozenset[Door]
    streams: bool = False


_PEOPLE = frozenset({Door.LOCAL, Door.WEB, Door.PERSON})
_ALL = _PEOPLE | {Door.PEER}
_PEERS = frozenset({Door.PEER})
_HERE = frozenset({Door.LOCAL, Door.WEB})
_WEB = frozenset({Door.WEB})

_TABLE = (
    Verb("status", Empty, Status, "viewer", _PEOPLE),
    Verb("log", LogRequest, LogReply, "viewer", _PEOPLE),
    Verb("show", ShowRequest, ShowReply, "viewer", _PEOPLE),
    Verb("diff", DiffRequest, DiffReply, "viewer", _PEOPLE),
    Verb("job", JobRequest, JobReply, "viewer", _ALL),
    Verb("commit", CommitRequest, CommitReply, "operator", _PEOPLE),
    Verb("sync", SyncRequest, JobStarted, "operator", _PEOPLE),
    Verb("rollback", RollbackRequest, JobStarted, "operator", _PEOPLE),
    Verb("abort", JobRequest, JobReply, "operator", _ALL),
    Verb("services", ServicesRequest, ServicesReply, "viewer", _ALL),
    Verb("act", ServicesRequest, JobStarted, "operator", _ALL),
    Verb("vip", VipRequest, VipReply, "operator", _PEOPLE),
    Verb("user-list", Empty, UsersReply, "admin", _HERE),
    Verb("user-add", UserAddRequest, UsersReply, "admin", _HERE),
    Verb("user-remove", UserRequest, UsersReply, "admin", _HERE),
    Verb("user-passwd", PasswordRequest, UsersReply, "admin", _HERE),
    Verb("user-token", UserRequest, TokenReply, "admin", _HERE),
    Verb("user-revoke", UserRequest, UsersReply, "admin", _HERE),
    Verb("preview", PreviewRequest, PreviewReply, "viewer", _PEOPLE),
    Verb("file", FileRequest, FileReply, "viewer", _PEOPLE, streams=True),
    Verb("audit", AuditRequest, AuditReply, "viewer", _PEOPLE),
    Verb("settings", Empty, SettingsReply, "viewer", _HERE),
    Verb("schedules", Empty, SchedulesReply, "viewer", _HERE),
    Verb("schedule-set", ScheduleSetRequest, SchedulesReply, "admin", _HERE),
    Verb("web-setup", WebSetupRequest, WebSetup, "", _WEB),
    Verb("login", LoginRequest, Session, "", _WEB),
    Verb("session", Empty, Session, "", _WEB),
    Verb("logout", LogoutRequest, Empty, "", _WEB),
    Verb("own-password", OwnPasswordRequest, Session, "viewer", _WEB),
    Verb("reload", Empty, Empty, "admin", frozenset({Door.LOCAL})),
    Verb("facts", FactsRequest, Facts, "viewer", _PEERS),
    Verb("people", Empty, PeopleReply, "operator", _PEERS),
    Verb("accept-also", Declaration, Declaration, "operator", _PEERS),
    Verb("fetch", FetchRequest, FetchReply, "viewer", _PEERS, streams=True),
    Verb("pull", PullRequest, JobStarted, "operator", _PEERS),
)

VERBS: Mapping[str, Verb] = {verb.name: verb for verb in _TABLE}
