"""Services with ``run_on: carp-master``: started when this node begins to serve, stopped when it ceases to.

In ``after:`` order, each with its health, through service control, as a job with a receipt, whose origin is ``carp``.
At core's start they are made right once the state is known; while it is unknown nothing is started or stopped. The
engine's lock is waited for: what a sync has half written is no configuration to start with, and a sync stops by itself
when its node begins to serve. One that a person stops on the serving node stays stopped until the node begins to serve
again, or core is started anew. One that something else starts on a node that does not serve, such as systemd at boot
because its unit is enabled, is stopped: a peer runs it, and two of a kind are what the mark is there to prevent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from syncsrv.apply.order import Outcome
from syncsrv.apply.steps import Steps
from syncsrv.config.model import RunOn
from syncsrv.control.shapes import NodeResult
from syncsrv.core.jobs import Job, TooManyJobsError, about
from syncsrv.core.parts import Core
from syncsrv.core.receipts import noted
from syncsrv.errors import SyncsrvError
from syncsrv.plan.words import listed
from syncsrv.services.base import ActionResult, Result, ServiceState

log = logging.getLogger(__name__)

BY = "carp"
"""Who asked for it, as far as people are told."""
AGAIN_S = 5.0
"""After this a job that could not begin is tried again."""
FOLLOW_S = 0.5
STRAY_S = 60.0
"""A service that something else starts on a node that does not serve is stopped at once, then at most this often."""

AT_BOOT = ("enabled", "enabled-runtime")
"""systemd's words for a unit that it starts at boot."""


class SupersededError(SyncsrvError):
    """The node began or ceased to serve again while its services were made to follow."""

    code = "superseded"

    def __init__(self, serves: bool) -> None:
        super().__init__(
            f"cannot go on with these services: the node {'serves again' if serves else 'serves no more'}",
            "nothing is to be done: they follow in another job",
        )


@dataclass(frozen=True, slots=True)
class _Want:
    """How it shall be: whether the node serves, and which services follow."""

    serves: bool
    names: frozenset[str]


