"""What the engine is asked for, what it works with, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from syncsrv.apply.hooks import Hooks
from syncsrv.apply.journal import Journal, Record
from syncsrv.apply.record import Recorder
from syncsrv.checks.check import Checker
from syncsrv.clock import Clock
from syncsrv.config.model import Cluster, Node, Power
from syncsrv.disk.files import LiveFiles
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import Areas
from syncsrv.plan.diff import Change
from syncsrv.plan.guards import NEEDS_ADMIN, Fired, Guard
from syncsrv.services.control import Services
from syncsrv.store.commits import Person


class CannotApplyError(SyncsrvError):
    """The run failed; whether live files had changed by then, and were put back, the outcome tells."""

    code = "not-applied"


@dataclass(frozen=True, slots=True)
class Order:
    """One run.

    Attributes:
        job: its id.
        kind: sync or rollback.
        target: the commit whose tree is wanted.
        rev: for a rollback what the operator typed for it.
        cluster: the configuration that the plan is made from: the tag's; for a rollback the one then in force.
        areas: drawn from ``cluster``.
        chosen: names of the areas.
        known: for a rollback the areas as the target drew them: what lies outside them is left alone.
        left: per chosen area the commit of this node's main that the last sync made; absent where none did.
        brought: likewise the commit of the tag that it applied; what only this node had then is not in it.
        first: nothing was ever applied here: every command of ``cluster`` is shown instead of what differs.
        exact: the result has what the target has and nothing else, whatever ``extra`` says: the target was live here.
        fired: guards that the caller has found already (version, older, commands).
        force: guards that the operator overrides.
        power: of the operator on this node.
        remote: the order comes from another node.
    """

    job: str
    kind: str
    target: str
    cluster: Cluster
    areas: Areas
    chosen: tuple[str, ...]
    known: Areas | None = None
    left: Mapping[str, str] = field(default_factory=dict)
    brought: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    exact: bool = False
    rev: str = ""
    tag: str | None = None
    tag_object: str | None = None
    person: Person | None = None
    requested_by: str = ""
    reason: str = ""
    fired: tuple[Fired, ...] = ()
    force: frozenset[str] = frozenset()
    power: Power = Power.OPERATOR
    remote: bool = False
    dry_run: bool = False
    restart_all: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: done, unchanged, refused or failed.

    Attributes:
        put_back: live files had changed and were put back (then ``result`` is failed).
        commit: what main is afterwards.
        changes: what was, or for a dry run would be, changed.
    """

    result: str
    reason: str
    remedy: str = ""
    guards: tuple[str, ...] = ()
    put_back: bool = False
    commit: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the engine works with, all of this node; configurations are asked for when they are needed."""

    node: Node
    recorder: Recorder
    files: LiveFiles
    checker: Checker
    hooks: Hooks
    journal: Journal
    clock: Clock
    cluster: Callable[[], Cluster]
    """The configuration in force."""
    areas: Callable[[Cluster], Areas]
    services: Callable[[Cluster], Services]
    read_cluster: Callable[[bytes], Cluster]
    """Text of a cluster.yaml, checked with this node's node.yaml and secrets."""
    take_effect: Callable[[Cluster], None]
    """This cluster.yaml is on disk now and in force."""
    remember: Callable[[Order, str], None]
    """The order is applied and main is this commit: kept on disk before the journal goes."""
    remember_again: Callable[[Record, str], None]
    """The same at start, for an order that only the journal remembers."""
    changing: Callable[[], None]
    """Live files are about to change: demote this node unless it serves; acknowledged when it returns."""
    unproven: Callable[[bool], None]
    """Whether this node is between two states, at the end of a run; demoted while it is, acknowledged likewise."""


def overridden(guard: Guard, order: Order, pinned: bool) -> bool:
    """Whether the operator's ``--force`` counts for this guard."""
    if guard.value not in order.force:
        return False
    if guard is Guard.COMMANDS and pinned and order.remote:
        return False
    return guard not in NEEDS_ADMIN or order.power is Power.ADMIN
