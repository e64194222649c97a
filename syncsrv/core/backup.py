"""The backup's half of a sync: fetch the tag, verify it, and let the engine make this node equal to it.

The backup pulls; nothing is ever written here because another node says so, but for what a pinned, signed, unmoved
tag holds, below the roots that this node allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from syncsrv.apply.journal_format import JobKind, Record
from syncsrv.apply.order import Order, Outcome
from syncsrv.apply.steps import Steps
from syncsrv.clock import rfc3339
from syncsrv.config.model import Role
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import NodeResult, PullRequest, SyncRequest
from syncsrv.core.carp.serving import ends_if_master
from syncsrv.core.fetch import fetched
from syncsrv.core.jobs import Job, about, click_of
from syncsrv.core.mains import remember_main
from syncsrv.core.offer import Offer, WrongRoleError, chosen_of, cluster_of, offered, order_for
from syncsrv.core.parts import TAGS, Core, author, is_remote, power_of
from syncsrv.core.planned import StalePlanError
from syncsrv.core.receipts import noted
from syncsrv.core.state import Applied, SyncState
from syncsrv.errors import SyncsrvError, UnreachableError
from syncsrv.plan.verdict import Last
from syncsrv.plan.words import counted
from syncsrv.store.exchange import tips
from syncsrv.store.tags import BadTagError, SyncTag, by_number, verify_tag
from syncsrv.version import __version__

QUARANTINE = "refs/syncsrv/quarantine/"
"""What a running fetch has brought, below its job's id."""

DRY_RUN = "dry-run/"
"""How the inner name of a tag begins that must never be applied."""
FETCH_S = 600.0
CALL_S = 10.0


def pull(core: Core, request: PullRequest, caller: Caller) -> Job:
    """A master asks this node to pull a tag.

    Raises:
        WrongRoleError: this node is a master itself.
    """
    if core.role is Role.MASTER:
        raise WrongRoleError(
            f"cannot synchronize {core.node}: its role is master", "two masters: make one of them backup in node.yaml"
        )
    assert caller.node is not None
    offer = Offer(caller.node, request.tag, request.tag_object, request.areas)
    return _start(core, offer, request, caller)


def sync(core: Core, request: SyncRequest, caller: Caller, shown: str = "") -> Job:
    """``syncsrv sync`` on a backup: its master's newest tag, or the newest that it has verified when that is away.

    Args:
        core: of this node.
        request: what is asked for.
        caller: who asks.
        shown: the commit that the person was shown; no other is applied.
    """
    offer = replace(offered(core, request.nodes, request.areas, request.rev or ""), commit=shown)
    asked = PullRequest(
        offer.tag,
        offer.tag_object,
        request.areas,
        request.reason,
        request.dry_run,
        request.restart_all,
        request.confirm_within_s,
        request.force,
    )
    return _start(core, offer, asked, caller, click_of(caller, request) if request.plans else None)


def _start(core: Core, offer: Offer, request: PullRequest, caller: Caller, click: object = None) -> Job:
    return core.jobs.start(
        "sync",
        caller.label,
        core.node,
        lambda job: {core.node: _work(core, offer, request, caller, job)},
        origin=caller.came_from,
        reason=request.reason,
        subject=about(offer.tag or "the newest tag", offer.areas, dry_run=request.dry_run),
        click=click,
    )


def _work(core: Core, offer: Offer, request: PullRequest, caller: Caller, job: Job) -> NodeResult:
    steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
    job.on_abort.append(steps.abort)
    blocked = False
    try:
        with nullcontext() if request.dry_run else core.live.changed_by(job.id):
            outcome = _run(core, offer, request, caller, job, steps)
    except UnreachableError as error:
        outcome = Outcome("unreachable", error.message, error.remedy)
    except SyncsrvError as error:
        blocked = isinstance(error, BadTagError)
        outcome = Outcome("failed", error.message, error.remedy)
    if not request.dry_run:
        remember = partial(_remember, core, job, outcome, blocked=blocked)
        outcome = noted(core, job, "sync", outcome, steps, remember, tag=job.tag)
        core.read_services()
    core.book.refresh(offer.master)
    return NodeResult(outcome.result, outcome.reason, outcome.remedy, outcome.guards, tuple(steps.done))


def _remember(core: Core, job: Job, outcome: Outcome, *, blocked: bool) -> None:
    """How it ended; a refusal does not hide that the run before it failed."""
    if outcome.result == "unreachable":
        return  # nothing was tried here
    result = "blocked" if blocked else "rolled_back" if outcome.put_back else outcome.result
    last = core.state.now.last
    if result == "refused" and last is not None and last.result in {"failed", "rolled_back", "blocked"}:
        return
    now = Last(job.id, result, rfc3339(core.clock.utc()), outcome.reason, outcome.remedy)
    core.state.change(lambda state: replace(state, last=now))


def _run(core: Core, offer: Offer, request: PullRequest, caller: Caller, job: Job, steps: Steps) -> Outcome:
    steps.check_abort()
    try:
        found = _fetch(core, offer, job, steps)
        with core.recorder.lock:  # what is decided from what is applied still holds when it is written
            return _take(core, offer, request, caller, job, steps, found)
    finally:
        _release_quarantine(core, job)


