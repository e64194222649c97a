"""The schedules of cluster.yaml: synchronize by the clock what has soaked (DESIGN 4.9).

Only the role master runs them, in the name of the schedule's owner and with an operator's rights. They are off until
an admin turns them on on this node; what was turned on is known by its content, so that a changed schedule is off
again, and so is one that was gone in between. A schedule never forces a guard, and never makes a backup's first sync,
whose preview a person has to see; and it leaves alone what was taken back on the master before it was due.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice

from syncsrv.clock import booted_s, rfc3339
from syncsrv.config.cron import parse_cron
from syncsrv.config.model import Power, Role, Schedule
from syncsrv.config.values import show_duration
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import NodeResult, SyncRequest
from syncsrv.control.shapes_page import ScheduleInfo, ScheduleSetRequest, SchedulesReply
from syncsrv.control.verbs import Door
from syncsrv.core import master
from syncsrv.core.carp import standing as standings
from syncsrv.core.parts import Core
from syncsrv.core.receipts import act_receipt
from syncsrv.core.switches import Switch
from syncsrv.errors import RefusedError, SyncsrvError, UsageError
from syncsrv.plan.soak import Standing, hindrance, taken_back
from syncsrv.plan.words import listed
from syncsrv.store.commits import CommitInfo

FOLLOW_S = 0.5
LOOKED_BACK = 200
"""Earlier states of main that count when one of them has come back."""
GOOD = {"done", "unchanged"}


class UnknownScheduleError(UsageError):
    """cluster.yaml has no schedule of that name."""

    code = "unknown-schedule"

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(
            f"cannot find schedule {name}: cluster.yaml has none of that name", f"there are {listed(known) or 'none'}"
        )


class ChangedScheduleError(RefusedError):
    """The schedule of that name is not the one that the admin was shown."""

    code = "stale-plan"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"cannot switch {name}: cluster.yaml has been changed since it was shown", "look at it again, as it is now"
        )


class HinderedError(SyncsrvError):
    """A schedule may not run now."""

    code = "hindered"


class NotSynchronizedError(SyncsrvError):
    """A scheduled synchronization did not succeed everywhere."""

    code = "not-synchronized"


def digest_of(schedule: Schedule) -> str:
    """What a schedule says, in a word."""
    text = json.dumps(schedule.model_dump(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def named(core: Core) -> dict[str, Schedule]:
    """The schedules of the cluster.yaml in force by name."""
    return {f"sync {number}": schedule for number, schedule in enumerate(core.cluster.schedules, 1)}


def put_in_force(core: Core) -> None:
    """Let what is on fire as cluster.yaml now says; call it again whenever that, or a switch, changes.

    Raises:
        NoSpaceError, UnwritableError: what is gone from cluster.yaml could not be forgotten.
    """
    known = {name: (digest_of(schedule), schedule) for name, schedule in named(core).items()}
    core.timetable.set_crons(
        {
            name: (digest, parse_cron(schedule.cron), schedule.cron, partial(run, core, digest, schedule))
            for name, (digest, schedule) in known.items()
            if digest in core.switches.now() and core.role is Role.MASTER
        }
    )
    core.switches.keep_only({digest for digest, _ in known.values()})


def run(core: Core, digest: str, schedule: Schedule) -> str:
    """One firing; what came of it is remembered.

    Raises:
        HinderedError: it may not run now.
        NotSynchronizedError: a backup failed, refused or was away.
        SyncsrvError: it could not be started.
    """
    try:
        result = _run(core, schedule)
    except SyncsrvError as error:
        core.switches.ran(digest, rfc3339(core.clock.utc()), f"failed: {error.message}")
        raise
    core.switches.ran(digest, rfc3339(core.clock.utc()), result)
    return result


def _run(core: Core, schedule: Schedule) -> str:
    why = hindrance(schedule, standing(core, schedule, busy=True))
    if why is not None:
        raise HinderedError(f"cannot synchronize by schedule: {why.reason}", why.remedy)
    soaked = f"has soaked for {show_duration(schedule.soak_s)}"
    passed: dict[str, CommitInfo] = {}
    line = _line(core, passed)
    commit = core.soak.newest((info.id for info in line), schedule.soak_s)
    if commit is None:
        return f"nothing to do: nothing on main {soaked} yet"
    tags, _ = core.tags_here()
    newer = [info for info in passed.values() if info.id != commit]
    if tags and any(tags[-1].commit == info.id for info in newer):
        return f"nothing to do: {tags[-1].name} is newer than what {soaked}"
    before = {info.tree for info in islice(line, LOOKED_BACK)} - {passed[commit].tree}
    if taken_back([(info.tree, info.via) for info in newer], before):
        return f"nothing to do: {commit[:10]} {soaked}, but was taken back since by what has not"
    nodes, waiting = _backups(core)
    if not nodes:
        raise HinderedError(
            f"cannot synchronize by schedule: {_first(waiting) or 'no backup has answered yet'}",
            "see `syncsrv status`; a person starts the first sync of a node, who sees what it overwrites",
        )
    reason = f"scheduled ({schedule.cron}): {commit[:10]} {soaked}"
    if core.stopping.is_set():
        return "nothing was done: core was ending"
    caller = Caller(Door.LOCAL, Power.OPERATOR.value, schedule.owner, via="schedule")
    job = master.sync(core, SyncRequest(nodes=nodes, rev=commit, reason=reason), caller)
    while job.state == "running":
        if core.stopping.is_set():
            return f"core ended in the middle of job {job.id}"
        job.follow(_NO_STEPS, FOLLOW_S)
    said = f"{job.tag or 'no tag'}: {_results(job.nodes)}" + (f"; {_first(waiting)}" if waiting else "")
    if not all(one.result in GOOD for one in job.nodes.values()):
        raise NotSynchronizedError(f"cannot synchronize all backups by schedule: {said}", f"see job {job.id}")
    return said


_NO_STEPS = 1 << 60
"""Follow a job without its steps."""


def standing(core: Core, schedule: Schedule, *, busy: bool) -> Standing:
    """What a schedule is judged by; ``busy``: what is under way counts."""
    roles = {user.name: Power(user.role) for user in core.people.listed()}
    running = [job for job in core.jobs.running() if not job.kind.startswith("services")] if busy else []
    reading = core.carp.reading
    report = reading.now
    return Standing(
        role=core.role,
        owner_role=roles.get(schedule.owner),
        vips=tuple(f"{vip.vhid}@{vip.interface}" for vip in core.cluster.vips),
        held=standings.held(report) if report is not None else frozenset(),
        took_over_s=standings.took_over_s(report, booted_s()) if report is not None else None,
        carp_problem=reading.why,
        busy=tuple(f"job {job.id} ({job.kind})" for job in running),
        problem=core.live.cluster_problem,
    )


def _line(core: Core, passed: dict[str, CommitInfo]) -> Iterator[CommitInfo]:
    """Main, newest first; whatever was read of it is in ``passed``."""
    head = core.recorder.head()
    for info in core.store.first_parents(head) if head is not None else ():
        passed[info.id] = info
        yield info


def _backups(core: Core) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The backups that have been synchronized before, and those that answer and have not."""
    heard = {
        name: one.facts
        for name, one in core.book.now().items()
        if one.facts is not None and one.facts.role != Role.MASTER.value
    }
    return (
        tuple(name for name, facts in heard.items() if facts.applied),
        tuple(name for name, facts in heard.items() if not facts.applied),
    )


