"""What was done to this node, by whom and how it went: one signed record an action, each the parent of the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from syncsrv.apply.order import Outcome
from syncsrv.apply.steps import Steps
from syncsrv.clock import rfc3339
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import NodeResult, Step
from syncsrv.core.jobs import Job
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import show_path
from syncsrv.store.receipts import append_receipt

log = logging.getLogger(__name__)

PATHS_KEPT = 1000
OUTPUT_KEPT = 64 * 1024
"""Characters of a step's output, from both ends."""


def receipt(
    core: Core,
    job: Job,
    kind: str,
    outcome: Outcome,
    steps: Steps,
    *,
    tag: str | None = None,
    nodes: Mapping[str, NodeResult] | None = None,
) -> None:
    """Append the record of one run to refs/syncsrv/audit; ``nodes``: what became of each, where others did the work."""
    result = "put back" if outcome.put_back else outcome.result
    body = {
        "job": job.id,
        "kind": kind,
        "tag": tag,
        "requested_by": job.requested_by,
        "origin": job.origin,
        "at": job.at,
        "result": result,
        "reason": outcome.reason,
        "guards": list(outcome.guards),
        "commit": outcome.commit,
        "paths": [show_path(change.path) for change in outcome.changes[:PATHS_KEPT]],
        "steps": [_step(step) for step in steps.done],
        "why": job.reason,
        "about": job.subject,
        "remedy": outcome.remedy,
        "nodes": {name: _node(one) for name, one in (nodes or {}).items()},
    }
    subject = f"{kind} {tag or job.id}: {result}"
    with core.store.writer():
        append_receipt(core.store, core.signer, body, subject, core.clock.utc(), core.node)


def _step(step: Step) -> dict[str, object]:
    output = step.output
    if len(output) > OUTPUT_KEPT:
        output = f"{output[: OUTPUT_KEPT // 2]}\n[...]\n{output[-OUTPUT_KEPT // 2 :]}"
    return asdict(replace(step, output=output))


def _node(result: NodeResult) -> dict[str, object]:
    return {**asdict(result), "steps": [_step(step) for step in result.steps]}


def act_receipt(core: Core, caller: Caller, kind: str, what: str, *, result: str = "done", why: str = "") -> None:
    """Append the record of something that is done at once, such as a change of users.

    Args:
        core: of this node.
        caller: who asked.
        kind: the verb.
        what: in a sentence; never a password, a hash or a token.
        result: done or failed.
        why: what the person said about it.

    Raises:
        UnrecordedError: it is done, and no record of it could be written.
    """
    body = {
        "kind": kind,
        "requested_by": caller.label,
        "origin": caller.came_from,
        "at": rfc3339(core.clock.utc()),
        "result": result,
        "reason": what,
        "why": why,
    }
    try:
        append_receipt(core.store, core.signer, body, f"{kind}: {what}", core.clock.utc(), core.node)
    except SyncsrvError as error:
        log.error("%s of %s is done and not recorded: %s", kind, caller.label, error)
        raise UnrecordedError(what, error) from error


class UnrecordedError(SyncsrvError):
    """Something was done, and its record could not be written."""

    code = "unrecorded"

    def __init__(self, what: str, error: SyncsrvError) -> None:
        super().__init__(f"cannot record this, though it is done: {what}: {error.message}", error.remedy)


def noted(
    core: Core,
    job: Job,
    kind: str,
    outcome: Outcome,
    steps: Steps,
    remember: Callable[[], object] = lambda: None,
    *,
    tag: str | None = None,
    nodes: Mapping[str, NodeResult] | None = None,
) -> Outcome:
    """Remember how a run ended, and append its record; where neither can be written, the outcome stands and says so.

    Args:
        core: of this node.
        job: the run's.
        kind: sync, rollback, services.
        outcome: how it ended.
        steps: of it.
        remember: keeps what status shows of it.
        tag: that it was about.
        nodes: what became of each node, where others did the work.
    """
    try:
        remember()
        receipt(core, job, kind, outcome, steps, tag=tag, nodes=nodes)
    except SyncsrvError as error:
        log.error("job %s: %s", job.id, error)
        steps.add("receipt", "warning", output=str(error))
        told = f"{outcome.reason}; and it is not recorded: {error.message}"
        return replace(outcome, reason=told, remedy=outcome.remedy or error.remedy)
    return outcome
