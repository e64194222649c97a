"""The shapes of node.yaml, cluster.yaml and secrets.yaml: frozen, read once, passed down.

Every key that a person may write stands here with its type, its default and its bounds; what depends on two keys
or on two files is checked in ``rules.py``. Positions in the text are not known here: pydantic's locations are
turned into lines and columns by ``load.py``. Scalars are strict: text is never taken for a number, nor a number
or a truth value for text.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
)

from syncsrv.config import cron, values
from syncsrv.config.values import SecretRef as SecretRef


def _named(what: str, pattern: str, rule: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(name: str) -> str:
        if not compiled.fullmatch(name):
            raise ValueError(f"cannot be {name!r}: {what} is {rule}")
        return name

    return AfterValidator(check)


def _checked(parse: Any) -> AfterValidator:
    """Keep the text as it was written, once ``parse`` accepts it."""

    def check(written: str) -> str:
        parse(written)
        return written

    return AfterValidator(check)


def _argument(written: str) -> str:
    if "\0" in written:
        raise ValueError("cannot hold a NUL character")
    return written


def _program_first(argv: tuple[str, ...]) -> tuple[str, ...]:
    if argv and not argv[0].strip():
        raise ValueError("cannot begin with an empty argument: the first is the program")
    return argv


def _one_line(written: str) -> str:
    if not written.isprintable():
        raise ValueError("cannot hold line breaks or other control characters")
    return written


def _own_path(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"cannot be '{path}': write an absolute path")
    return Path(values.normal_path(str(path)))


def _or_none_yet(data: Any) -> Any:
    """A key whose content is all commented out says nothing yet."""
    return {} if data is None else data


def _listed(data: Any) -> Any:
    """Only a list is a list, or nothing yet: pydantic would also take a set or a mapping's keys."""
    if data is None:
        return ()
    if isinstance(data, list | tuple):
        return data
    raise ValueError("cannot be a single value: write a list, such as [a, b]")


def _one_or_list(data: Any) -> str:
    return "list" if isinstance(data, list | tuple) else "one"


