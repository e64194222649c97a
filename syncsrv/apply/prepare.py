"""All of a run that changes nothing: plan, guards, checks. The dry run ends here, the run goes on from here.

Both come from the same plan; so a preview cannot promise what the run does not do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from syncsrv.apply.order import CannotApplyError, Order, Outcome, Parts, overridden
from syncsrv.apply.record import UNSAVED
from syncsrv.apply.steps import Steps
from syncsrv.checks.check import CheckResult, Status
from syncsrv.config.model import Cluster, Node, OnChange
from syncsrv.disk.attributes import check_entry
from syncsrv.disk.file_errors import ForbiddenEntryError
from syncsrv.plan import guards
from syncsrv.plan.areas import CLUSTER_AREA, Areas
from syncsrv.plan.diff import Difference, compare, restrict
from syncsrv.plan.guards import Fired, Guard
from syncsrv.plan.make import Obstacle, Plan, Wanted, allowed_tops, make_plan
from syncsrv.plan.tree import Entry, Kind, is_below, show_path
from syncsrv.plan.words import SHOWN, listed
from syncsrv.services.order import concerned
from syncsrv.store.repo import Store

TEXT_LIMIT = 1024 * 1024
"""Bytes of a changed file up to which the lock-out guard reads it."""

WORDS_KEPT = 4000
"""Characters of a failed check's output that the reason repeats, from both ends; its step has all of it."""

TEXTS_READ = 2000
"""Changed files that the lock-out guard reads at most; more than that is mass anyway."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what on this node it would overwrite that a sync had brought and somebody changed since."""

    plan: Plan
    drifted: tuple[bytes, ...]


def refuse_overrides(cluster: Cluster) -> None:
    """Raises CannotApplyError for what the contract promises and this version cannot do yet."""
    if cluster.overrides:
        raise CannotApplyError(
            "cannot apply: cluster.yaml has overrides, and this version does not know how to apply them",
            "take `overrides:` out of cluster.yaml, or exclude the files that differ from node to node",
        )


def plan(parts: Parts, order: Order) -> Planned:
    """What the order would change, from the disk as it is now.

    Raises:
        CannotApplyError: for what nothing can force.
    """
    recorder = parts.recorder
    refuse_overrides(order.cluster)
    _refuse_outside(parts, order)
    live = recorder.scan(order.areas.restricted(order.chosen))
    # What the master calls by a number may have a name here: compared is what would stand on this disk.
    parts.files.owners.forget()
    target = {path: parts.files.as_here(path, entry) for path, entry in recorder.tree(order.target).items()}
    if order.known is not None:
        known = order.known.area_of
        target = {path: entry for path, entry in target.items() if known(path) is not None}
        target.update({path: entry for path, entry in live.entries.items() if known(path) is None})
    drifted: list[bytes] = []
    for area, commit in order.left.items():
        applied = restrict(recorder.tree(commit), (area,), order.areas.area_of)
        now = restrict(live.entries, (area,), order.areas.area_of)
        drifted += [change.path for change in compare(applied, now, order.areas.area_of)]
    brought = {
        path
        for area, commit in order.brought.items()
        for path in restrict(recorder.tree(commit), (area,), order.areas.area_of)
    }
    made = make_plan(
        Wanted(
            target=target,
            areas=order.areas,
            chosen=order.chosen,
            extra={} if order.exact else {name: area.extra for name, area in order.cluster.areas.items()},
            live=live.entries,
            obstacles=tuple(
                Obstacle(one.path, one.detail or one.reason.value, one.reason in UNSAVED) for one in live.left_out
            ),
            brought=frozenset(brought),
            allow=allowed_tops(parts.node.allow),
        )
    )
    unknown = parts.files.owners.unknown({change.path: change.new for change in made.changes if change.new})
    refusals = [*made.refusals, *(error.message for error in unknown)] or list(_forbidden(made))
    if refusals:
        raise CannotApplyError(
            "; ".join(refusals[:SHOWN]), "put that right, then repeat; nothing was changed, and --force does not help"
        )
    return Planned(made, tuple(drifted))


def _forbidden(made: Plan) -> Iterator[str]:
    """What the writer would refuse; a preview has to say it too."""
    for change in made.changes:
        if change.new is not None:
            try:
                check_entry(change.path, change.new, restoring=False)
            except ForbiddenEntryError as error:
                yield error.message


def _refuse_outside(parts: Parts, order: Order) -> None:
    """What this node does not let itself be written is not read for another one either."""
    allowed = allowed_tops(parts.node.allow)
    outside = [
        f"{show_path(top)} (area {name})"
        for name in order.chosen
        if name != CLUSTER_AREA
        for top in order.areas.tops(name)
        if not any(is_below(top, one) for one in allowed)
    ]
    if outside and order.kind == "sync":
        raise CannotApplyError(
            f"cannot write {listed(outside)}: node.yaml of this node allows {', '.join(parts.node.allow)} only",
            "extend `allow` there if it is meant, or leave the area out with --area; no guard can force this",
        )


def describe(made: Plan) -> str:
    """``3 added, 1 changed, 2 deleted: /etc/a, /etc/b and 4 more``; directories count like files."""
    if not made.changes:
        return "nothing differs"
    kinds = [change.difference for change in made.changes]
    added, removed = kinds.count(Difference.ADDED), kinds.count(Difference.REMOVED)
    rest = len(kinds) - added - removed
    parts = [
        f"{added} added" if added else "",
        f"{rest} changed" if rest else "",
        f"{removed} deleted" if removed else "",
    ]
    return f"{', '.join(filter(None, parts))}: {listed(show_path(change.path) for change in made.changes)}"


