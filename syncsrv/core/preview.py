"""What a sync or a rollback would do, from what is known here; asks no peer, tags nothing, leaves nothing behind.

It is made by the functions that the run itself uses. What a person was shown goes along with the order as a digest,
and an order for anything else is refused: nobody applies what nobody has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from syncsrv.apply import prepare
from syncsrv.apply.order import Order
from syncsrv.config.load import parse_cluster
from syncsrv.config.model import Cluster, Role
from syncsrv.config.problem import ConfigurationError
from syncsrv.control.shapes import Facts, RollbackRequest, SyncRequest
from syncsrv.control.shapes_page import NodePreview, PreviewReply, PreviewRequest
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.core import master, rollback
from syncsrv.core.carp import serving
from syncsrv.core.facts import service_info
from syncsrv.core.keptjobs import kept
from syncsrv.core.mains import last_known
from syncsrv.core.offer import Offer, chosen_of, cluster_of, offered, order_for
from syncsrv.core.parts import TAGS, Core
from syncsrv.core.peers import Heard
from syncsrv.core.planned import StalePlanError, is_commit, planned
from syncsrv.core.shown import Draft, shown, whats_new
from syncsrv.errors import SyncsrvError, UnreachableError, UsageError
from syncsrv.plan import guards
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.guards import Fired, Guard
from syncsrv.plan.make import Plan
from syncsrv.plan.tree import CLUSTER_PATH, tree_path
from syncsrv.store.tags import by_number, read_tag
from syncsrv.version import __version__

WAIT_S = 2.0
"""For what reads the disk meanwhile. For a job that changes this node nobody waits who looks at a page: it is told."""


class BusyError(SyncsrvError):
    """A job is changing this node, so that what is live is not known for a moment."""

    code = "busy"

    def __init__(self, node: str, job: str | None) -> None:
        by = f"job {job}" if job else "another one"
        super().__init__(
            f"cannot look ahead on {node}: {by} is changing it",
            "look again when that has ended; Jobs shows how far it is",
        )


def preview(core: Core, request: PreviewRequest) -> PreviewReply:
    """What the order would do on each node.

    Raises:
        UsageError: a node, revision or area that there is not.
        BusyError: this node is being changed.
    """
    if request.kind == "rollback":
        if request.nodes not in {(), (core.node,)}:
            raise UsageError("cannot look ahead: a node is rolled back on the node itself", "ask it there")
        return PreviewReply({core.node: _rollback(core, request.rev, request.areas)})
    if request.kind != "sync":
        raise UsageError(f"cannot look ahead at {request.kind!r}", "it is sync or rollback")
    if core.role is Role.MASTER:
        return PreviewReply(_sync_of_peers(core, request))
    return PreviewReply({core.node: _sync_here(core, request)})


def settled(core: Core, request: SyncRequest) -> tuple[SyncRequest, str]:
    """The order as it was shown: for exactly the commit that was previewed.

    Returns:
        The order, and that commit; empty where the person was shown nothing.

    Raises:
        StalePlanError: something else would happen by now.
    """
    if not request.plans:
        return request, ""
    now = preview(core, PreviewRequest("sync", request.nodes, request.areas, request.rev or "")).nodes
    for node, one in now.items():
        _refuse_other(f"synchronize {node}", request.plans.get(node, ""), one)
    target = next(iter(now.values())).target
    named = core.role is Role.BACKUP or (request.rev or "").startswith("sync/")
    return (request if named else replace(request, rev=target)), target


def refuse_stale_rollback(core: Core, request: RollbackRequest) -> None:
    """Raises StalePlanError where the rollback would do something else than was shown."""
    if request.plan:
        _refuse_other(f"roll back {core.node}", request.plan, _rollback(core, request.rev, request.areas))


def _refuse_other(doing: str, plan: str, now: NodePreview) -> None:
    if not plan:
        raise StalePlanError(doing, "what would change there was not shown to you")
    if plan != now.plan:
        raise StalePlanError(doing, whats_new(plan, now.plan))


# -- this node


@contextmanager
def _still(core: Core) -> Iterator[None]:
    """While nothing else changes this node."""
    if not core.recorder.lock.acquire(timeout=0.0 if core.live.changing else WAIT_S):
        raise BusyError(core.node, next(iter(core.live.changing), None))
    try:
        yield
    finally:
        core.recorder.lock.release()


def _readings(core: Core) -> dict[str, ServiceInfo]:
    return {one.name: service_info(one) for one in core.live.readings}


def _rollback(core: Core, rev: str, areas: tuple[str, ...]) -> NodePreview:
    with _still(core):
        head = core.record(via="watch").head
        aim = rollback.aim_at(core, rev, areas)
        return _of_order(core, rollback.order_for(core, aim, rev), Draft(core.node, head, aim.commit))


def _sync_here(core: Core, request: PreviewRequest) -> NodePreview:
    """On a backup: what it would get by itself, as far as it knows what its master has."""
    offer = offered(core, request.nodes, request.areas, request.rev)
    heard = core.book.now()[offer.master]
    theirs = heard.facts.version if heard.facts is not None else __version__
    with _still(core):
        head = core.record(via="watch").head
        tag, commit, areas = _newest(core, offer, heard)
        draft = replace(
            Draft(core.node, head, commit, tag=tag, reachable=heard.reachable, age_s=_age_s(core, heard)),
            ahead=_ahead(core, offer.master, commit),
            failed=_failed(core, tag),
            rolled_back=core.state.now.rolled_back_here or "",
        )
        try:
            if not tag:
                raise UsageError(
                    f"cannot synchronize {core.node}: {offer.master} has tagged nothing yet",
                    "`syncsrv sync` on the master tags",
                )
            cluster = cluster_of(core, commit)
            chosen = chosen_of(offer.areas, tag, areas, cluster)
        except SyncsrvError as error:
            return shown(replace(draft, refusals=(error.message,)))
        return _of_order(core, order_for(core, tag, commit, chosen, cluster, theirs), draft)


def _newest(core: Core, offer: Offer, heard: Heard) -> tuple[str, str, tuple[str, ...]]:
    """The tag that a sync would take, its commit and its areas; the master's main where nothing was tagged.

    Raises:
        UnreachableError: nothing of the master is known here.
    """
    facts = heard.facts
    if not offer.tag and facts is not None and heard.reachable and is_commit(core, facts.tagged):
        return facts.last_tag, facts.tagged, tuple(area for area, tag in facts.areas.items() if tag == facts.last_tag)
    here = sorted(core.store.refs(TAGS + "sync/").items(), key=lambda item: by_number(item[0]))
    if offer.tag:
        here = [(TAGS + offer.tag, offer.tag_object)]
    if here:
        ref, tag_object = here[-1]
        tag = read_tag(core.store, tag_object, ref.removeprefix(TAGS))
        return tag.name, tag.commit, tag.areas
    known, _ = last_known(core, offer.master)
    if known is None:
        raise UnreachableError(f"cannot look ahead: {offer.master} was never reached", "see `syncsrv status`")
    return "", known, ()


def _ahead(core: Core, name: str, commit: str) -> int | None:
    """Commits of the master's main that come after ``commit``; None where its main is not known here."""
    facts = core.book.now()[name].facts
    head = facts.head if facts is not None else last_known(core, name)[0]
    if head is None:
        return None
    if head == commit:
        return 0
    areas = core.areas()
    return core.lag.commits_since(commit, head, areas, areas.names) if is_commit(core, head) else None


