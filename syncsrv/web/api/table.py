"""The table of the API: what may be asked below /api/v1, and which verb answers it.

An operation takes the fields of its verb's request from its path, from what it fixes, and all others from the query
(GET, DELETE) or from a JSON body (POST, PUT). Routes and the OpenAPI document are both made from this table, so
they cannot say different things; who may ask is what the table of verbs says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field as Bounds

from syncsrv.control.dispatch import POWERS
from syncsrv.control.shapes import Empty, JobRequest, SyncRequest
from syncsrv.control.shapes_failover import ACTIONS, VipRequest
from syncsrv.control.shapes_history import LogRequest, Slice
from syncsrv.control.shapes_page import AuditRequest, PreviewRequest
from syncsrv.control.shapes_people import UserAddRequest as UserAdd
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.control.verbs import VERBS
from syncsrv.web.api import replies

PREFIX = "/api/v1"

WAIT_S = 25.0
"""For so long may a client ask to wait for a job's next step; core may answer earlier, also without news."""

PEER_S = 20.0
"""For an answer that may have to come from a peer; core gives the peer less."""

VIP_S = 25.0
"""For an order of failover: until it is known who took over, and what each peer says of itself."""

LONG_S = 90.0
"""For an answer that needs a full scan of the disk."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    Attributes:
        name: operationId of the document.
        method: GET, POST, PUT or DELETE.
        path: below /api/v1, ``{field}`` for a field of the request.
        verb: who answers; empty where web itself does.
        about: what it is good for, in one sentence.
        status: where it succeeds; 202 comes with the address of the started job.
        fixed: fields that this operation decides.
        required: fields that have to be sent although the verb has a default.
        reply: what is answered, where it is not the verb's reply.
        turn: makes it of the verb's reply.
        deadline_s: seconds that core has for the answer.
    """

    name: str
    method: str
    path: str
    verb: str
    about: str
    status: int = 200
    fixed: Mapping[str, object] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    reply: type | None = None
    turn: Callable[[Any], object] | None = None
    deadline_s: float = 10.0

    @property
    def power(self) -> str:
        """The least power of whoever asks."""
        return (VERBS[self.verb].power or "viewer") if self.verb else "viewer"

    @property
    def request(self) -> type:
        """The verb's request."""
        return VERBS[self.verb].request if self.verb else Empty

    @property
    def answer(self) -> type:
        """The shape of the answer."""
        return self.reply or VERBS[self.verb].reply

    @property
    def streams(self) -> bool:
        """Whether bytes are answered instead of JSON."""
        return bool(self.verb) and VERBS[self.verb].streams

    @property
    def has_body(self) -> bool:
        """Whether its fields come in a body."""
        return self.method in ("POST", "PUT") and bool(fields(self.sent))

    @property
    def in_path(self) -> tuple[str, ...]:
        """The fields that stand in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def sent(self) -> type:
        """The shape of the query or of the body: what path and row leave of the verb's request."""
        given = frozenset((*self.in_path, *self.fixed))
        kind = "Query" if self.method in ("GET", "DELETE") else "Body"
        name = "".join(word.title() for word in self.name.split("-")) + kind
        return _sent(name, self.request, given, frozenset(self.required))

    def build(self, path: Mapping[str, str], sent: object) -> object:
        """The verb's request.

        Args:
            path: what stood in the path.
            sent: query or body, an object of ``sent``.
        """
        values: dict[str, object] = {**self.fixed, **path}
        for one in fields(self.request):
            nested = _nested(self.request, one)
            if nested is not None:
                values[one.name] = nested(**{part.name: getattr(sent, part.name) for part in fields(nested)})
            elif one.name not in values:
                values[one.name] = getattr(sent, one.name)
        return self.request(**values)


_COUNT = Annotated[int, Bounds(ge=0, le=2**31 - 1)]
_NARROWED: Mapping[tuple[type, str], Any] = {
    (AuditRequest, "limit"): Annotated[int, Bounds(ge=1, le=1000)],
    (JobRequest, "after"): _COUNT,
    (JobRequest, "wait_s"): Annotated[float, Bounds(ge=0, le=WAIT_S, allow_inf_nan=False)],
    (LogRequest, "limit"): Annotated[int, Bounds(ge=1, le=1000)],
    (PreviewRequest, "kind"): Literal["sync", "rollback"],
    (ServicesRequest, "action"): Literal["start", "stop", "restart", "reload", "restart-all"],
    (Slice, "limit"): _COUNT,
    (Slice, "offset"): _COUNT,
    (SyncRequest, "confirm_within_s"): Annotated[float, Bounds(gt=0, le=86400, allow_inf_nan=False)] | None,
    (UserAdd, "role"): Literal[POWERS],
    (VipRequest, "action"): Literal[ACTIONS],
    (VipRequest, "weight"): Annotated[int, Bounds(ge=0, le=240)],
}
"""Field to its type as the document declares it, where the dataclass says less: its module is for everybody."""


@cache
def _sent(name: str, request: type, given: frozenset[str], required: frozenset[str]) -> type:
    found: list[tuple[str, Any, Any]] = []
    for one in fields(request):
        nested = _nested(request, one)
        if nested is not None:
            found += [_declared(nested, part, required) for part in fields(nested)]
        elif one.name not in given:
            found.append(_declared(request, one, required))
    made = make_dataclass(name, found, frozen=True, slots=True, kw_only=True)
    made.__doc__ = "" if (request.__doc__ or "").startswith(request.__name__ + "(") else request.__doc__
    return made