def _first(waiting: tuple[str, ...]) -> str:
    return f"{listed(waiting)} awaits the first sync, which a person starts" if waiting else ""


def _results(nodes: Mapping[str, NodeResult]) -> str:
    return ", ".join(f"{name} {one.result}" + (f" ({one.reason})" if one.reason else "") for name, one in nodes.items())


def schedules(core: Core) -> SchedulesReply:
    """All that this node does by the clock, its own first."""
    timed = {one.name: one for one in core.timetable.now()}
    found = []
    for name, one in timed.items():
        if name not in named(core):
            found.append(
                ScheduleInfo(
                    name=name,
                    when=one.when,
                    enabled=True,
                    next_at=rfc3339(one.next_utc) if one.next_utc else None,
                    last_at=rfc3339(one.last_utc) if one.last_utc else None,
                    last_result=one.result,
                    missed=one.missed,
                )
            )
    for name, schedule in named(core).items():
        digest = digest_of(schedule)
        switch = core.switches.now().get(digest)
        here = timed.get(name)
        why = hindrance(schedule, standing(core, schedule, busy=False))
        info = ScheduleInfo(
            name=name,
            when=f"{schedule.cron} (UTC), what has soaked for {show_duration(schedule.soak_s)}",
            enabled=switch is not None,
            owner=schedule.owner,
            digest=digest,
            hindrance=f"{why.reason}; {why.remedy}" if why else "",
            last_at=(switch.last_at or None) if switch else None,
            last_result=switch.last_result if switch else "",
        )
        if here is not None:
            info = replace(info, next_at=rfc3339(here.next_utc) if here.next_utc else None, missed=here.missed)
            if here.last_utc is not None:
                info = replace(info, last_at=rfc3339(here.last_utc), last_result=here.result)
        found.append(info)
    return SchedulesReply(tuple(found))


def switch(core: Core, request: ScheduleSetRequest, caller: Caller) -> SchedulesReply:
    """Turn a schedule of cluster.yaml on or off, with a receipt of who did.

    Raises:
        UnknownScheduleError: there is none of that name.
        ChangedScheduleError: it is another one than was shown.
    """
    known = named(core)
    if request.name not in known:
        raise UnknownScheduleError(request.name, known)
    schedule = known[request.name]
    digest = digest_of(schedule)
    if request.digest and request.digest != digest:
        raise ChangedScheduleError(request.name)
    now = core.switches.now().get(digest)
    if request.enabled != (now is not None):
        at = rfc3339(core.clock.utc())
        core.switches.set(digest, Switch(caller.label, at) if request.enabled else None)
        put_in_force(core)
        said = f"{schedule.cron}, soak {show_duration(schedule.soak_s)}, owner {schedule.owner}"
        act_receipt(
            core, caller, "schedule-set", f"{request.name} ({said}) turned {'on' if request.enabled else 'off'}"
        )
    return schedules(core)
