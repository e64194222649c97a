"""What a person is shown of a run before it is ordered, with a digest of it that goes along with the order."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syncsrv.apply import prepare
from syncsrv.config.model import Cluster, ManagerKind, OnChange
from syncsrv.control.shapes_page import GuardInfo, NodePreview, ServicePlan
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.core.planned import counted_by_area
from syncsrv.plan.diff import Change
from syncsrv.plan.guards import NEEDS_ADMIN, Fired
from syncsrv.plan.make import Plan
from syncsrv.plan.tree import show_path
from syncsrv.plan.words import counted, listed
from syncsrv.services import decide
from syncsrv.services.base import Result, ServiceState, ServiceStatus

DELETIONS_NAMED = 1000

_PARTS = (
    "what is live there",
    "what it would get",
    "the files",
    "the services",
    "the checks",
    "the guards",
    "the commands",
)
"""What a digest is made of, in words; its short digests stand in this order."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of a run.

    Attributes:
        node: on which node.
        base: the commit that is live there.
        target: the commit that it would get.
        chosen: names of the areas; those with changes are in ``plan``.
        tag, tag_next: see NodePreview.
        plan: None where none can be made; ``refusals`` say why.
        cluster: that it is made with.
        fired: the guards.
        refusals: what nothing can force.
        readings: the services there, by name, as last read.
        seen: what else may not change between the look and the order, such as the head that the node told of.
        reachable, age_s, unseen, commands, ahead, failed, rolled_back: see NodePreview.
    """

    node: str
    base: str | None
    target: str
    chosen: tuple[str, ...] = ()
    tag: str = ""
    tag_next: str = ""
    plan: Plan | None = None
    cluster: Cluster | None = None
    fired: tuple[Fired, ...] = ()
    refusals: tuple[str, ...] = ()
    readings: Mapping[str, ServiceInfo] = field(default_factory=dict)
    seen: str = ""
    reachable: bool = True
    age_s: float | None = None
    unseen: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    ahead: int | None = 0
    failed: str = ""
    rolled_back: str = ""


def shown(draft: Draft) -> NodePreview:
    """The draft as the table has it."""
    changes = draft.plan.changes if draft.plan is not None else ()
    services: tuple[ServicePlan, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    if draft.plan is not None and draft.cluster is not None:
        services = service_plans(draft.cluster, draft.plan, draft.readings)
        argvs = prepare.checks_of(draft.cluster, draft.plan)
        checks = tuple((area, shlex.join(argv)) for area, argv in argvs.items())
    guards = tuple(GuardInfo(one.guard.value, one.saw, one.remedy, one.guard in NEEDS_ADMIN) for one in draft.fired)
    gone = (show_path(change.path) for change in changes if change.new is None)
    return NodePreview(
        plan=_digest(draft, changes, services, checks, guards),
        base=draft.base,
        target=draft.target,
        tag=draft.tag,
        tag_next=draft.tag_next,
        reachable=draft.reachable,
        age_s=draft.age_s,
        areas=counted_by_area(changes, draft.chosen),
        deletions=tuple(path for path, _ in zip(gone, range(DELETIONS_NAMED), strict=False)),
        services=services,
        checks=checks,
        guards=guards,
        refusals=draft.refusals,
        unseen=draft.unseen,
        commands=draft.commands,
        ahead=draft.ahead,
        failed=draft.failed,
        rolled_back=draft.rolled_back,
    )


def service_plans(cluster: Cluster, plan: Plan, readings: Mapping[str, ServiceInfo]) -> tuple[ServicePlan, ...]:
    """What each concerned service would be told, in order.

    Args:
        cluster: the configuration that would be in force.
        plan: what would change.
        readings: the services as last read; one without a reading is taken to run.
    """
    return tuple(
        _service_plan(cluster, name, wish, readings.get(name))
        for name, wish in prepare.service_wishes(cluster, plan).items()
    )


def _service_plan(cluster: Cluster, name: str, wish: OnChange, reading: ServiceInfo | None) -> ServicePlan:
    if wish is OnChange.NONE or reading is None:
        return ServicePlan(name, wish.value)
    service = cluster.services[name]
    state = ServiceState(reading.state) if reading.state in set(ServiceState) else ServiceState.UNKNOWN
    choice = decide.after_change(
        wish,
        service,
        ServiceStatus(name, state, reason=reading.reason),
        # systemd alone knows it of its units; there it is believed
        can_reload=service.manager is not ManagerKind.COMMAND or bool(service.reload),
        carp_master=False,
    )
    if choice.ended is Result.SKIPPED:
        return ServicePlan(name, OnChange.NONE.value, choice.why)
    if choice.ended is Result.FAILED:
        return ServicePlan(name, choice.action.value, f"that will fail: {choice.why}")
    return ServicePlan(name, choice.action.value, choice.why)


def _digest(
    draft: Draft,
    changes: tuple[Change, ...],
    services: Iterable[ServicePlan],
    checks: Iterable[tuple[str, str]],
    guards: Iterable[GuardInfo],
) -> str:
    """``SHA256.COUNT.`` and four hex digits for each part of ``_PARTS``."""
    parts: tuple[Iterable[object], ...] = (
        (draft.base, draft.seen),
        (draft.target, draft.chosen),
        (_facts_of(change) for change in changes),
        ((one.name, one.action) for one in services),
        checks,
        (*((one.guard, one.saw) for one in guards), *draft.refusals),
        draft.commands,
    )
    short, whole = [], hashlib.sha256(draft.node.encode())
    for part in parts:
        one = hashlib.sha256()
        for value in part:
            one.update(repr(value).encode())
        whole.update(one.digest())
        short.append(one.hexdigest()[:4])
    return f"{whole.hexdigest()}.{len(changes)}.{''.join(short)}"


def _facts_of(change: Change) -> tuple[object, ...]:
    new = change.new
    return change.path, change.area, change.difference.value, new and (new.kind.value, new.mode, new.blob, new.user)


def whats_new(old: str, new: str) -> str:
    """What differs between two digests, in words, as far as the old one is one."""
    before, after = (text.split(".") for text in (old, new))
    if len(before) != 3 or not before[1].isdecimal() or len(before[1]) > 9 or len(before[2]) != len(after[2]):
        return "what would change is no longer what you were shown"
    if before[1] != after[1]:
        why = f"{counted(int(after[1]), 'file')} instead of {int(before[1])}"
    else:
        places = range(0, len(after[2]), 4)
        differ = [
            words for at, words in zip(places, _PARTS, strict=True) if before[2][at : at + 4] != after[2][at : at + 4]
        ]
        why = f"{listed(differ)} changed" if differ else "it is about something else"
    return f"what would change is no longer what you were shown ({why})"
