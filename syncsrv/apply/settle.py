"""How a run ends: finished, or put back; right away or, after a crash, at the next start.

Before main says ``applied`` everything is undone; from then on it is finished, unless the services do not come up:
then it is put back too, and main says that as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from syncsrv.apply.journal import Phase, Record
from syncsrv.apply.order import CannotApplyError, Outcome, Parts
from syncsrv.apply.steps import Steps
from syncsrv.apply.undo import undo
from syncsrv.config.model import Cluster, OnChange
from syncsrv.errors import SyncsrvError
from syncsrv.plan.areas import CLUSTER_AREA
from syncsrv.plan.tree import CLUSTER_PATH, Entry, show_path
from syncsrv.plan.words import counted, listed
from syncsrv.services.base import ActionResult, Result, ServiceState, ServiceStatus

KNOWN_GOOD = "refs/syncsrv/known-good"
JOB_REFS = "refs/syncsrv/job/"


def job_ref(job: str) -> str:
    """What holds the wanted tree of a run while a crash may need it."""
    return JOB_REFS + job


def serve_changed(parts: Parts, record: Record, cluster: Cluster, steps: Steps) -> str:
    """Make the services load what was applied, in order, each with its health; the failures as a sentence."""
    if record.restart_all:
        return restart_all(parts, cluster, steps)
    wishes = {name: OnChange(wish) for name, wish in record.services.items()}
    return _failures(parts.services(cluster).after_change(wishes, lambda result: _tell(steps, result)))


def restart_all(parts: Parts, cluster: Cluster, steps: Steps) -> str:
    """Restart all that runs or has failed; the failures as a sentence."""
    return _failures(parts.services(cluster).restart_all(lambda result: _tell(steps, result)))


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
    with store.writer():
        store.move_ref(KNOWN_GOOD, commit, store.ref(KNOWN_GOOD))
        _release(parts, record)
    parts.journal.remove()


def _release(parts: Parts, record: Record) -> None:
    held = parts.recorder.store.ref(job_ref(record.job))
    if held is not None:
        parts.recorder.store.move_ref(job_ref(record.job), None, held)


def put_back(parts: Parts, record: Record, steps: Steps, error: SyncsrvError, *, written: bool) -> Outcome:
    """Files and services as they were before; the journal stays where even that fails.

    Args:
        parts: of this node.
        record: the journal's.
        steps: where it is told.
        error: what went wrong.
        written: whether live files may have changed.
    """
    recorder = parts.recorder
    committed = record.phase is Phase.APPLIED
    why = error.message
    try:
        with steps.step("put back") as step:
            if committed:
                record = parts.journal.advance(Phase.REVERTING)
            step.say(_restore_files(parts, record))
            cluster = _cluster_of(parts, record)
            if committed and CLUSTER_AREA in record.areas:
                parts.take_effect(cluster)
        if record.phase is Phase.REVERTING:
            _restore_services(parts, record, cluster, steps)
        with steps.step("record what is live") as step:
            live = recorder.record(
                parts.areas(cluster), via=record.via, message=f"put back: {why.splitlines()[0]}"[:200]
            )
            step.say(f"{live.commit[:10]}" if live.commit else "main equals the disk")
            with recorder.store.writer():
                _release(parts, record)
            parts.journal.remove()
    except SyncsrvError as worse:
        return Outcome(
            "failed",
            f"{why}; and not all could be put back: {worse.message}",
            f"{worse.remedy or 'mend that'}; then restart syncsrv, which tries again from its journal",
            put_back=written,
        )
    told = f"{why}; everything was put back" if written else why
    return Outcome("failed", told, error.remedy, put_back=written, commit=recorder.head())


def _restore_files(parts: Parts, record: Record) -> str:
    pre, wanted = parts.recorder.tree(record.pre_image), parts.recorder.store.read_tree(record.wanted)
    report = undo(parts.files, record.job, record.operations, pre, wanted)
    if report.failed:
        raise CannotApplyError(
            "cannot put everything back: " + listed(failed.message for failed in report.failed),
            "mend the cause; the journal is kept, and the next start tries again",
        )
    said = f"{counted(len(report.restored), 'path')} restored"
    if report.edited:
        said += "; left as somebody changed them meanwhile: " + listed(
            f"{show_path(one.path)} ({one.how})" for one in report.edited
        )
    return said


def _cluster_of(parts: Parts, record: Record) -> Cluster:
    """The configuration that was in force before the run."""
    entry: Entry | None = parts.recorder.tree(record.pre_image).get(CLUSTER_PATH)
    if entry is None:
        return parts.cluster()
    return parts.read_cluster(parts.recorder.store.blob(entry.blob))


def _restore_services(parts: Parts, record: Record, cluster: Cluster, steps: Steps) -> None:
    before = [ServiceStatus(name, ServiceState(state)) for name, state in record.services_before.items()]
    touched: Mapping[str, OnChange] = {name: OnChange(wish) for name, wish in record.services.items()}
    if record.restart_all:
        touched = dict.fromkeys(record.services_before, OnChange.RESTART)
    parts.services(cluster).restore(before, touched, lambda result: _tell(steps, result))


def recover(parts: Parts, steps: Steps) -> Outcome | None:
    """Undo or finish the run whose journal is on the disk.

    Raises:
        DamagedError, JournalFormatError: the journal cannot be read; nothing is touched.
    """
    record = parts.journal.load()
    if record is None:
        return None
    recorder = parts.recorder
    head = recorder.head()
    if record.phase is not Phase.APPLIED and head is not None and head != record.main_expected:
        record = _committed_unseen(parts, record, head)
    if record.phase is not Phase.APPLIED:
        crashed = CannotApplyError(
            f"cannot finish job {record.job}: core ended while it was {record.phase}", "synchronize again"
        )
        return put_back(parts, record, steps, crashed, written=record.phase is not Phase.PREPARED)
    assert head is not None
    entry = recorder.tree(head).get(CLUSTER_PATH)
    cluster = parts.read_cluster(recorder.store.blob(entry.blob)) if entry is not None else parts.cluster()
    failed = serve_changed(parts, record, cluster, steps)
    if failed:
        return put_back(parts, record, steps, CannotApplyError(failed), written=True)
    with steps.step("known-good"):
        parts.remember_again(record, head)
        finish(parts, record, head)
    return Outcome("done", f"job {record.job} was finished after core had ended in the middle of it", commit=head)


def _committed_unseen(parts: Parts, record: Record, head: str) -> Record:
    """Main had moved to the wanted tree, and core ended before the journal said so."""
    if record.phase is Phase.WRITING and parts.recorder.store.read_commit(head).tree == record.wanted:
        return parts.journal.advance(Phase.APPLIED)
    return record
