"""At start: the run that an earlier core left is undone or finished, remembered under its own id, and recorded."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from syncsrv.apply.steps import Steps
from syncsrv.clock import rfc3339
from syncsrv.control.shapes import Step
from syncsrv.core.backup import QUARANTINE
from syncsrv.core.jobs import Job
from syncsrv.core.parts import Core
from syncsrv.core.receipts import noted
from syncsrv.plan.verdict import Last

log = logging.getLogger(__name__)


def recover(core: Core) -> None:
    """Bring the disk into a state that we know, before anybody can ask for anything.

    Raises:
        DamagedError, JournalFormatError: the journal cannot be read; nothing was touched.
    """
    record = core.engine.parts.journal.load()
    core.engine.parts.unproven(record is not None)
    steps = Steps(record.job if record is not None else "", core.clock, _tell)
    outcome = core.engine.recover(steps)
    core.engine.parts.unproven(core.engine.parts.journal.path.exists())
    if record is not None and outcome is not None:
        log.warning("after a crash: %s", outcome.reason)
        result = "rolled_back" if outcome.put_back else outcome.result
        last = Last(record.job, result, rfc3339(core.clock.utc()), outcome.reason, outcome.remedy)
        job = Job(record.job, record.kind, record.requested_by, rfc3339(record.started_utc))
        remember = partial(core.state.change, lambda now: replace(now, last=last))
        noted(core, job, record.kind, outcome, steps, remember, tag=record.tag)
    for ref, held in core.store.refs(QUARANTINE).items():  # what was fetched then was not believed yet
        core.store.move_ref(ref, None, held)


def _tell(step: Step) -> None:
    if step.result != "running":
        log.warning("after a crash: %s: %s %s", step.name, step.result, step.output)