class Roles:
    """A thread that makes the services follow.

    Args:
        core: of this node.
        again_s: seconds after which a job that could not begin is tried again.
    """

    def __init__(self, core: Core, *, again_s: float = AGAIN_S) -> None:
        self._core = core
        self._again_s = again_s
        self._serves: bool | None = None
        self._why = ""
        self._done: _Want | None = None
        self._failed = ""
        self._stray_at: dict[str, float] = {}
        """When a service was last stopped because something else had started it (monotonic)."""
        self._stopping = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="carp-roles", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no job any more; the one that runs is core's to end. Also without a start."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def tell(self, serves: bool | None, why: str = "") -> None:
        """Whether this node serves, as is known now; call it also when the configuration has changed.

        Args:
            serves: None where that is not known, which changes nothing.
            why: it does, or does not, for people.
        """
        with self._news:
            if serves is not None and serves != self._serves:
                self._serves, self._why = serves, why
            self._news.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether services are still made to follow, once begun."""
        return self._thread.is_alive()

    @property
    def settled(self) -> bool:
        """Whether all follow that should; how well they run is another question."""
        with self._news:
            return self._done is not None and self._done == self._wanted()

    def troubles(self) -> tuple[str, ...]:
        """What an operator should know, a sentence each."""
        services = self._core.cluster.services
        said = [
            f"{one.name} follows the MASTER (run_on: carp-master), and {services[one.name].unit} is enabled: systemd "
            f"starts it at every boot, on a BACKUP too, where it runs until it is stopped again; "
            f"`systemctl disable {services[one.name].unit}`, syncsrv starts it where it belongs"
            for one in self._core.live.readings
            if one.enabled in AT_BOOT and one.name in services and services[one.name].run_on is RunOn.CARP_MASTER
        ]
        with self._news:
            return (*([self._failed] if self._failed else []), *said)

    def _wanted(self) -> _Want | None:
        services = self._core.cluster.services
        following = frozenset(name for name, one in services.items() if one.run_on is RunOn.CARP_MASTER)
        return None if self._serves is None else _Want(self._serves, following)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._stopping or self._wanted() != self._done or self._strays())
                want, why, strays = self._wanted(), self._why, self._strays()
                if self._stopping:
                    return
                self._stray_at |= dict.fromkeys(strays, self._core.clock.monotonic())
            if want is not None and strays:
                self._make(want, strays, f"{listed(sorted(strays))} ran here, started by something else")
            elif want is None or self._follow(want, why):
                with self._news:
                    self._done = want
            else:
                with self._news:
                    self._news.wait_for(lambda: self._stopping, self._again_s)

    def _strays(self) -> frozenset[str]:
        """Services that follow the MASTER and run, by the last reading, though this node does not serve."""
        if self._serves is not False or self._done is None or self._done != self._wanted():
            return frozenset()
        now = self._core.clock.monotonic()
        return frozenset(
            one.name
            for one in self._core.live.readings
            if one.name in self._done.names
            and one.state in (ServiceState.RUNNING, ServiceState.STARTING)
            and now - self._stray_at.get(one.name, -STRAY_S) >= STRAY_S
        )

    def _follow(self, want: _Want, why: str) -> bool:
        """Make them right, and wait for that; whether it came to an end, good or bad."""
        known = self._done
        same = known is not None and known.serves == want.serves
        if not same:
            with self._news:
                self._failed = ""
        return self._make(want, want.names - known.names if same and known is not None else want.names, why)

    def _make(self, want: _Want, names: frozenset[str], why: str) -> bool:
        """Make these right, and wait for that; whether it came to an end, good or bad."""
        core = self._core
        if core.stopping.is_set():
            return False
        if not core.services().astray(want.serves, names):
            return True
        now = "serves now" if want.serves else "does not serve now"
        try:
            job = core.jobs.start(
                "services start" if want.serves else "services stop",
                BY,
                core.node,
                partial(self._work, want, names),
                origin=BY,
                reason=f"{core.node} {now}" + (f": {why}" if why else ""),
                subject=about(core.node, sorted(names)),
            )
        except TooManyJobsError as error:
            log.error("the services that follow the MASTER have to wait: %s", error)
            return False
        while job.state == "running" and not self._stopping:
            job.follow(_NO_STEPS, FOLLOW_S)
        return True

    def _work(self, want: _Want, names: frozenset[str], job: Job) -> Mapping[str, NodeResult]:
        core = self._core
        steps = Steps(job.id, core.clock, lambda step: job.publish(core.node, step))
        job.on_abort.append(steps.abort)

        def check() -> None:
            if self._serves is not want.serves:
                raise SupersededError(bool(self._serves))
            steps.check_abort()

        def tell(result: ActionResult) -> None:
            said = result.reason + (f"\n{result.output}" if result.output else "")
            steps.add(f"{result.action} {result.name}", result.result.value, result.seconds, said)
            check()

        try:
            with core.recorder.lock:  # one at a time: an apply makes services load what it has written
                check()
                outcome = _outcome(core.services().follow(want.serves, sorted(names), tell))
        except SupersededError as error:
            outcome = Outcome("unchanged", error.message, error.remedy)
        except SyncsrvError as error:
            outcome = Outcome("failed", error.message, error.remedy)
        core.read_services()
        outcome = noted(core, job, job.kind, outcome, steps)
        with self._news:
            self._failed = f"services did not follow the CARP state: {outcome.reason}; {outcome.remedy}" * (
                outcome.result == "failed"
            )
        return {core.node: NodeResult(outcome.result, outcome.reason, outcome.remedy, steps=tuple(steps.done))}


_NO_STEPS = 1 << 60
"""Follow a job without its steps."""


def _outcome(results: list[ActionResult]) -> Outcome:
    failed = [result for result in results if result.result is Result.FAILED]
    if not failed:
        return Outcome("done", "")
    names = listed(result.name for result in failed)
    return Outcome(
        "failed",
        "; ".join(result.reason for result in failed),
        f"see its output and log, mend it, then `syncsrv services start {' '.join(one.name for one in failed)}`"
        if any(result.action == "start" for result in failed)
        else f"stop {names} by hand: a peer may run it too",
    )
