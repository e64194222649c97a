"""Services of this node and of its peers: shown, started, stopped, restarted, reloaded. No configuration moves here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from syncsrv.apply.order import Outcome
from syncsrv.apply.steps import Steps
from syncsrv.control.codec import decode_reply
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import JobReply, JobStarted, NodeResult, Step
from syncsrv.control.shapes_services import ServicesReply, ServicesRequest
from syncsrv.core.facts import service_infos
from syncsrv.core.jobs import Job, about, click_of, result_of
from syncsrv.core.parts import Core
from syncsrv.core.receipts import noted
from syncsrv.errors import SyncsrvError, UsageError
from syncsrv.plan.words import listed
from syncsrv.services.base import Action, ActionResult, Result
from syncsrv.services.control import UnknownServiceError

ASK_S = 10.0
FOLLOW_S = 1.0
LOG = "log"
ACTIONS = ("start", "stop", "restart", "reload", "restart-all")


def services(core: Core, request: ServicesRequest, caller: Caller) -> ServicesReply:
    """The services of a node, read now; a peer is asked now. With the action ``log`` also the ends of logs.

    Raises:
        UsageError: an unknown node, or a service whose log is asked for.
    """
    if _elsewhere(core, request):
        body = {"action": request.action, "names": list(request.names)}
        reply = core.link.call(request.node, "services", body, deadline_s=ASK_S, person=caller.person)
        found = decode_reply("services", ServicesReply, reply)
        assert isinstance(found, ServicesReply)
        return found
    running = core.services()
    readings = running.with_logs(request.names) if request.action == LOG else running.statuses()
    return ServicesReply(core.node, service_infos(core, readings))


def act(core: Core, request: ServicesRequest, caller: Caller) -> Job:
    """Start a job that does it.

    Raises:
        UsageError: an unknown node, action or service.
    """
    if request.action not in ACTIONS:
        raise UsageError(f"cannot do {request.action!r} with services", f"it is one of {', '.join(ACTIONS)}")
    if request.action != "restart-all" and not request.names:
        raise UsageError(f"cannot {request.action} services: none is named", "name them, or use restart-all")
    kind = f"services {request.action}"
    if _elsewhere(core, request):
        return core.jobs.start(
            kind,
            caller.label,
            request.node,
            lambda job: _relay(core, request, caller, job),
            origin=caller.came_from,
            subject=about(request.node, request.names),
            click=click_of(caller, request),
        )
    for name in request.names:
        if name not in core.cluster.services:
            raise UnknownServiceError(name, core.cluster.services)
    return core.jobs.start(
        kind,
        caller.label,
        core.node,
        lambda job: _work(core, request, job),
        origin=caller.came_from,
        subject=about(core.node, request.names),
        click=click_of(caller, request),
    )


def _elsewhere(core: Core, request: ServicesRequest) -> bool:
    if request.node in {"", core.node}:
        return False
    peers = core.live.config.node.peers
    if request.node not in peers:
        if request.node in core.cluster.services:
            raise UsageError(
                f"cannot find node {request.node}: it is a service", f"say what to do: `services ACTION {request.node}`"
            )
        raise UsageError(
            f"cannot find node {request.node}: no such peer",
            f"the peers are {listed(peers) or 'none'}; the actions are status, {listed(ACTIONS)}",
        )
    return True


def _work(core: Core, request: ServicesRequest, job: Job) -> Mapping[str, NodeResult]:
    steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
    job.on_abort.append(steps.abort)

    def tell(result: ActionResult) -> None:
        said = result.reason + (f"\n{result.output}" if result.output else "")
        steps.add(f"{result.action} {result.name}", result.result.value, result.seconds, said)
        steps.check_abort()

    with core.recorder.lock:  # one at a time: an apply makes services load what it has written
        running = core.services()
        if request.action == "restart-all":
            results = running.restart_all(tell)
        else:
            results = running.act(Action(request.action), request.names, tell)
    core.read_services()
    failed = [result for result in results if result.result is Result.FAILED]
    reason = "; ".join(result.reason for result in failed)
    outcome = Outcome("failed" if failed else "done", reason, "see its output and log" if failed else "")
    outcome = noted(core, job, job.kind, outcome, steps)
    return {core.node: NodeResult(outcome.result, outcome.reason, outcome.remedy, steps=tuple(steps.done))}


def _relay(core: Core, request: ServicesRequest, caller: Caller, job: Job) -> Mapping[str, NodeResult]:
    """Let the peer do it, and pass its steps on; who asked for it is recorded on both."""
    steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
    try:
        results = _relayed(core, request, caller, job)
    except SyncsrvError as error:
        results = {request.node: NodeResult(result_of(error), error.message, error.remedy)}
    one = next(iter(results.values()))
    noted(core, job, job.kind, Outcome(one.result, one.reason, one.remedy), steps, nodes=results)
    return results


def _relayed(core: Core, request: ServicesRequest, caller: Caller, job: Job) -> Mapping[str, NodeResult]:
    body = {**asdict(request), "node": "", "names": list(request.names)}
    reply = core.link.call(request.node, "act", body, deadline_s=ASK_S, person=caller.person)
    started = decode_reply("act", JobStarted, reply)
    remote = {"job": started.job, "after": 0, "wait_s": 0.0}

    def abort(_by: str) -> None:
        core.link.call(request.node, "abort", remote, deadline_s=ASK_S, person=caller.person)

    job.on_abort.append(abort)
    seen = 0
    while True:
        asked = {"job": started.job, "after": seen, "wait_s": FOLLOW_S}
        found = decode_reply("job", JobReply, core.link.call(request.node, "job", asked, deadline_s=ASK_S))
        seen += len(found.steps)
        for _, step in found.steps:
            assert isinstance(step, Step)
            job.publish(request.node, step)
        if found.state != "running":
            core.book.refresh(request.node)
            return dict(found.nodes)