T = TypeVar("T")
OneOrMore: TypeAlias = Annotated[
    Annotated[T, Tag("one")] | Annotated[tuple[T, ...], Field(min_length=1), Tag("list")], Discriminator(_one_or_list)
]
"""As it was written, so that a finding stands at the right place."""
Text: TypeAlias = Annotated[StrictStr, AfterValidator(_one_line)]
Argument: TypeAlias = Annotated[StrictStr, AfterValidator(_argument)]
Argv: TypeAlias = Annotated[tuple[Argument, ...], BeforeValidator(_listed), AfterValidator(_program_first)]
Texts: TypeAlias = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
Seconds: TypeAlias = Annotated[StrictFloat, BeforeValidator(values.parse_duration)]
PlainSeconds: TypeAlias = Annotated[StrictFloat, Field(ge=0, le=366 * 86400)]
Bytes: TypeAlias = Annotated[StrictInt, BeforeValidator(values.parse_size)]
ManagedPath: TypeAlias = Annotated[StrictStr, AfterValidator(values.normal_path)]
"""A path as seen under root; normal form, so that equal paths are equal text."""
SourceAddress: TypeAlias = Annotated[StrictStr, _checked(values.parse_source)]
HostPort: TypeAlias = Annotated[StrictStr, _checked(values.split_host_port)]
Listen: TypeAlias = Annotated[StrictStr, _checked(values.split_listen)]
OwnPath: TypeAlias = Annotated[Path, AfterValidator(_own_path)]
"""A path of this machine, wherever root points."""
NodeName: TypeAlias = Annotated[
    StrictStr,
    _named("a node's name", r"[a-z0-9][a-z0-9._-]{0,62}", "small letters, digits, `.`, `_` and `-`, at most 63"),
]
AreaName: TypeAlias = Annotated[
    StrictStr, _named("an area's name", r"[a-z0-9][a-z0-9_-]{0,31}", "small letters, digits, `_` and `-`, at most 32")
]
ServiceName: TypeAlias = Annotated[
    StrictStr,
    _named("a service's name", r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "letters, digits and `._@-`, at most 64"),
]
InterfaceName: TypeAlias = Annotated[
    StrictStr, _named("an interface's name", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", "letters, digits and `._-`")
]
Device: TypeAlias = Annotated[
    StrictStr,
    # Not all that the kernel takes: `"#{}` end a value in files for other programs, and no real device has them.
    _named("a device", r"(?!\.{1,2}\Z)[!$-.0-9;-z|~]{1,15}", "a name as `ip link` shows it, at most 15 characters"),
]
VariableName: TypeAlias = Annotated[
    StrictStr, _named("a variable's name", r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and `_`")
]


class Role(enum.StrEnum):
    """Where changes are made. Not the CARP state."""

    MASTER = "master"
    BACKUP = "backup"


class Power(enum.StrEnum):
    """What a person may do, each including the ones before."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


def _advskew(skew: int) -> int:
    if not 0 <= skew <= 239:
        raise ValueError(f"cannot be {skew}: 0 to 239 are for use; 240 and more say `in maintenance` on the wire")
    return skew


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ssh(_Shape):
    """Where door listens; ``from_``: the sources let in besides the peers."""

    listen: Listen = "127.0.0.1:8022"
    from_: Annotated[tuple[Annotated[StrictStr, _checked(values.parse_network)], ...], BeforeValidator(_listed)] = (
        Field(default=(), alias="from")
    )


class TlsFiles(_Shape):
    """A certificate of one's own."""

    cert: OwnPath
    key: OwnPath


def _tls_kind(data: Any) -> str:
    return "files" if isinstance(data, dict | TlsFiles) else "word"


class Web(_Shape):
    """Where the page is served. ``auto``: a certificate made at first start; ``none`` on loopback only."""

    listen: Listen = "127.0.0.1:8443"
    tls: Annotated[
        Annotated[Literal["auto", "none"], Tag("word")] | Annotated[TlsFiles, Tag("files")], Discriminator(_tls_kind)
    ] = "auto"


class NodeCarp(_Shape):
    """advskew must differ between nodes; the smaller one serves. 240 means maintenance on the wire."""

    advskew: Annotated[StrictInt, AfterValidator(_advskew)] = 0


class Peer(_Shape):
    """Another node: where it listens, the key it is known by, what people from there may do here."""

    address: HostPort
    key: Annotated[StrictStr, _checked(values.parse_public_key)]
    may: Power = Power.OPERATOR


class SupervisorAccess(_Shape):
    """supervisord's Unix socket."""

    socket: OwnPath


class Managers(_Shape):
    """How to reach service managers that need to be told."""

    supervisor: SupervisorAccess | None = None


class Node(_Shape):
    """node.yaml: this node only, never synchronized."""

    node: NodeName
    role: Role
    root: OwnPath = Path("/")
    allow: Annotated[tuple[ManagedPath, ...], BeforeValidator(_listed)] = ("/etc",)
    state_dir: OwnPath = Path("/var/lib/syncsrv")
    run_dir: OwnPath = Path("/run/syncsrv")
    ssh: Ssh = Ssh()
    web: Web = Web()
    interfaces: Annotated[dict[InterfaceName, Device], BeforeValidator(_or_none_yet)] = {}
    carp: NodeCarp = NodeCarp()
    commands: Literal["guarded", "pinned"] = "guarded"
    users: Literal["from-master", "local"] = "from-master"
    secrets: Literal["local", "from-peer"] = "local"
    managers: Managers = Managers()
    peers: Annotated[dict[NodeName, Peer], BeforeValidator(_or_none_yet)] = {}
    variables: Annotated[dict[VariableName, StrictStr], BeforeValidator(_or_none_yet)] = {}


class Extra(enum.StrEnum):
    """What becomes of files that only the backup has."""

    DELETE = "delete"
    KEEP = "keep"


class Area(_Shape):
    """A named part of the managed tree that is synchronized as one."""

    description: Argument = ""
    paths: Annotated[tuple[ManagedPath, ...], BeforeValidator(_listed), Field(min_length=1)]
    exclude: Texts = ()
    extra: Extra = Extra.DELETE
    limit: Bytes = 16 * 1024 * 1024
    check: Argv = ()
    services: Texts = ()


class Health(_Shape):
    """One probe and how often it must agree; durations in seconds."""

    tcp: HostPort | None = None
    http: StrictStr | None = None
    status: StrictInt = Field(default=200, ge=100, le=599)
    exec: Argv = ()
    timeout_s: Seconds = Field(default=5.0, alias="timeout", gt=0)
    rise: StrictInt = Field(default=1, ge=1, le=1000)
    fall: StrictInt = Field(default=3, ge=1, le=1000)
    within_s: Seconds = Field(default=20.0, alias="within", gt=0)


class OnChange(enum.StrEnum):
    """What a service needs after its files changed."""

    RELOAD = "reload"
    RESTART = "restart"
    NONE = "none"


class RunOn(enum.StrEnum):
    """Where a service runs."""

    ALWAYS = "always"
    CARP_MASTER = "carp-master"
    NEVER = "never"


class ManagerKind(enum.StrEnum):
    """Who starts and stops a service."""

    SYSTEMD = "systemd"
    SUPERVISOR = "supervisor"
    COMMAND = "command"


class Service(_Shape):
    """A daemon: ``unit`` for systemd, ``program`` for supervisor, the argv fields for command."""

    manager: ManagerKind
    unit: Text = ""
    program: Text = ""
    start: Argv = ()
    stop: Argv = ()
    status: Argv = ()
    reload: Argv = ()
    restart: Argv = ()
    on_change: OnChange = OnChange.RELOAD
    run_on: RunOn = RunOn.ALWAYS
    after: Texts = ()
    health: Health | None = None


class Override(_Shape):
    """A place in a file where this node keeps or sets its own value."""

    path: ManagedPath
    pointer: StrictStr | None = None
    match: StrictStr | None = None
    set: StrictStr | StrictInt | StrictFloat | StrictBool | None = None
    keep: StrictBool = False


class Vip(_Shape):
    """One CARP group: its addresses move together.

    ``unicast``: the nodes' own addresses, where the network carries no multicast; the same list on every node, each
    leaves out its own. ``mac: virtual``: the addresses are reached by the MAC of the group (00:00:5e:00:01:VHID).
    """

    vhid: StrictInt = Field(ge=1, le=255)
    interface: StrictStr
    addresses: Annotated[
        tuple[Annotated[StrictStr, _checked(values.parse_vip)], ...], BeforeValidator(_listed), Field(min_length=1)
    ]
    password: StrictStr | InstanceOf[SecretRef] = ""
    advbase: StrictInt = Field(default=1, ge=0, le=254)
    unicast: Annotated[tuple[SourceAddress, ...], BeforeValidator(_listed)] = ()
    mac: Literal["real", "virtual"] = "real"


class Carp(_Shape):
    """How the nodes take turns; durations in seconds."""

    preempt: StrictBool = True
    preempt_delay_s: PlainSeconds = 0
    hold_down_s: PlainSeconds = 10
    ready_timeout_s: PlainSeconds = 30


class StateSync(_Shape):
    """How open connections reach the other node: conntrackd, over one interface, or a further one where that is cut.

    ``unicast``: each node's own address on each interface, where the network carries no multicast.
    """

    engine: Literal["none", "conntrackd"] = "none"
    interface: OneOrMore[StrictStr] = ""
    unicast: Annotated[dict[NodeName, OneOrMore[SourceAddress]], BeforeValidator(_or_none_yet)] = {}
    port: StrictInt = Field(default=3780, ge=1, le=65535)
    timeout_s: Seconds = Field(default=60.0, alias="timeout", gt=0)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Logical names: the first is used, the others stand by."""
        return values.listed(self.interface)

    def addresses(self, node: str) -> tuple[str, ...]:
        """A node's addresses for unicast, one for each interface."""
        return values.listed(self.unicast.get(node, ""))


class Schedule(_Shape):
    """A synchronization by the clock, of what has soaked that many seconds."""

    do: Literal["sync"]
    cron: Annotated[StrictStr, _checked(cron.parse_cron)]
    soak_s: Seconds = Field(default=0.0, alias="soak")
    owner: Text


class Cluster(_Shape):
    """cluster.yaml: the same on every node, itself under history as the area ``cluster``."""

    cluster: Annotated[
        StrictStr, _named("the cluster's name", r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "letters, digits and `._-`")
    ]
    areas: Annotated[dict[AreaName, Area], BeforeValidator(_or_none_yet)] = {}
    services: Annotated[dict[ServiceName, Service], BeforeValidator(_or_none_yet)] = {}
    overrides: Annotated[tuple[Override, ...], BeforeValidator(_listed)] = ()
    vips: Annotated[tuple[Vip, ...], BeforeValidator(_listed)] = ()
    carp: Carp = Carp()
    state_sync: StateSync = StateSync()
    schedules: Annotated[tuple[Schedule, ...], BeforeValidator(_listed)] = ()


Secrets: TypeAlias = dict[str, str]