def _take(
    core: Core, offer: Offer, request: PullRequest, caller: Caller, job: Job, steps: Steps, found: tuple[str, str, str]
) -> Outcome:
    """Verify what was fetched, and hand it to the engine."""
    tag_name, tag_object, theirs = found
    with steps.step("verify") as step:
        tag, signer = _verify(core, tag_name, tag_object, keep=not request.dry_run)
        step.say(f"{tag.name}: commit {tag.commit[:10]}, signed by {signer}, asked for by {tag.requested_by}")
    job.tag = tag.name if tag.name.startswith("sync/") else None
    if offer.commit and tag.commit != offer.commit:
        why = f"{tag.name} is not the commit that you were shown ({tag.commit[:10]} instead of {offer.commit[:10]})"
        return Outcome("refused", f"cannot synchronize {core.node}: {why}", StalePlanError.look)
    cluster = cluster_of(core, tag.commit)
    order = replace(
        order_for(core, tag.name, tag.commit, chosen_of(offer.areas, tag.name, tag.areas, cluster), cluster, theirs),
        job=job.id,
        tag_object=tag_object,
        person=author(core, caller),
        requested_by=caller.label,
        reason=request.reason or tag.reason,
        force=frozenset(request.force),
        power=power_of(caller),
        remote=is_remote(caller),
        dry_run=request.dry_run,
        restart_all=request.restart_all,
    )
    with ends_if_master(core, order, steps):
        return core.engine.run(order, steps)


def _fetch(core: Core, offer: Offer, job: Job, steps: Steps) -> tuple[str, str, str]:
    """Bring the tag's closure here; the tag's name, its object and the master's version."""
    with steps.step("fetch") as step:
        body = {"want": "tag", "tag_object": offer.tag_object, "haves": tips(core.store)}
        try:
            with fetched(core, offer.master, body, deadline_s=FETCH_S) as (reply, incoming):
                objects = incoming.finish([reply.object], ref=QUARANTINE + job.id)
        except UnreachableError as error:
            return _newest_here(core, offer, step.say, error)
        step.say(f"{reply.tag or 'dry run'} from {offer.master}: {counted(objects, 'object')}")
        if reply.head and core.store.has(reply.head) and core.store.kind(reply.head) == "commit":
            remember_main(core, offer.master, reply.head)
        return offer.tag or reply.tag, reply.object, reply.version


def _newest_here(core: Core, offer: Offer, say: object, error: UnreachableError) -> tuple[str, str, str]:
    """The master is away: the newest tag that was verified here."""
    known = sorted(core.store.refs(TAGS + "sync/").items(), key=lambda item: by_number(item[0]))
    if offer.tag:
        known = [(ref, tag_object) for ref, tag_object in known if tag_object == offer.tag_object]
    if not known:
        raise error
    name, tag_object = known[-1]
    assert callable(say)
    say(f"{offer.master} is away ({error.message}); {name.removeprefix(TAGS)} was verified here before")
    return name.removeprefix(TAGS), tag_object, __version__


def _verify(core: Core, name: str, tag_object: str, *, keep: bool) -> tuple[SyncTag, str]:
    """Believe the tag, or raise; only then does a ref outside quarantine move."""
    core.tags.saw([name])
    tag, signer = verify_tag(core.store, tag_object, name, core.keys())
    if tag.name.startswith(DRY_RUN):
        if keep:
            raise BadTagError(tag.name, "it was signed for a dry run only", "synchronize again from the master")
        return tag, signer
    core.tags.check(tag.name, tag_object, tag.signer)
    if keep:
        core.tags.record(tag.name, tag_object, tag.signer)
        if core.store.ref(TAGS + tag.name) is None:
            core.store.move_ref(TAGS + tag.name, tag_object, None)
    return tag, signer


def _release_quarantine(core: Core, job: Job) -> None:
    held = core.store.ref(QUARANTINE + job.id)
    if held is not None:
        core.store.move_ref(QUARANTINE + job.id, None, held)


def applied_by(state: SyncState, order: Order, commit: str) -> SyncState:
    """What the node remembers once an order is applied and main is ``commit``."""
    if order.kind != "sync":
        return _rolled_back(state, order.target, order.requested_by, order.reason)
    assert order.tag is not None
    assert order.tag_object is not None
    return _synced(state, Applied(order.tag, order.tag_object, order.target, commit), order.chosen)


def applied_again(state: SyncState, record: Record, commit: str) -> SyncState:
    """The same for an order of which only the journal is left."""
    if record.kind is JobKind.SYNC and record.tag and record.tag_object and record.target:
        return _synced(state, Applied(record.tag, record.tag_object, record.target, commit), record.areas)
    return _rolled_back(state, record.target or "", record.requested_by, record.reason)


def _synced(state: SyncState, applied: Applied, areas: Iterable[str]) -> SyncState:
    return replace(state, applied={**state.applied, **dict.fromkeys(areas, applied)}, rolled_back_here=None)


def _rolled_back(state: SyncState, target: str, requested_by: str, reason: str) -> SyncState:
    told = f"to {target[:10]} by {requested_by}" + (f": {reason}" if reason else "")
    return replace(state, rolled_back_here=told)
