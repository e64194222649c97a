"""The shapes of node.yaml, cluster.yaml and secrets.yaml: frozen, read once, passed down.

Every key that a person may write stands here with its type, its default and its bounds; what depends on two keys
or on two files is checked in ``rules.py``. Positions in the text are not known here: pydantic's locations are
turned into lines and columns by ``load.py``.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Argv: TypeAlias = tuple[str, ...]


class Role(enum.StrEnum):
    """Where changes are made. Not the CARP state."""

    MASTER = "master"
    BACKUP = "backup"


class Power(enum.StrEnum):
    """What a person may do, each including the ones before."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ssh(_Shape):
    listen: str = "127.0.0.1:8022"
    from_: tuple[str, ...] = Field(default=(), alias="from")


class TlsFiles(_Shape):
    cert: Path
    key: Path


class Web(_Shape):
    listen: str = "127.0.0.1:8443"
    tls: Literal["auto", "none"] | TlsFiles = "auto"


class NodeCarp(_Shape):
    advskew: int = Field(default=0, ge=0, le=239)


class Peer(_Shape):
    address: str
    key: str
    may: Power = Power.OPERATOR


class SupervisorAccess(_Shape):
    socket: Path


class Managers(_Shape):
    supervisor: SupervisorAccess | None = None


class Node(_Shape):
    """node.yaml: this node only, never synchronized."""

    node: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    role: Role
    root: Path = Path("/")
    allow: tuple[str, ...] = ("/etc",)
    state_dir: Path = Path("/var/lib/syncsrv")
    run_dir: Path = Path("/run/syncsrv")
    ssh: Ssh = Ssh()
    web: Web = Web()
    interfaces: dict[str, str] = {}
    carp: NodeCarp = NodeCarp()
    commands: Literal["guarded", "pinned"] = "guarded"
    users: Literal["from-master", "local"] = "from-master"
    secrets: Literal["local", "from-peer"] = "local"
    managers: Managers = Managers()
    peers: dict[str, Peer] = {}
    variables: dict[str, str] = {}


class Extra(enum.StrEnum):
    DELETE = "delete"
    KEEP = "keep"


class Area(_Shape):
    """A named part of the managed tree that is synchronized as one."""

    description: str = ""
    paths: tuple[str, ...] = Field(min_length=1)
    exclude: tuple[str, ...] = ()
    extra: Extra = Extra.DELETE
    limit: int = 16 * 1024 * 1024
    check: Argv = ()
    services: tuple[str, ...] = ()


class Health(_Shape):
    """One probe and how often it must agree; durations in seconds."""

    tcp: str | None = None
    http: str | None = None
    status: int = 200
    exec: Argv = ()
    timeout_s: float = Field(default=5.0, alias="timeout")
    rise: int = Field(default=1, ge=1)
    fall: int = Field(default=3, ge=1)
    within_s: float = Field(default=20.0, alias="within")


class OnChange(enum.StrEnum):
    RELOAD = "reload"
    RESTART = "restart"
    NONE = "none"


class RunOn(enum.StrEnum):
    ALWAYS = "always"
    CARP_MASTER = "carp-master"
    NEVER = "never"


class ManagerKind(enum.StrEnum):
    SYSTEMD = "systemd"
    SUPERVISOR = "supervisor"
    COMMAND = "command"


class Service(_Shape):
    """A daemon: ``unit`` for systemd, ``program`` for supervisor, the argv fields for command."""

    manager: ManagerKind
    unit: str = ""
    program: str = ""
    start: Argv = ()
    stop: Argv = ()
    status: Argv = ()
    reload: Argv = ()
    restart: Argv = ()
    on_change: OnChange = OnChange.RELOAD
    run_on: RunOn = RunOn.ALWAYS
    after: tuple[str, ...] = ()
    health: Health | None = None


class SecretRef(_Shape):
    """``!secret NAME``: the value is in secrets.yaml, which is never in Git."""

    secret: str


class Override(_Shape):
    path: str
    pointer: str | None = None
    match: str | None = None
    set: str | int | float | bool | None = None
    keep: bool = False


class Vip(_Shape):
    vhid: int = Field(ge=1, le=255)
    interface: str
    addresses: tuple[str, ...] = Field(min_length=1)
    password: str | SecretRef = ""
    advbase: int = Field(default=1, ge=0, le=254)


class Carp(_Shape):
    preempt: bool = True
    preempt_delay_s: float = Field(default=0, ge=0)
    hold_down_s: float = Field(default=10, ge=0)
    ready_timeout_s: float = Field(default=30, ge=0)


class StateSync(_Shape):
    engine: Literal["none", "conntrackd"] = "none"
    interface: str = ""


class Schedule(_Shape):
    do: Literal["sync"]
    cron: str
    soak_s: float = Field(default=0, alias="soak")
    owner: str


class Cluster(_Shape):
    """cluster.yaml: the same on every node, itself under history as the area ``cluster``."""

    cluster: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    areas: dict[str, Area] = {}
    services: dict[str, Service] = {}
    overrides: tuple[Override, ...] = ()
    vips: tuple[Vip, ...] = ()
    carp: Carp = Carp()
    state_sync: StateSync = StateSync()
    schedules: tuple[Schedule, ...] = ()


Secrets: TypeAlias = dict[str, str]

AreaName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
