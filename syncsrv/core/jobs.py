"""Long work: started at once, followed step by step, aborted on request, kept for a while.

A job never holds up the request that started it. Its top is one of the three places that catch everything: what a
bug raises there is logged with its traceback, and the job ends as failed instead of vanishing.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from syncsrv.clock import Clock, rfc3339
from syncsrv.control.dispatch import Caller
from syncsrv.control.shapes import JobInfo, JobReply, NodeResult, Step
from syncsrv.control.verbs import Door
from syncsrv.errors import RefusedError, SyncsrvError, UnreachableError, UsageError

log = logging.getLogger(__name__)

_RESULTS = {UnreachableError.exit_status: "unreachable", RefusedError.exit_status: "refused"}

KEPT = 200
"""Jobs remembered; the receipts keep all."""

RUNNING = 50
"""Jobs that may run at once; each holds a thread, and most wait for the one that changes the node."""

TWICE_S = 2.0
"""The same click again within this time is one click."""


class UnknownJobError(UsageError):
    """No job of that id is remembered."""

    code = "unknown-job"

    def __init__(self, job: str) -> None:
        super().__init__(f"cannot show job {job}: this core does not know it", "`syncsrv status` lists the recent ones")


class TooManyJobsError(SyncsrvError):
    """So many jobs run that another one would only wait."""

    code = "busy"

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"cannot begin {kind}: {RUNNING} jobs are running already",
            "wait until one has ended, or abort one; `syncsrv status` lists them",
        )


def result_of(error: SyncsrvError) -> str:
    """How a node's part of a job ended that ended with this error."""
    return _RESULTS.get(error.exit_status, "failed")


