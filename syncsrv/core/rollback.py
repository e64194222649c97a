"""Roll back: a new commit that restores an older one, on either node, through the one engine.

What the older commit did not know (areas that came later, paths that were added to an area since) is left alone.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from syncsrv.apply.order import Order, Outcome
from syncsrv.apply.steps import Steps
from syncsrv.clock import rfc3339
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import NodeResult, RollbackRequest
from syncsrv.core.jobs import Job, about, click_of
from syncsrv.core.parts import Core, author, is_remote, power_of
from syncsrv.core.receipts import noted
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.plan import guards
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.tree import CLUSTER_PATH
from syncsrv.plan.verdict import Last
from syncsrv.plan.words import listed
from syncsrv.store.tags import verify_tag


@dataclass(frozen=True, slots=True)
class Aim:
    """What a rollback is about.

    Attributes:
        commit: what shall be live again.
        then: the configuration that it holds.
        cluster: the one that the plan is made from.
        chosen: names of the areas.
    """

    commit: str
    then: Cluster
    cluster: Cluster
    chosen: tuple[str, ...]


def rollback(core: Core, request: RollbackRequest, caller: Caller) -> Job:
    """Start the job.

    Raises:
        UsageError: no such revision or area.
    """
    aim = aim_at(core, request.rev, request.areas)
    return core.jobs.start(
        "rollback",
        caller.label,
        core.node,
        lambda job: {core.node: _work(core, request, caller, job, aim)},
        origin=caller.came_from,
        reason=request.reason,
        subject=about(f"to {aim.commit[:10]}", request.areas, dry_run=request.dry_run),
        click=click_of(caller, request) if request.plan else None,
    )


def aim_at(core: Core, rev: str, areas: tuple[str, ...]) -> Aim:
    """What a rollback to ``rev`` would be about.

    Raises:
        UsageError: no such revision or area.
    """
    commit = core.store.resolve_shown(rev)
    _require_own(core, commit)
    then = _cluster_at(core, commit)
    known = (*then.areas, CLUSTER_AREA)
    for name in areas:
        if name not in known:
            raise UsageError(
                f"cannot roll back area {name}: {commit[:10]} has none of that name", f"it has {listed(known)}"
            )
    now = core.cluster.areas
    chosen = areas or tuple(name for name in now if name in then.areas)
    if not chosen:
        raise UsageError(f"cannot roll back to {commit[:10]}: it has none of today's areas", f"it has {listed(known)}")
    cluster = then if CLUSTER_AREA in chosen else core.cluster
    gone = [name for name in chosen if name != CLUSTER_AREA and name not in cluster.areas]
    if gone:
        raise UsageError(
            f"cannot roll back area {listed(gone)}: today's cluster.yaml has none of that name",
            "add --area cluster to bring its definition back too",
        )
    return Aim(commit, then, cluster, chosen)


def order_for(core: Core, aim: Aim, rev: str) -> Order:
    """The order of a rollback, without who asks for it; a dry run."""
    changed_commands = guards.commands(core.cluster, aim.cluster) if CLUSTER_AREA in aim.chosen else None
    return Order(
        job="",
        kind="rollback",
        target=aim.commit,
        rev=rev,
        cluster=aim.cluster,
        areas=core.areas(aim.cluster),
        known=core.areas(aim.then),
        chosen=aim.chosen,
        brought={name: one.commit for name, one in core.state.now.applied.items() if name in aim.chosen},
        exact=core.store.read_commit(aim.commit).node in {"", core.node},
        fired=(changed_commands,) if changed_commands else (),
        dry_run=True,
    )


def _require_own(core: Core, commit: str) -> None:
    """Only what was live here, or what a pinned node signed as a tag, may become live again (DESIGN law 8).

    The repository holds more: what peers' main reaches is there for comparing, and nobody has signed it.
    """
    head = core.recorder.head()
    if head is not None and any(info.id == commit for info in core.store.first_parents(head)):
        return
    for tag in core.tags_here()[0]:
        if tag.commit == commit:
            verify_tag(core.store, tag.object_id, tag.name, core.keys())
            core.tags.check(tag.name, tag.object_id, tag.signer)
            return
    raise UsageError(
        f"cannot roll back to {commit[:10]}: it was never live on {core.node} and no sync tag names it",
        "`syncsrv log` shows what was live here; to take something else, tag it on the master and synchronize",
    )


def _work(core: Core, request: RollbackRequest, caller: Caller, job: Job, aim: Aim) -> NodeResult:
    steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
    job.on_abort.append(steps.abort)
    order = replace(
        order_for(core, aim, request.rev),
        job=job.id,
        person=author(core, caller),
        requested_by=caller.label,
        reason=request.reason,
        force=frozenset(request.force),
        power=power_of(caller),
        remote=is_remote(caller),
        dry_run=request.dry_run,
    )
    try:
        with nullcontext() if request.dry_run else core.live.changed_by(job.id):
            outcome = core.engine.run(order, steps)
    except SyncsrvError as error:
        outcome = Outcome("failed", error.message, error.remedy)
    if not request.dry_run:
        outcome = noted(core, job, "rollback", outcome, steps, partial(_remember, core, job, outcome))
        core.read_services()
    return NodeResult(outcome.result, outcome.reason, outcome.remedy, outcome.guards, tuple(steps.done))


def _remember(core: Core, job: Job, outcome: Outcome) -> None:
    """Only a failure is a state of the node; what went well is known from what is live."""
    if outcome.result == "failed":
        word = "rolled_back" if outcome.put_back else "failed"
        last = Last(job.id, word, rfc3339(core.clock.utc()), outcome.reason, outcome.remedy)
        core.state.change(lambda now: replace(now, last=last))


def _cluster_at(core: Core, commit: str) -> Cluster:
    entry = core.store.read_tree(commit).get(CLUSTER_PATH)
    if entry is None:
        raise UsageError(f"cannot roll back to {commit[:10]}: it has no cluster.yaml", "choose a later commit")
    config = core.live.config
    return parse_cluster(core.store.blob(entry.blob), f"{commit[:10]}:cluster.yaml", config.node, config.secrets)
