"""The one path by which managed files change (DESIGN law 4, 4.4): sync, rollback and all that will follow.

    record what is live → plan → guards → stage and checks → journal → write → read back → commit → services
      → known-good; or everything put back

The engine does; ``plan/`` decides. One run at a time: the recorder's lock covers commit, apply and rollback. What fails
before the first live file changes ends the run; what fails later is put back by ``settle.py``, files and services
alike, and the outcome says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from syncsrv.apply import prepare, settle
from syncsrv.apply.hooks import HookContext, HookName
from syncsrv.apply.journal import JobKind, Phase, Record
from syncsrv.apply.order import CannotApplyError, Order, Outcome, Parts
from syncsrv.apply.record import MAIN
from syncsrv.apply.steps import Steps
from syncsrv.disk.operations import plan_operations
from syncsrv.disk.write import write_all
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.diff import compare, restrict
from syncsrv.plan.make import Plan
from syncsrv.plan.tree import Entry, show_path
from syncsrv.plan.words import counted, listed
from syncsrv.store.commits import Person
from syncsrv.store.message import compose


class Engine:
    """Runs orders.

    Args:
        parts: what it works with.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def run(self, order: Order, steps: Steps) -> Outcome:
        """Carry out one order to its end.

        Raises:
            SyncsrvError: no live file was changed by then. Everything later is told by the outcome.
        """
        with self.parts.recorder.lock:
            return self._run(order, steps)

    def recover(self, steps: Steps) -> Outcome | None:
        """At start, before watch: undo or finish what an earlier core left; None where it left nothing."""
        with self.parts.recorder.lock:
            outcome = settle.recover(self.parts, steps)
            settle.release_ended(self.parts)
        return outcome

    def _run(self, order: Order, steps: Steps) -> Outcome:
        parts = self.parts
        with steps.step("record what is live") as step:
            recorded = parts.recorder.record(parts.areas(parts.cluster()), via="watch")
            step.say(f"{recorded.commit[:10]}: {recorded.subject}" if recorded.commit else "main equals the disk")
        with steps.step("plan") as step:
            planned = prepare.plan(parts, order)
            step.say(prepare.describe(planned.plan))
        refused = prepare.guard(parts, order, planned, steps)
        if refused is not None:
            return refused
        steps.check_abort()
        prepare.check(parts, order, planned.plan, steps)
        if order.dry_run:
            said = prepare.describe(planned.plan)
            if not planned.plan.changes:
                return Outcome("unchanged", said)
            return Outcome("done", f"dry run, nothing was changed; it would be: {said}", changes=planned.plan.changes)
        steps.check_abort()
        if not planned.plan.changes:
            return self._unchanged(order, steps)
        return self._apply(order, planned.plan, steps)

    def _unchanged(self, order: Order, steps: Steps) -> Outcome:
        """Nothing to write: the tag counts as applied; services are restarted where that was asked for."""
        head = self.parts.recorder.head()
        assert head is not None
        self.parts.remember(order, head)
        failed = settle.restart_all(self.parts, order.cluster, steps) if order.restart_all else ""
        if failed:
            return Outcome("failed", failed, "`syncsrv services` shows how they are", commit=head)
        store = self.parts.recorder.store
        if store.ref(settle.KNOWN_GOOD) is None:  # a first sync that finds everything equal: that is what is good
            store.move_ref(settle.KNOWN_GOOD, head, None)
        return Outcome("unchanged", "everything was equal already", commit=head)

    def _apply(self, order: Order, plan: Plan, steps: Steps) -> Outcome:
        parts = self.parts
        context = HookContext(
            node=parts.node.node,
            job=order.job,
            kind=order.kind,
            tag=order.tag or "",
            areas=order.chosen,
            root=parts.node.root,
            reason=order.reason,
            person=order.requested_by,
            paths=tuple(show_path(change.path) for change in plan.changes),
        )
        if parts.hooks.has(HookName.PRE_APPLY):
            with steps.step("pre-apply hook") as step:
                step.say(parts.hooks.before(context))
        steps.check_abort()
        with steps.step("journal") as step:
            record = self._begin(order, plan)
            step.say(counted(len(record.operations), "operation"))
        try:
            return self._write(order, plan, record, context, steps)
        finally:
            parts.unproven(parts.journal.path.exists())  # it stays where not all could be put back

    def _begin(self, order: Order, plan: Plan) -> Record:
        """The pre-image on main, the wanted tree held by a ref, the journal on disk: from here a crash is undone."""
        parts, recorder = self.parts, self.parts.recorder
        areas = order.areas.restricted(order.chosen)
        recorded = recorder.record(parts.areas(parts.cluster()), via="watch", beside=areas)
        head = recorded.head
        assert head is not None
        moved = compare(plan.live, restrict(recorder.tree(head), order.chosen, order.areas.area_of), areas.area_of)
        if moved:
            raise CannotApplyError(
                f"cannot apply: {listed(show_path(one.path) for one in moved)} changed on this node meanwhile",
                "see who edits there, then synchronize again",
            )
        with recorder.store.writer():
            wanted = recorder.store.build_tree(head, {change.path: change.new for change in plan.changes})
            recorder.store.move_ref(settle.job_ref(order.job), wanted, None)
        try:
            record = self._record(order, plan, head, wanted)
            parts.journal.begin(record)
        except SyncsrvError:
            settle.release(parts, order.job)
            raise
        return record

    def _record(self, order: Order, plan: Plan, head: str, wanted: str) -> Record:
        parts = self.parts
        services = parts.services(parts.cluster())
        return Record(
            job=order.job,
            kind=JobKind(order.kind),
            pre_image=head,
            wanted=wanted,
            started_utc=parts.clock.utc(),
            operations=plan_operations(plan.live, plan.result, order.job, self._missing(plan)),
            main_expected=head,
            tag=order.tag,
            tag_object=order.tag_object,
            target=order.target,
            areas=order.chosen,
            requested_by=order.requested_by,
            via=order.kind,
            reason=order.reason,
            forced=tuple(sorted(order.force)),
            services=prepare.service_wishes(order.cluster, plan),
            restart_all=order.restart_all,
            services_before={status.name: status.state.value for status in services.statuses()},
        )

    def _missing(self, plan: Plan) -> list[bytes]:
        return self.parts.files.missing_parents(
            change.path for change in plan.changes if change.new is not None and change.old is None
        )

    def _write(self, order: Order, plan: Plan, record: Record, context: HookContext, steps: Steps) -> Outcome:
        parts = self.parts
        written = False

        def progress(done: int, total: int) -> None:
            nonlocal written
            steps.check_abort()
            written = done > total - len(record.operations)

        try:
            parts.changing()
            with steps.step("write") as step:
                parts.journal.advance(Phase.WRITING)
                write_all(parts.files, record.operations, plan.live, plan.result, progress)
                step.say(f"{counted(len(plan.changes), 'path')} on disk")
            steps.check_withdrawn()
            with steps.step("read back") as step:
                self._read_back(order, plan)
                step.say("the disk equals the planned result")
            steps.check_withdrawn()
            with steps.step("commit") as step:
                commit = self._commit(order, record)
                parts.journal.advance(Phase.APPLIED)
                step.say(f"main is {commit[:10]}")
            steps.check_withdrawn()
            if CLUSTER_AREA in order.chosen:
                parts.take_effect(order.cluster)
            failed = settle.serve_changed(parts, record, order.cluster, steps)
            if failed:
                raise CannotApplyError(failed, settle.SERVICES)
            steps.check_withdrawn()
            if parts.hooks.has(HookName.POST_APPLY):
                with steps.step("post-apply hook") as step:
                    said = parts.hooks.after(context)
                    step.result = "warning" if said.failed else "done"
                    step.say(said.words)
            with steps.step("read again") as step:
                drift = self._drift(order, plan)
                step.result = "warning" if drift else "done"
                step.say(drift or "the disk still equals the planned result")
            steps.check_withdrawn()
        except SyncsrvError as error:
            return settle.put_back(parts, record, steps, error, written=written)
        except Exception:  # a bug must not leave half of it written; the top of the job logs it
            bug = CannotApplyError("cannot go on: a bug in syncsrv")
            settle.put_back(parts, record, steps, bug, written=written)
            raise
        reason = prepare.describe(plan) + (f"; {drift}" if drift else "")
        try:
            with steps.step("known-good"):
                parts.remember(order, commit)
                settle.finish(parts, record, commit)
        except SyncsrvError as error:
            return settle.unfinished(error, reason, commit)
        return Outcome("done", reason, commit=commit, changes=plan.changes)

    def _read_back(self, order: Order, plan: Plan) -> None:
        """Law 5: what the disk holds, computed anew, is the planned result; anything else is a failure."""
        differing = self._differences(order, plan.result)
        if differing:
            raise CannotApplyError(
                f"cannot confirm what was written: {listed(differing)} is not what was planned when read back",
                "see what else writes there, then synchronize again",
            )

    def _differences(self, order: Order, result: Mapping[bytes, Entry]) -> list[str]:
        areas = order.areas.restricted(order.chosen)
        live = self.parts.recorder.scan(areas)
        return [show_path(change.path) for change in compare(result, live.entries, areas.area_of)]

    def _drift(self, order: Order, plan: Plan) -> str:
        """What services and hooks have changed since it was read back; main says it too from here on."""
        differing = self._differences(order, plan.result)
        if not differing:
            return ""
        self.parts.recorder.record(self.parts.areas(self.parts.cluster()), via="watch")
        return f"drift: {listed(differing)} was changed by a service or hook meanwhile"

    def _commit(self, order: Order, record: Record) -> str:
        recorder, node = self.parts.recorder, self.parts.node.node
        names = ", ".join(order.chosen)
        words = f": {order.reason}" if order.reason else ""
        if order.kind == "sync":
            subject, parents = f"{order.tag}{words or f' applied to {names}'}", [record.pre_image, order.target]
        else:
            subject, parents = f"roll back {names} to {_target(order)}{words}", [record.pre_image]
        text = compose(
            subject, via=order.kind, node=node, areas=list(order.chosen), requested_by=order.requested_by, tag=order.tag
        )
        with recorder.store.writer():
            commit = recorder.store.commit(
                record.wanted,
                parents,
                text,
                order.person or Person(node, f"syncsrv@{node}"),
                self.parts.clock.utc(),
            )
            recorder.store.move_ref(MAIN, commit, record.main_expected)
        return commit


def _target(order: Order) -> str:
    """What was asked for, as it was typed, and the commit that it means."""
    commit = order.target[:10]
    return commit if not order.rev or order.target.startswith(order.rev) else f"{order.rev} ({commit})"