@dataclass(slots=True)
class Job:
    """One job; its worker publishes into it, any number of readers follow.

    Attributes:
        id: starts with the UTC time, so that ids sort by age.
        kind: sync, pull, rollback or services.
        requested_by: the person, with ``via NODE`` where another node asked.
        at: when it was asked for, as text.
        tag: the tag it is about, as soon as it is known.
        origin: from where it was asked for: an address, or the way (cli, ssh, peer).
        reason: what the person gave as one.
        subject: what it is about, in a few words.
        click: the click that began it; None where it was none.
        began_at: monotonic.
    """

    id: str
    kind: str
    requested_by: str
    at: str
    tag: str | None = None
    origin: str = ""
    reason: str = ""
    subject: str = ""
    click: object = None
    began_at: float = 0.0
    state: str = "running"
    ended_at: str = ""
    nodes: Mapping[str, NodeResult] = field(default_factory=dict)
    on_abort: list[Callable[[str], None]] = field(default_factory=list)
    _steps: list[tuple[str, Step]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def publish(self, node: str, step: Step) -> None:
        with self._changed:
            self._steps.append((node, step))
            self._changed.notify_all()

    def end(self, nodes: Mapping[str, NodeResult], at: str) -> None:
        with self._changed:
            self.nodes = nodes
            self.ended_at = at
            self.state = "done"
            self._changed.notify_all()

    def follow(self, after: int, wait_s: float) -> JobReply:
        """The steps after the first ``after``; waits for news up to ``wait_s`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.state != "running" or len(self._steps) > after, timeout=wait_s)
            return JobReply(
                job=self.id,
                kind=self.kind,
                state=self.state,
                steps=tuple(self._steps[after:]),
                tag=self.tag,
                nodes=self.nodes,
                requested_by=self.requested_by,
                at=self.at,
                origin=self.origin,
                reason=self.reason,
                subject=self.subject,
                ended_at=self.ended_at,
            )

    def info(self) -> JobInfo:
        with self._changed:
            results = {node: one.result for node, one in self.nodes.items()}
            return JobInfo(
                job=self.id,
                kind=self.kind,
                state=self.state,
                requested_by=self.requested_by,
                at=self.at,
                origin=self.origin,
                tag=self.tag,
                subject=self.subject,
                results=results,
            )


class Jobs:
    """All jobs of this core."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(
        self,
        kind: str,
        requested_by: str,
        node: str,
        work: Callable[[Job], Mapping[str, NodeResult]],
        *,
        origin: str = "",
        reason: str = "",
        subject: str = "",
        click: object = None,
    ) -> Job:
        """Begin ``work`` in a thread of its own.

        Args:
            kind: what it is.
            requested_by: who asked.
            node: under whose name a failure of the work itself is shown.
            work: does it and returns the result per node.
            origin: from where it was asked for.
            reason: what the person gave as one.
            subject: what it is about.
            click: see ``click_of``; the same one twice is answered with the job that it began.

        Raises:
            TooManyJobsError: ``RUNNING`` jobs run.
        """
        now, began_at = self._clock.utc(), self._clock.monotonic()
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        job = Job(name, kind, requested_by, rfc3339(now), origin=origin, reason=reason, subject=subject)
        job.click, job.began_at = click, began_at
        with self._lock:
            if click is not None and (first := self._begun_by(click, began_at)) is not None:
                return first
            if sum(one.state == "running" for one in self._jobs.values()) >= RUNNING:
                raise TooManyJobsError(kind)
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT and next(iter(self._jobs.values())).state != "running":
                self._jobs.popitem(last=False)
            thread = threading.Thread(target=self._run, args=(job, node, work), name=f"job-{job.id}", daemon=True)
            self._threads[job.id] = thread
        thread.start()
        return job

    def _begun_by(self, click: object, now: float) -> Job | None:
        """Only the newest job: a click after another one, such as start, stop, start, is a click of its own."""
        newest = next(reversed(self._jobs.values()), None)
        return newest if newest and newest.click == click and now - newest.began_at < TWICE_S else None

    def _run(self, job: Job, node: str, work: Callable[[Job], Mapping[str, NodeResult]]) -> None:
        try:
            nodes = work(job)
        except SyncsrvError as error:
            nodes = {node: NodeResult(result_of(error), error.message, error.remedy)}
        except Exception:  # the top of the job loop: a bug must end the job, not hide it
            log.exception("job %s (%s) failed by a bug", job.id, job.kind)
            nodes = {node: NodeResult("failed", "cannot go on: a bug in syncsrv", f"see core's log for job {job.id}")}
        job.end(nodes, rfc3339(self._clock.utc()))
        with self._lock:
            self._threads.pop(job.id, None)

    def get(self, job: str) -> Job:
        with self._lock:
            found = self._jobs.get(job)
        if found is None:
            raise UnknownJobError(job)
        return found

    def abort(self, job: str, by: str) -> Job:
        """Ask a job to stop before its next step.

        Raises:
            UnknownJobError: there is none.
            SyncsrvError: a node that works for it could not be asked; the others were.
        """
        found = self.get(job)
        failed: SyncsrvError | None = None
        for ask in list(found.on_abort):
            try:
                ask(by)
            except SyncsrvError as error:
                failed = error
        if failed is not None:
            raise failed
        return found

    def running(self) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if job.state == "running"]

    def recent(self, count: int = 20) -> list[Job]:
        """The newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))[:count]

    def join(self, deadline_s: float) -> bool:
        """Wait for all running jobs; False when the deadline came first."""
        ends_at = self._clock.monotonic() + deadline_s
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, ends_at - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def about(what: str, parts: Collection[str] = (), *, dry_run: bool = False) -> str:
    """A job's subject: ``fw2: nginx, vpn (dry run)``."""
    return what + (f": {', '.join(parts)}" if parts else "") + (" (dry run)" if dry_run else "")


def click_of(caller: Caller, request: object) -> object:
    """What two clicks on one button of the page have in common; None where a person typed a command."""
    return (caller.person, caller.origin, request) if caller.door is Door.WEB else None