def _declared(shape: type, one: Field[Any], required: frozenset[str]) -> tuple[str, Any, Any]:
    kind = _NARROWED.get((shape, one.name)) or get_type_hints(shape)[one.name]
    if one.name in required:
        return one.name, kind, field()
    if one.default_factory is not MISSING:
        return one.name, kind, field(default_factory=one.default_factory)
    return one.name, kind, field(default=one.default) if one.default is not MISSING else field()


def _nested(shape: type, one: Field[Any]) -> type | None:
    """The dataclass that a field is, whose own fields then stand beside the others."""
    kind = get_type_hints(shape)[one.name]
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def is_many(kind: Any) -> bool:
    """Whether a field of a query may be given more than once."""
    return get_origin(kind) is tuple


def without_none(kind: Any) -> Any:
    """A type without its None, which no query can say."""
    if get_origin(kind) in (Union, UnionType):
        rest = [one for one in get_args(kind) if one is not NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get-session",
        "GET",
        "/session",
        "session",
        "Who asks, and what they may do.",
        reply=replies.Me,
        turn=replies.me,
    ),
    Operation(
        *("set-own-password", "PUT", "/session/password", "own-password", "Change the own password."),
        reply=replies.Me,
        turn=replies.me,
    ),
    Operation(
        "get-version", "GET", "/version", "", "Which node this is, and what it runs.", reply=replies.VersionReply
    ),
    Operation("get-overview", "GET", "/", "status", "All that is known of this node and of its peers."),
    Operation("get-status", "GET", "/status", "status", "The same, under the name of the command."),
    Operation(
        *("get-changes", "GET", "/changes", "diff", "What differs: between nodes, revisions and what is live."),
        deadline_s=PEER_S,
    ),
    Operation("get-history", "GET", "/history", "log", "Commits of this node or, as last fetched, of a peer."),
    Operation("get-commit", "GET", "/history/commit", "show", "One revision and what it changed."),
    Operation(
        *("get-file", "GET", "/history/file", "file", "One file's bytes as they were at a revision."),
        deadline_s=PEER_S,
    ),
    Operation(
        *("get-vips", "GET", "/vips", "status", "The virtual addresses of each node, as last known."),
        reply=replies.VipsReply,
        turn=replies.vips,
    ),
    Operation(
        *("act-on-vips", "POST", "/vips/actions", "vip", "Order failover of this node; says what really came of it."),
        deadline_s=VIP_S,
    ),
    Operation(
        *("get-drift", "GET", "/drift", "status", "What was changed on each node since it was synchronized."),
        reply=replies.DriftReply,
        turn=replies.drift,
    ),
    Operation("get-preview", "GET", "/preview", "preview", "What sync or rollback would do, and which guards fire."),
    Operation(
        *("commit", "POST", "/commit", "commit", "Record what is live now."),
        deadline_s=LONG_S,
    ),
    Operation("sync", "POST", "/sync", "sync", "Start a synchronization.", status=202),
    Operation("rollback", "POST", "/rollback", "rollback", "Start a rollback of this node.", status=202),
    Operation(
        "get-jobs", "GET", "/jobs", "status", "The jobs of this node.", reply=replies.JobsReply, turn=replies.jobs
    ),
    Operation(
        *("get-job", "GET", "/jobs/{job}", "job", "One job; waits for steps after the first `after`, or less."),
        deadline_s=WAIT_S + 10,
    ),
    Operation(
        *("abort-job", "POST", "/jobs/{job}/abort", "abort", "Ask a job to stop before its next step."),
        fixed={"after": 0, "wait_s": 0.0},
        deadline_s=PEER_S,
    ),
    Operation(
        *("get-services", "GET", "/services", "services", "The services of this node or of a peer, read now."),
        fixed={"action": "status", "names": ()},
        deadline_s=PEER_S,
    ),
    Operation(
        *("get-service-logs", "GET", "/services/logs", "services", "Services, and the logs of those named."),
        fixed={"action": "log"},
        deadline_s=PEER_S,
    ),
    Operation(
        *("act-on-services", "POST", "/services/actions", "act", "Start, stop, restart or reload services."),
        status=202,
        required=("action",),
        deadline_s=PEER_S,
    ),
    Operation("get-audit", "GET", "/audit", "audit", "Receipts: who asked for what, from where, and the result."),
    Operation("get-settings", "GET", "/settings", "settings", "The effective configuration, with file and line."),
    Operation("get-schedules", "GET", "/schedules", "schedules", "What core does by the clock."),
    Operation("set-schedule", "PUT", "/schedules/{name}", "schedule-set", "Turn a schedule on or off."),
    Operation("get-users", "GET", "/users", "user-list", "The users of this node; never a hash, never a token."),
    Operation("set-user", "PUT", "/users/{name}", "user-add", "Add a user, or change role, password or keys."),
    Operation("remove-user", "DELETE", "/users/{name}", "user-remove", "Remove a user with keys and tokens."),
    Operation("set-password", "PUT", "/users/{name}/password", "user-passwd", "Give a user another password."),
    Operation(
        *("make-token", "POST", "/users/{name}/tokens", "user-token", "Make a token for the API; it is shown once."),
        status=201,
    ),
    Operation("revoke-tokens", "DELETE", "/users/{name}/tokens", "user-revoke", "Make all tokens of a user worthless."),
)