def _failed(core: Core, tag: str) -> str:
    """Why the last run did not bring this tag; empty where it did, or was of another."""
    last = core.state.now.last
    if not tag or last is None or last.result in {"done", "unchanged"}:
        return ""
    try:
        ran = next((job.tag for job in core.jobs.recent() if job.id == last.job), None) or kept(core, last.job).tag
    except SyncsrvError:  # no record of it is left, or none that can be trusted
        return ""
    return last.reason if ran == tag else ""


def _of_order(core: Core, order: Order, draft: Draft) -> NodePreview:
    """The engine's own plan of an order for this node."""
    brought = prepare.commands_of_first(order)
    draft = replace(draft, chosen=order.chosen, cluster=order.cluster, readings=_readings(core), commands=brought)
    parts = core.engine.parts
    try:
        made = prepare.plan(parts, order)
    except SyncsrvError as error:
        return shown(replace(draft, refusals=(error.message,)))
    return shown(replace(draft, plan=made.plan, fired=tuple(prepare.fired_by(parts, order, made))))


# -- peers


def _sync_of_peers(core: Core, request: PreviewRequest) -> dict[str, NodePreview]:
    """On a master: its main, or ``rev``, against what is known of each backup."""
    nodes = master.targets(core, request.nodes)
    try:
        with _still(core):
            head = core.record(via="watch").head
    except BusyError:  # a rollback of the master: its main is what would be tagged now
        head = core.recorder.head()
    commit = core.store.resolve_shown(request.rev) if request.rev else head
    if commit is None:
        raise UsageError("cannot look ahead: nothing was committed yet", "give cluster.yaml an area")
    tags = (ref.removeprefix(TAGS) for ref in core.store.refs(TAGS + "sync/"))
    common = Draft("", None, commit, tag_next=core.tags.next_name(tags))
    try:
        master.refuse_unfit(core)
        cluster = master.cluster_at(core, commit)
        prepare.refuse_overrides(cluster)
    except SyncsrvError as error:
        common = replace(common, refusals=(error.message,))
        return {name: shown(_known(core, name, common)) for name in nodes}
    areas = master.areas_of(request.areas, cluster, commit[:10] if request.rev else "cluster.yaml")
    found = master.tag_of(core, request.rev or None, commit, areas)
    common = replace(common, chosen=found.areas if found else areas, tag=found.name if found else "", cluster=cluster)
    return {name: _of_peer(core, name, _known(core, name, common), cluster) for name in nodes}


