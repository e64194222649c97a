"""How a run ends: finished, or put back; right away or, after a crash, at the next start.

Before main says ``applied`` everything is undone; from then on it is finished, unless the services do not come up:
then it is put back too, and main says that as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from syncsrv.apply.journal import Phase, Record
from syncsrv.apply.order import CannotApplyError, Outcome, Parts
from syncsrv.apply.steps import Steps
from syncsrv.config.model import Cluster, OnChange
from syncsrv.config.problem import ConfigurationError
from syncsrv.disk.undo import UndoReport, undo
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.tree import CLUSTER_PATH, Entry, show_path
from syncsrv.plan.words import counted, listed
from syncsrv.services.base import ActionResult, DefinitionsError, Result, ServiceState, ServiceStatus

KNOWN_GOOD = "refs/syncsrv/known-good"
SERVICES = "correct what the service complains of, then try again; `syncsrv services` shows how they are now"
JOB_REFS = "refs/syncsrv/job/"


def job_ref(job: str) -> str:
    """What holds the wanted tree of a run while a crash may need it."""
    return JOB_REFS + job


def serve_changed(parts: Parts, record: Record, cluster: Cluster, steps: Steps) -> str:
    """Make the services load what was applied, in order, each with its health; the failures as a sentence.

    Raises:
        SyncsrvError: the job was withdrawn between two services; a manager could not read its definitions.
    """
    _read_definitions(parts, record, cluster, steps)
    if record.restart_all:
        return restart_all(parts, cluster, steps)
    wishes = {name: OnChange(wish) for name, wish in record.services.items()}
    return _failures(parts.services(cluster).after_change(wishes, lambda result: _tell_and_check(steps, result)))


def _read_definitions(parts: Parts, record: Record, cluster: Cluster, steps: Steps) -> None:
    """Unit files that were brought count before anything is started as they say.

    Raises:
        DefinitionsError: a manager could not read them.
    """
    root = parts.node.root
    paths = (os.fspath(root / show_path(operation.path).lstrip("/")) for operation in record.operations)
    began_at = parts.clock.monotonic()
    try:
        if parts.services(cluster).read_definitions(paths):
            steps.add("read unit files", "done", parts.clock.monotonic() - began_at, "the manager has read them anew")
    except DefinitionsError as error:
        steps.add("read unit files", "failed", parts.clock.monotonic() - began_at, error.message)
        raise


def restart_all(parts: Parts, cluster: Cluster, steps: Steps) -> str:
    """Restart all that runs or has failed; the failures as a sentence."""
    return _failures(parts.services(cluster).restart_all(lambda result: _tell_and_check(steps, result)))


def _tell_and_check(steps: Steps, result: ActionResult) -> None:
    _tell(steps, result)
    steps.check_withdrawn()


def _tell(steps: Steps, result: ActionResult) -> None:
    said = result.reason + (f"\n{result.output}" if result.output else "")
    steps.add(f"{result.action} {result.name}", result.result.value, result.seconds, said)


def _failures(results: list[ActionResult]) -> str:
    return "; ".join(
        result.reason + (f": {result.output.strip()}" if result.output.strip() else "")
        for result in results
        if result.result is Result.FAILED
    )


def finish(parts: Parts, record: Record, commit: str) -> None:
    """The run is over and good: known-good moves, the journal goes."""
    store = parts.recorder.store
    store.move_ref(KNOWN_GOOD, commit, store.ref(KNOWN_GOOD))
    release(parts, record.job)
    parts.journal.remove()


def unfinished(error: SyncsrvError, reason: str, commit: str) -> Outcome:
    """It is applied, main says so and the services run with it; only that could not be noted."""
    return Outcome(
        "failed",
        f"{reason}; all of it is applied, but the end of the job could not be noted: {error.message}",
        f"{error.remedy or 'mend that'}; then restart syncsrv, which finishes it from its journal",
        commit=commit,
    )


def release(parts: Parts, job: str) -> None:
    """Nothing of the job is needed after a crash any more."""
    held = parts.recorder.store.ref(job_ref(job))
    if held is not None:
        parts.recorder.store.move_ref(job_ref(job), None, held)


def release_ended(parts: Parts) -> None:
    """At start: no job runs, so a ref of one is needed only by a journal that could not be undone or finished."""
    record = parts.journal.load()
    kept = job_ref(record.job) if record is not None else ""
    for ref, held in parts.recorder.store.refs(JOB_REFS).items():
        if ref != kept:
            parts.recorder.store.move_ref(ref, None, held)


def put_back(parts: Parts, record: Record, steps: Steps, error: SyncsrvError, *, written: bool) -> Outcome:
    """Files and services as they were before; the journal stays where even that fails.

    Args:
        parts: of this node.
        record: the journal's.
        steps: where it is told.
        error: what went wrong.
        written: whether live files have changed for sure; else it is told by what there is to put back.
    """
    recorder = parts.recorder
    why = error.message
    failed = ""
    try:
        with steps.step("put back") as step:
            if record.phase is not Phase.REVERTING and _commit_of(parts, record) is not None:
                record = parts.journal.advance(Phase.REVERTING)  # else a start would finish it, by what main says
            report = _restore_files(parts, record)
            step.say(_told(report))
            written = written or bool(report.restored)
            cluster = _cluster_in(parts, record.pre_image)
            if cluster != parts.cluster():
                parts.take_effect(cluster)
        if record.phase is Phase.REVERTING:
            failed = _restore_services(parts, record, cluster, steps)
        with steps.step("record what is live") as step:
            live = recorder.record(
                parts.areas(cluster), via=record.via, message=f"put back: {why.splitlines()[0]}"[:200]
            )
            step.say(f"{live.commit[:10]}" if live.commit else "main equals the disk")
            release(parts, record.job)
            parts.journal.remove()
    except SyncsrvError as worse:
        return Outcome(
            "failed",
            f"{why}; and not all could be put back: {worse.message}",
            f"{worse.remedy or 'mend that'}; then restart syncsrv, which tries again from its journal",
            put_back=written,
        )
    told = [why]
    if failed:
        told.append(f"the files were put back, but not all services: {failed}")
    elif written:
        told.append("everything was put back")
    if report.edited:
        told.append(_left(report))
    return Outcome("failed", "; ".join(told), error.remedy, put_back=written, commit=recorder.head())


def _restore_files(parts: Parts, record: Record) -> UndoReport:
    pre, wanted = parts.recorder.tree(record.pre_image), parts.recorder.store.read_tree(record.wanted)
    report = undo(parts.files, record.job, record.operations, pre, wanted)
    if report.failed:
        raise CannotApplyError(
            "cannot put everything back: " + listed(failed.message for failed in report.failed),
            report.failed[0].remedy,
        )
    return report


def _told(report: UndoReport) -> str:
    said = f"{counted(len(report.restored), 'path')} restored"
    return f"{said}; {_left(report)}" if report.edited else said


def _left(report: UndoReport) -> str:
    edited = listed(f"{show_path(one.path)} ({one.how})" for one in report.edited)
    return f"left as somebody changed them meanwhile: {edited}"


def _cluster_in(parts: Parts, commit: str) -> Cluster:
    """The configuration that a commit holds; the one in force where its text is none, and so never was in force."""
    entry: Entry | None = parts.recorder.tree(commit).get(CLUSTER_PATH)
    if entry is None:
        return parts.cluster()
    try:
        return parts.read_cluster(parts.recorder.store.blob(entry.blob))
    except ConfigurationError:
        return parts.cluster()


def _restore_services(parts: Parts, record: Record, cluster: Cluster, steps: Steps) -> str:
    before = [ServiceStatus(name, ServiceState(state)) for name, state in record.services_before.items()]
    touched: Mapping[str, OnChange] = {name: OnChange(wish) for name, wish in record.services.items()}
    if record.restart_all:
        touched = dict.fromkeys(record.services_before, OnChange.RESTART)
    failed = []
    try:
        _read_definitions(parts, record, cluster, steps)
    except DefinitionsError as error:
        failed.append(error.message)
    failed.append(_failures(parts.services(cluster).restore(before, touched, lambda result: _tell(steps, result))))
    return "; ".join(one for one in failed if one)


def recover(parts: Parts, steps: Steps) -> Outcome | None:
    """Undo or finish the run whose journal is on the disk.

    Raises:
        DamagedError, JournalFormatError: the journal cannot be read; nothing is touched.
    """
    record = parts.journal.load()
    if record is None:
        return None
    commit = _commit_of(parts, record)
    if record.phase is Phase.WRITING and commit is not None:
        record = parts.journal.advance(Phase.APPLIED)  # main had moved, and core ended before the journal said so
    if record.phase is not Phase.APPLIED or commit is None:
        crashed = CannotApplyError(
            f"cannot finish job {record.job}: core ended while it was {record.phase}", "synchronize again"
        )
        return put_back(parts, record, steps, crashed, written=record.phase is Phase.REVERTING)
    cluster = _cluster_in(parts, commit) if CLUSTER_AREA in record.areas else parts.cluster()
    failed = serve_changed(parts, record, cluster, steps)
    if failed:
        return put_back(parts, record, steps, CannotApplyError(failed, SERVICES), written=True)
    told = f"job {record.job} was finished after core had ended in the middle of it"
    try:
        with steps.step("known-good"):
            parts.remember_again(record, commit)
            finish(parts, record, commit)
    except SyncsrvError as error:
        return unfinished(error, told, commit)
    return Outcome("done", told, commit=commit)


def _commit_of(parts: Parts, record: Record) -> str | None:
    """The commit that the run made on main; what came after it, while the journal could not be removed, is not it."""
    head = parts.recorder.head()
    if head is None:
        return None
    for info in parts.recorder.store.first_parents(head):
        if info.id == record.main_expected:
            return None
        if info.tree == record.wanted and info.parents[:1] == (record.main_expected,):
            return info.id
    return None