def fired_by(parts: Parts, order: Order, planned: Planned) -> list[Fired]:
    """Every guard that fires, forced or not."""
    drifted = planned.drifted if order.kind == "sync" else ()
    seen = seen_in(planned.plan, order.areas, drifted, guards.listeners(parts.node), parts.recorder.store)
    return [*order.fired, *seen]


def seen_in(
    made: Plan, areas: Areas, drifted: Iterable[bytes], reached_at: Mapping[str, str], store: Store
) -> list[Fired]:
    """The guards that a plan alone shows.

    Args:
        made: the plan.
        areas: that it was made with.
        drifted: what was changed on the node since the last sync.
        reached_at: the node's listeners.
        store: has the contents.
    """
    found = (
        guards.mass_deletion(made.changes, made.live, {path: str(areas.area_of(path)) for path in made.live}),
        guards.drift(drifted, made.changes),
        guards.lock_out(made.changes, _texts(store, made), reached_at),
    )
    return [one for one in found if one is not None]


def commands_of_first(order: Order) -> tuple[tuple[str, str], ...]:
    """Every command that a node's first sync brings, with its key; none otherwise: then a guard says what is other."""
    return guards.commands_listed(order.cluster) if order.first else ()


def guard(parts: Parts, order: Order, planned: Planned, steps: Steps) -> Outcome | None:
    """Every guard that fires; an outcome where one stands."""
    made = planned.plan
    with steps.step("guards") as step:
        fired = fired_by(parts, order, planned)
        standing = [one for one in fired if not overridden(one.guard, order, parts.node.commands == "pinned")]
        for one in fired:
            step.say(f"{one.guard}{'' if one in standing else ' (overridden)'}: {one.saw}")
        if brought := commands_of_first(order):
            said = (f"{key}: {line}" for key, line in brought)
            step.say("\n  ".join(("the first sync brings these commands, which run as root on this node:", *said)))
        if not standing:
            return None
        step.result = "failed"
    return Outcome(
        "refused",
        "; ".join(f"{one.guard}: {one.saw}" for one in standing),
        "; ".join(_how_on(one, order, parts.node) for one in standing),
        tuple(one.guard.value for one in standing),
        changes=made.changes,
    )


def _how_on(fired: Fired, order: Order, node: Node) -> str:
    """The guard's remedy; where it was forced in vain, why that did not count."""
    if fired.guard.value not in order.force:
        return fired.remedy
    here = f"repeat it on {node.node} itself"
    if fired.guard is Guard.COMMANDS and node.commands == "pinned" and order.remote:
        return f"--force {fired.guard} did not count: {node.node} has `commands: pinned`; {here}"
    return (
        f"--force {fired.guard} did not count: {order.requested_by or 'who asked'} is {order.power} on {node.node}, "
        f"not admin; {here if order.remote else 'let an admin repeat it'}"
    )


def _texts(store: Store, made: Plan) -> dict[bytes, tuple[bytes, bytes]]:
    def text(entry: Entry | None) -> bytes:
        if entry is None or entry.kind is not Kind.FILE or store.blob_size(entry.blob) > TEXT_LIMIT:
            return b""
        return store.blob(entry.blob)

    return {change.path: (text(change.old), text(change.new)) for change in made.changes[:TEXTS_READ]}


def checks_of(cluster: Cluster, made: Plan) -> dict[str, tuple[str, ...]]:
    """The checks of the areas that change, by area."""
    changed = {change.area for change in made.changes}
    return {name: area.check for name, area in cluster.areas.items() if name in changed and area.check}


def check(parts: Parts, order: Order, made: Plan, steps: Steps) -> None:
    """Run the check of every changed area over the stage: what this node would have.

    Raises:
        CannotApplyError: one failed; with its own words.
    """
    argvs = checks_of(order.cluster, made)
    if not argvs:
        return
    tops = {name: order.areas.tops(name) for name in order.chosen if name != CLUSTER_AREA}
    failed: list[CheckResult] = []
    for result in parts.checker.run(made.result, made.live, tops, argvs, steps.stop):
        steps.check_abort()
        steps.add(f"check {result.area}", "done" if result.ok else "failed", result.seconds, result.shown())
        if not result.ok:
            failed.append(result)
    if failed:
        from_master = order.kind == "sync" and failed[0].status is Status.FAILED
        there = " on the master, then synchronize again" if from_master else ""
        raise CannotApplyError(
            "; ".join(f"cannot apply area {one.area}: {_words(one)}" for one in failed),
            f"nothing was changed on this node; {failed[0].remedy}{there}",
        )


def _words(result: CheckResult) -> str:
    said = result.output.strip()
    if len(said) > WORDS_KEPT:
        said = f"{said[: WORDS_KEPT // 2]}\n[...]\n{said[-WORDS_KEPT // 2 :]}"
    return f"its check `{result.command}` {result.why}" + (f": {said}" if said else "")


def service_wishes(cluster: Cluster, made: Plan) -> dict[str, OnChange]:
    """What each service wants after these changes, in the order in which they are told."""
    return concerned(cluster.areas, cluster.services, {change.area for change in made.changes})