def _known(core: Core, name: str, draft: Draft) -> Draft:
    heard = core.book.now()[name]
    base, age_s = last_known(core, name)
    facts = heard.facts
    return replace(
        draft,
        node=name,
        base=base,
        readings={one.name: one for one in facts.services} if facts is not None else {},
        seen=(facts.head or "") if facts is not None else "",
        rolled_back=(facts.situation.rolled_back_here or "") if facts is not None else "",
        reachable=heard.reachable,
        age_s=age_s,
    )


def _of_peer(core: Core, name: str, draft: Draft, cluster: Cluster) -> NodePreview:
    facts = core.book.now()[name].facts
    applied = facts.applied if facts is not None else {}
    first = facts is None or facts.situation.applied_tag is None
    made = planned(core, draft.base, draft.target, cluster, draft.chosen, applied)
    refusals = made.refusals
    if facts is not None and facts.role == Role.MASTER:
        refusals = (f"cannot synchronize {name}: its role is master", *refusals)
    theirs = _cluster_there(core, draft.base)
    there = {CLUSTER_AREA, *(theirs.areas if theirs is not None else ())}
    return shown(
        replace(
            draft,
            plan=made,
            fired=tuple(_fired(core, name, draft, made, cluster, theirs, facts)),
            refusals=refusals,
            unseen=tuple(area for area in draft.chosen if area not in there),
            commands=guards.commands_listed(cluster) if first else (),
        )
    )


def _cluster_there(core: Core, base: str | None) -> Cluster | None:
    """The cluster.yaml that is live on a peer, as far as this node can read it."""
    entry = core.store.read_tree(base).get(CLUSTER_PATH) if base else None
    if entry is None:
        return None
    config = core.live.config
    try:
        return parse_cluster(core.store.blob(entry.blob), "cluster.yaml", config.node, config.secrets)
    except ConfigurationError:
        return None


def _fired(
    core: Core, name: str, draft: Draft, made: Plan, cluster: Cluster, theirs: Cluster | None, facts: Facts | None
) -> Iterator[Fired]:
    """The guards as that node would see them; what only it knows, such as its node.yaml, is left out."""
    areas = core.areas(cluster)
    drifted: list[bytes] = []
    if facts is not None:
        version = guards.version(facts.version, __version__)
        yield from (version,) if version else ()
        serves = serving.guard_of_peer(name, facts)
        yield from (serves,) if serves else ()
        newest = facts.situation.applied_tag
        if newest is not None:
            yield from _since(core, name, draft, cluster, theirs, facts, newest)
        drifted = [tree_path(path) for area in draft.chosen for path in facts.situation.drift.get(area, ())]
    reached_at = {"ssh.listen": core.live.config.node.peers[name].address}
    yield from prepare.seen_in(made, areas, drifted, reached_at, core.store)


def _since(
    core: Core, name: str, draft: Draft, cluster: Cluster, theirs: Cluster | None, facts: Facts, newest: str
) -> Iterator[Fired]:
    """The guards that compare with what is applied there."""
    changed = guards.commands(theirs, cluster) if theirs is not None else _unread(name)
    yield from (changed,) if changed else ()
    applied = next((facts.applied.get(area) for area, tag in facts.areas.items() if tag == newest), None)
    if applied is not None and applied != draft.target and is_commit(core, applied):
        older = guards.older(core.store.is_ancestor(draft.target, applied), draft.tag or draft.tag_next, newest)
        yield from (older,) if older else ()


def _unread(name: str) -> Fired:
    return Fired(
        Guard.COMMANDS,
        f"which commands {name} runs today cannot be told here",
        f"see `syncsrv check` on {name}; if the new ones are right, an admin repeats with --force commands",
    )


def _age_s(core: Core, heard: Heard) -> float | None:
    return None if heard.at is None else round(max(0.0, core.clock.monotonic() - heard.at), 1)
