"""The master's half of a sync: commit what is pending, tag it, ask each backup to pull the tag.

The master never writes on a backup; each backup decides for itself (DESIGN law 8). One that is away does not hold
up the others.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import partial

from syncsrv.apply.order import Outcome
from syncsrv.apply.record import UNSAVED
from syncsrv.apply.settle import JOB_REFS
from syncsrv.apply.steps import Steps
from syncsrv.clock import rfc3339
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster, Power, Role
from syncsrv.control.codec import decode_reply
from syncsrv.control.dispatch import Caller, may
from syncsrv.control.errors import Body
from syncsrv.control.shapes import JobReply, JobStarted, NodeResult, Step, SyncRequest
from syncsrv.core.backup import DRY_RUN
from syncsrv.core.jobs import Job, UnknownJobError, about, click_of
from syncsrv.core.parts import Core
from syncsrv.core.receipts import noted
from syncsrv.errors import DeniedError, SyncsrvError, UnreachableError, UsageError
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.guards import NEEDS_ADMIN
from syncsrv.plan.tree import CLUSTER_PATH, show_path
from syncsrv.plan.verdict import Last
from syncsrv.plan.words import listed
from syncsrv.store.signing import fingerprint
from syncsrv.store.tags import BadTagError, by_number, make_tag, read_tag, verify_tag

TAGS = "refs/tags/"
ASK_S = 10.0
FOLLOW_S = 1.0
LOST_POLLS = 10
"""Unanswered questions about a running job, one a second and more, after which the node counts as unreachable."""


class CannotTagError(SyncsrvError):
    """The master's own state is not one that may spread."""

    code = "cannot-tag"


@dataclass(frozen=True, slots=True)
class Released:
    """What the backups are asked to pull.

    Attributes:
        name: of the tag; empty for a dry run of a commit that has none.
        object: the tag object.
        areas: its areas.
    """

    name: str
    object: str
    areas: tuple[str, ...]


def sync(core: Core, request: SyncRequest, caller: Caller) -> Job:
    """Start the job.

    Raises:
        UsageError: an unknown node, revision or area, no backup at all.
        DeniedError: it forces what this person may not.
    """
    _refuse_beyond_rights(request, caller)
    nodes = targets(core, request.nodes)
    _refuse_unknown(core, request)
    return core.jobs.start(
        "sync",
        caller.label,
        core.node,
        lambda job: _work(core, request, caller, nodes, job),
        origin=caller.came_from,
        reason=request.reason,
        subject=about(", ".join(nodes), request.areas, dry_run=request.dry_run),
        click=click_of(caller, request) if request.plans else None,
    )


def _refuse_beyond_rights(request: SyncRequest, caller: Caller) -> None:
    """A backup sees this node's rights (`may:`) only, not the person's: those are bounded here."""
    beyond = [word for word in request.force if word in NEEDS_ADMIN]
    if beyond and not may(caller.power, Power.ADMIN.value):
        raise DeniedError(
            f"cannot force {listed(beyond)}: it needs the role admin, {caller.label} is {caller.power}",
            "let an admin repeat it",
        )


