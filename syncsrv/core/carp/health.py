"""Whether this node is fit to serve: its services' ``health:``, as demotions, and the gate before it is ready.

Watched is each service that says ``health:`` and belongs on this node now: ``run_on: always``, and ``carp-master``
while the node serves. It is ill after ``fall`` bad answers in a row, well after ``rise`` good ones; no answer within
``timeout`` is a bad one, and so is that it does not run, whoever stopped it: an operator who stops a service that is
watched wants `syncsrv vip maintenance on` first. While one is ill the node is demoted by ``service:NAME``.

A service that follows the MASTER and was ill stays a reason after the node ceased to serve: nothing shows that it
would run now, and two nodes on which it fails would otherwise take over from each other for ever. It ends when the
service is well here again (a node that is demoted still serves where no other one does, or after a switchover of the
peer), or when its definition changes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from syncsrv.config.model import Health, RunOn, Service
from syncsrv.core.carp.standing import serves
from syncsrv.core.parts import Core
from syncsrv.errors import SyncsrvError
from syncsrv.services.base import HealthWord, ServiceState
from syncsrv.services.health import Probed, Watch

log = logging.getLogger(__name__)

WEIGHT = 240
"""Any peer that is well serves instead."""
PREFIX = "service:"

INTERVAL_S = 2.0
"""Between two looks at a service: three bad ones in a row, the usual ``fall``, are 4 s."""
FIRST_S = 0.5
"""The same while it is not known how it is: a start should not wait for that."""
TICK_S = 0.25
WORKERS = 16

_REMEDY = "mend it: the demotion ends when it is well"
_RETRY = "mend it: it is tried when this node serves again, such as after `syncsrv vip switchover` on its peer"

_DOWN = (ServiceState.STOPPED, ServiceState.FAILED, ServiceState.MASKED, ServiceState.MISSING)


@dataclass(frozen=True, slots=True)
class Case:
    """One watched service.

    Attributes:
        service: as configured.
        watch: how its answers were.
        why: what was wrong with the last bad one.
        due_at: when it is asked next, monotonic seconds.
    """

    service: Service
    watch: Watch
    due_at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Vitals:
    """How all of them are. Pure.

    Attributes:
        cases: those that are watched now, by name.
        ill: those for which the node is demoted, with the reason; some are not watched now.
        known: the definition under which each of them became ill, where this core saw that.
    """

    cases: Mapping[str, Case] = field(default_factory=dict)
    ill: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Service] = field(default_factory=dict)

    def watching(self, services: Mapping[str, Service], carp_master: bool, now: float) -> Vitals:
        """With what is configured, and where the node serves what follows that; a changed service begins anew."""
        cases = {
            name: self.cases[name] if name in self.cases and self.cases[name].service == one else _case(one, now)
            for name, one in services.items()
            if _is_watched(one, carp_master)
        }
        ill = {
            name: why
            for name, why in self.ill.items()
            if name in services
            and _may_be_ill(services[name])
            and self.known.get(name, services[name]) == services[name]
        }
        return Vitals(cases, ill, {name: services[name] for name in ill})

    def seen(self, name: str, found: Probed, now: float) -> Vitals:
        """With one more answer; of one that is not watched any more it counts for nothing."""
        case = self.cases.get(name)
        if case is None:
            return self
        watch = case.watch.seen(found.ok)
        pause_s = FIRST_S if watch.word is HealthWord.UNKNOWN else INTERVAL_S
        case = replace(case, watch=watch, due_at=now + pause_s, why="" if found.ok else found.reason)
        ill = dict(self.ill)
        if watch.word is HealthWord.OK:
            ill.pop(name, None)
        elif watch.word is HealthWord.FAILING and (name not in ill or case.why):
            ill[name] = case.why
        return Vitals({**self.cases, name: case}, ill, {**self.known, name: case.service})

    def later(self, name: str, now: float) -> Vitals:
        """The same, and this one is asked again later: its last answer did not count."""
        if name not in self.cases:
            return self
        case = replace(self.cases[name], due_at=now + FIRST_S)
        return replace(self, cases={**self.cases, name: case})

    @property
    def ready(self) -> bool:
        """Whether all that run always are well; what follows the MASTER is only started then."""
        return all(
            case.watch.word is HealthWord.OK for case in self.cases.values() if case.service.run_on is RunOn.ALWAYS
        )

    def due(self, now: float) -> list[str]:
        """Which are to be asked."""
        return [name for name, case in self.cases.items() if case.due_at <= now]


def _case(service: Service, now: float) -> Case:
    assert service.health is not None
    return Case(service, Watch(service.health.rise, service.health.fall), now)


def _may_be_ill(service: Service) -> bool:
    return service.health is not None and service.run_on is not RunOn.NEVER


def _is_watched(service: Service, carp_master: bool) -> bool:
    return _may_be_ill(service) and (service.run_on is RunOn.ALWAYS or carp_master)


class Monitor:
    """A thread that watches, demotes and opens the gate; it does nothing while no VIPs are configured.

    Args:
        core: of this node.
        ask: one look at a service; see ``asked``.
        settled: whether the services that follow the MASTER have been started: before that a bad answer of one of
            them counts for nothing.
        tick_s: seconds between two rounds.
    """

    def __init__(
        self,
        core: Core,
        ask: Callable[[str, Health], Probed],
        settled: Callable[[], bool],
        *,
        tick_s: float = TICK_S,
    ) -> None:
        self._core = core
        self._ask = ask
        self._settled = settled
        self._tick_s = tick_s
        self._pool = ThreadPoolExecutor(WORKERS, "health")
        self._asked: dict[str, Future[Probed]] = {}
        self._serves = False
        self._told_ready = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carp-health", daemon=True)
        ordered = core.carp.intent.demotions
        self._vitals = Vitals(
            ill={name.removeprefix(PREFIX): "it was so before" for name in ordered if name.startswith(PREFIX)}
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a look that is under way ends by its own deadline, and nobody waits for it. Also without a start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def is_alive(self) -> bool:
        """Whether it still watches, once begun."""
        return self._thread.is_alive()

    def troubles(self) -> tuple[str, ...]:
        """What an operator should know, a sentence each."""
        vitals = self._vitals
        return tuple(
            f"this node is demoted, for service {name} is ill: {why}; {_REMEDY if name in vitals.cases else _RETRY}"
            for name, why in sorted(vitals.ill.items())
        )

    def _run(self) -> None:
        while not self._stopping.wait(self._tick_s):
            self._round()

    def _round(self) -> None:
        core, now = self._core, self._core.clock.monotonic()
        if not core.cluster.vips:
            self._vitals, self._told_ready = Vitals(), False
            self._demote()
            return
        known = serves(core.carp.reading.now)
        self._serves = self._serves if known is None else known
        self._vitals = self._vitals.watching(core.cluster.services, self._serves, now)
        self._collect(now)
        for name in self._vitals.due(now):
            if name not in self._asked:
                health = self._vitals.cases[name].service.health
                assert health is not None
                self._asked[name] = self._pool.submit(self._ask, name, health)
        self._demote()
        if self._vitals.ready and not self._told_ready:
            self._told_ready = True
            core.carp.tell_ready(True)
            log.info("this node is ready to serve: all its services are well")

    def _collect(self, now: float) -> None:
        for name, future in list(self._asked.items()):
            if not future.done():
                continue
            del self._asked[name]
            found = _answer(future)
            case = self._vitals.cases.get(name)
            follows = case is not None and case.service.run_on is RunOn.CARP_MASTER
            if follows and not found.ok and not self._settled():
                self._vitals = self._vitals.later(name, now)
                continue
            was = self._vitals.ill
            self._vitals = self._vitals.seen(name, found, now)
            if (name in was) != (name in self._vitals.ill):
                if name in was:
                    log.warning("service %s is well again", name)
                else:
                    log.error("service %s is ill: %s", name, found.reason)

    def _demote(self) -> None:
        """Make the demotions those of the vitals; what cannot be written is tried again in the next round."""
        wanted = {PREFIX + name for name in self._vitals.ill}
        ordered = {name for name in self._core.carp.intent.demotions if name.startswith(PREFIX)}
        for name in sorted(wanted ^ ordered):
            try:
                self._core.carp.set_demotion(name, WEIGHT if name in wanted else None)
            except SyncsrvError as error:
                log.error("the demotion %s could not be %s: %s", name, "given" if name in wanted else "taken", error)


def _answer(future: Future[Probed]) -> Probed:
    """What a look found; a bug in it is a bad answer, and must not end the looking."""
    bug = future.exception()
    if bug is None:
        return future.result()
    log.error("a look at a service failed by a bug", exc_info=bug)
    return Probed(False, "it could not be asked, by a bug in syncsrv: see core's log")


def asked(core: Core) -> Callable[[str, Health], Probed]:
    """How a service is asked: its manager whether it runs, then its health check.

    What its manager cannot tell (it is away, it is starting the service) the health check alone says.
    """

    def ask(name: str, health: Health) -> Probed:
        cluster = core.cluster
        if name not in cluster.services:
            return Probed(False, "it is not configured any more")
        services = core.engine.parts.services(cluster)
        status = services.state(name)
        if status.state in _DOWN:
            return Probed(False, f"it is {status.state}" + (f": {status.reason}" if status.reason else ""))
        return services.ask(name, health)

    return ask
