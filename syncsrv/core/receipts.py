"""What was done to this node, by whom and how it went: one signed record an action, each the parent of the next."""

from __future__ import annotations

from dataclasses import asdict

from syncsrv.apply.order import Outcome
from syncsrv.apply.steps import Steps
from syncsrv.core.jobs import Job
from syncsrv.core.parts import Core
from syncsrv.plan.tree import show_path
from syncsrv.store.receipts import append_receipt

PATHS_KEPT = 1000


def receipt(core: Core, job: Job, kind: str, outcome: Outcome, steps: Steps, *, tag: str | None = None) -> None:
    """Append the record of one run to refs/syncsrv/audit."""
    result = "put back" if outcome.put_back else outcome.result
    body = {
        "job": job.id,
        "kind": kind,
        "tag": tag,
        "requested_by": job.requested_by,
        "at": job.at,
        "result": result,
        "reason": outcome.reason,
        "guards": list(outcome.guards),
        "commit": outcome.commit,
        "paths": [show_path(change.path) for change in outcome.changes[:PATHS_KEPT]],
        "steps": [asdict(step) for step in steps.done],
    }
    subject = f"{kind} {tag or job.id}: {result}"
    with core.store.writer():
        append_receipt(core.store, core.signer, body, subject, core.clock.utc(), core.node)