def targets(core: Core, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes that are asked for, or all backups.

    Raises:
        UsageError: an unknown one, or no backup at all.
    """
    peers = core.live.config.node.peers
    for name in asked:
        if name not in peers:
            raise UsageError(f"cannot synchronize {name}: no such peer", f"configured are {listed(peers) or 'none'}")
    if asked:
        return asked
    heard = core.book.now()
    backups = tuple(name for name, one in heard.items() if one.facts is None or one.facts.role != Role.MASTER.value)
    if not backups and heard:
        raise UsageError(
            f"cannot synchronize: {listed(heard)} says it is master too", "make one of them backup: `role: backup`"
        )
    if not backups:
        raise UsageError("cannot synchronize: no backup is configured", "write one into `peers:` of node.yaml")
    return backups


def _refuse_unknown(core: Core, request: SyncRequest) -> None:
    """A revision or an area that does not exist is said at once, before anything is committed for the job."""
    if request.rev:
        commit = core.store.resolve_shown(request.rev)
        areas_of(request.areas, cluster_at(core, commit), commit[:10])
    elif not set(request.areas) <= set(core.areas().names):
        core.record(via="watch")  # cluster.yaml may just have been saved with it
        areas_of(request.areas, core.cluster, "cluster.yaml")


def areas_of(asked: tuple[str, ...], cluster: Cluster, where: str) -> tuple[str, ...]:
    """The areas that are asked for, or all.

    Raises:
        UsageError: one that there is not.
    """
    known = (*cluster.areas, CLUSTER_AREA)
    for name in asked:
        if name not in known:
            raise UsageError(
                f"cannot synchronize area {name}: {where} has none of that name", f"the areas are {', '.join(known)}"
            )
    return asked or known


def _work(
    core: Core, request: SyncRequest, caller: Caller, nodes: tuple[str, ...], job: Job
) -> Mapping[str, NodeResult]:
    steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
    job.on_abort.append(steps.abort)
    try:
        released = release(core, request, caller, job, steps)
    except SyncsrvError as error:
        failed = NodeResult("failed", error.message, error.remedy)
        _note(core, job, request, Outcome("failed", error.message, error.remedy), steps, dict.fromkeys(nodes, failed))
        return dict.fromkeys(nodes, replace(failed, steps=tuple(steps.done)))
    job.tag = released.name or None
    try:
        results = _ask_all(core, request, caller, nodes, released, job)
    finally:
        if not released.name:
            core.store.move_ref(JOB_REFS + job.id, None, released.object)
    for name in nodes:
        core.book.refresh(name)
    _note(core, job, request, _outcome_of(results), steps, results)
    return results


def _outcome_of(results: Mapping[str, NodeResult]) -> Outcome:
    """The run as a whole."""
    told = listed(f"{name}: {one.reason or one.result}" for name, one in results.items())
    fired = dict.fromkeys(guard for one in results.values() for guard in one.guards)
    return Outcome(_worst({one.result for one in results.values()}), told, guards=tuple(fired))


def _worst(results: Set[str]) -> str:
    """How the whole run ended, in the order of the exit status."""
    return next((one for one in ("failed", "refused", "unreachable", "done") if one in results), "done")


def _note(
    core: Core, job: Job, request: SyncRequest, outcome: Outcome, steps: Steps, nodes: Mapping[str, NodeResult]
) -> None:
    """Remember how it ended, and who asked for it: the backups' own records say what was done there."""
    if request.dry_run:
        return
    told = outcome if job.tag is None else Outcome(outcome.result, "")  # else each backup tells its own reason
    last = Last(job.id, told.result, rfc3339(core.clock.utc()), told.reason, told.remedy)
    remember = partial(core.state.change, lambda now: replace(now, last=last))
    noted(core, job, "sync", outcome, steps, remember, tag=job.tag, nodes=nodes)


def release(core: Core, request: SyncRequest, caller: Caller, job: Job, steps: Steps) -> Released:
    """Make main equal the disk, and name the commit by a signed tag."""
    with steps.step("commit what is pending") as step:
        recorded = core.record(via="watch")
        step.say(f"committed {recorded.commit[:10]}: {recorded.subject}" if recorded.commit else "nothing was pending")
        refuse_unfit(core)
    with steps.step("tag") as step:
        with core.recorder.lock, core.store.writer():
            released = _tag(core, request, caller, job)
        step.say(f"{released.name or 'dry run, no tag'} ({', '.join(released.areas)})")
    return released


def refuse_unfit(core: Core) -> None:
    """Raises CannotTagError where what is live here must not spread."""
    if core.live.cluster_problem:
        raise CannotTagError(f"cannot tag main: {core.live.cluster_problem}", "mend cluster.yaml; `syncsrv check`")
    unsaved = [one for one in core.live.left_out if one.reason in UNSAVED]
    if unsaved:
        named = listed(f"{show_path(one.path)} ({one.detail or one.reason})" for one in unsaved)
        raise CannotTagError(
            f"cannot tag main: these files are not in the history, so no backup would get them: {named}",
            "exclude them, raise the area's `limit`, or make them readable",
        )


def _tag(core: Core, request: SyncRequest, caller: Caller, job: Job) -> Released:
    head = core.recorder.head()
    commit = core.store.resolve_shown(request.rev) if request.rev else head
    if commit is None:
        raise CannotTagError("cannot tag main: nothing was committed yet", "give cluster.yaml an area")
    areas = areas_of(request.areas, cluster_at(core, commit), commit[:10])
    found = tag_of(core, request.rev, commit, areas)
    if found is not None:
        return found
    core.tags.saw(ref.removeprefix(TAGS) for ref in core.store.refs("refs/tags/sync/"))
    name = "" if request.dry_run else core.tags.next_name()
    inner = name or DRY_RUN + job.id
    made = make_tag(
        core.store,
        inner,
        commit,
        reason=request.reason or f"{caller.label} asked for it",
        areas=areas,
        node=core.node,
        requested_by=caller.person,
        signer=core.signer,
        when_utc=core.clock.utc(),
    )
    if name:
        core.tags.record(name, made, fingerprint(core.signer.public_blob))
        core.store.move_ref(TAGS + name, made, None)
    else:
        core.store.move_ref(JOB_REFS + job.id, made, None)
    return Released(name, made, tuple(areas))


def cluster_at(core: Core, commit: str) -> Cluster:
    """The configuration of a commit that is to be tagged.

    Raises:
        CannotTagError: it has none.
        ConfigurationError: it has problems.
    """
    entry = core.store.read_tree(commit).get(CLUSTER_PATH)
    if entry is None:
        raise CannotTagError(f"cannot tag {commit[:10]}: it has no cluster.yaml", "choose a later commit")
    config = core.live.config
    return parse_cluster(core.store.blob(entry.blob), f"{commit[:10]}:cluster.yaml", config.node, config.secrets)


def tag_of(core: Core, rev: str | None, commit: str, areas: tuple[str, ...]) -> Released | None:
    """A tag that this commit already has with the same areas; ``--rev`` may name one, which then has to be sound."""
    for ref, tag_object in sorted(
        core.store.refs("refs/tags/sync/").items(), key=lambda item: by_number(item[0]), reverse=True
    ):
        name = ref.removeprefix(TAGS)
        try:
            if read_tag(core.store, tag_object, name).commit != commit:
                continue
            tag, _ = verify_tag(core.store, tag_object, name, core.keys())
            core.tags.check(name, tag_object, tag.signer)
        except BadTagError:
            if name == rev:
                raise
            continue
        if tag.node == core.node and (set(tag.areas) == set(areas) or name == rev):
            return Released(name, tag_object, tag.areas)
    return None


def _ask_all(
    core: Core, request: SyncRequest, caller: Caller, nodes: tuple[str, ...], released: Released, job: Job
) -> dict[str, NodeResult]:
    results: dict[str, NodeResult] = {}

    def one(name: str) -> None:
        asking = _Asking(core, name, caller.person, job)
        results[name] = asking.run(request, released)

    threads = [threading.Thread(target=one, args=(name,), name=f"ask-{name}") for name in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = NodeResult("failed", "cannot go on: a bug in syncsrv", "see core's log")
    return {name: results.get(name, missing) for name in nodes}


class _Asking:
    """One backup's part of the job."""

    def __init__(self, core: Core, name: str, person: str, job: Job) -> None:
        self._core = core
        self._name = name
        self._person = person
        self._job = job

    def run(self, request: SyncRequest, released: Released) -> NodeResult:
        body = {
            "tag": released.name or DRY_RUN + self._job.id,
            "tag_object": released.object,
            "areas": list(released.areas),
            "reason": request.reason,
            "dry_run": request.dry_run,
            "restart_all": request.restart_all,
            "confirm_within_s": request.confirm_within_s,
            "force": list(request.force),
        }
        try:
            started: JobStarted = decode_reply("pull", JobStarted, self._call("pull", body))
            self._job.on_abort.append(lambda by: self._abort(started.job))
            return self._follow(started.job)
        except UnreachableError as error:
            self._job.publish(self._name, Step("ask", "failed", output=str(error)))
            return NodeResult("unreachable", error.message, error.remedy)
        except SyncsrvError as error:
            self._job.publish(self._name, Step("ask", "failed", output=str(error)))
            return NodeResult("refused" if error.exit_status == 4 else "failed", error.message, error.remedy)

    def _call(self, verb: str, body: Body) -> Body:
        return self._core.link.call(self._name, verb, body, deadline_s=ASK_S, person=self._person)

    def _follow(self, remote: str) -> NodeResult:
        """Relay its steps until it ends; a lost connection is dialled again, the job over there goes on by itself."""
        seen = lost = 0
        while True:
            try:
                asked = {"job": remote, "after": seen, "wait_s": FOLLOW_S}
                reply: JobReply = decode_reply("job", JobReply, self._call("job", asked))
            except UnreachableError as error:
                lost += 1
                if lost > LOST_POLLS:
                    raise UnreachableError(
                        f"cannot tell how {self._name} is: contact was lost during its job {remote}: {error.message}",
                        "it goes on, or puts everything back, by itself; see `syncsrv status` when it answers again",
                    ) from error
                self._core.stopping.wait(FOLLOW_S)
                continue
            except UsageError as error:
                if error.code != UnknownJobError.code:
                    raise
                return self._after_restart(remote)
            lost = 0
            seen += len(reply.steps)
            for _, step in reply.steps:
                self._job.publish(self._name, step)
            if reply.state != "running":
                return next(iter(reply.nodes.values()))

    def _after_restart(self, remote: str) -> NodeResult:
        """Its core ended in the middle of the job; at its start it undid or finished it, and remembers how."""
        facts = self._core.book.refresh(self._name).facts
        last = facts.situation.last if facts is not None else None
        if last is not None and last.job == remote:
            result = last.result if last.result in {"done", "unchanged"} else "failed"
            return NodeResult(result, last.reason, last.remedy)
        return NodeResult(
            "failed",
            f"cannot finish job {remote}: core of {self._name} ended before it had changed anything",
            "see its log for why it ended, then synchronize again",
        )

    def _abort(self, remote: str) -> None:
        self._call("abort", {"job": remote, "after": 0, "wait_s": 0.0})
