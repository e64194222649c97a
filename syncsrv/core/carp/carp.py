"""Everything that core has to do with the process carp, joined: configuration, orders, reports.

A file is on the disk before the process is told of it; so a process that is away, or is started again, works with the
same. What cannot be written or is refused is kept as a problem, which status shows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from syncsrv.carp.sets import Moment, Sets
from syncsrv.clock import Clock, booted_s
from syncsrv.config.load import Configuration
from syncsrv.control.shapes_failover import Demotion, FailoverInfo, VipInfo
from syncsrv.control.shapes_statesync import StateSync
from syncsrv.core.carp import statetable, told
from syncsrv.core.carp.configure import ConfigFile, addresses_only, digests, settings_of
from syncsrv.core.carp.intents import IntentFile
from syncsrv.core.carp.link import SILENT_S, Link, Reading, is_absent
from syncsrv.core.carp.sets import SetsFile
from syncsrv.core.carp.statelinks import Choice, StateLinks
from syncsrv.errors import SyncsrvError
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.intent import Intent
from syncsrv.failover.messages import Apply, PeerServes, Report
from syncsrv.failover.orders import is_built_in, with_demotion
from syncsrv.failover.settings import Settings
from syncsrv.failover.statesync import state as keeper

log = logging.getLogger(__name__)

SOURCES_MOST = 256
"""Addresses of one peer: what it says ends up in the locked memory of the process carp."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the process carp said to an order.

    Attributes:
        report: how it is after the order; None where it did not take it.
        why: why not; empty where it took it.
        absent: no such process runs: nothing is held, and it reads the order when it starts.
    """

    report: Report | None = None
    why: str = ""
    absent: bool = False


class Carp:
    """One for each core.

    Args:
        config: the configuration in force.
        clock: the machine's.
    """

    def __init__(self, config: Callable[[], Configuration], clock: Clock) -> None:
        node = config().node
        self._config = config
        self._clock = clock
        self._run_dir: Path = node.run_dir
        self._lock = threading.RLock()
        self._file = ConfigFile(node.state_dir)
        self._intents = IntentFile(node.state_dir)
        self._own_peers: dict[str, tuple[str, ...]] = (
            dict(self._file.before.own_peers) if self._file.before is not None else {}
        )
        self._sets = SetsFile(node.state_dir, self._file.before, clock)
        self._links = StateLinks(config, self._file.before.state_sync if self._file.before is not None else None)
        self._choice = Choice()
        self._settings = self._build()
        self._unwritten = ""
        self._refused = ""
        self._untold = False
        """Whether an order is on the disk that no process carp has taken yet."""
        self._told_at: tuple[int, int] | None = None
        """Process and number of the first report that knows of the last order."""
        self._ready: bool | None = None
        self._listeners: list[Callable[[Reading, Reading], None]] = []
        self.troubles: list[Callable[[], tuple[str, ...]]] = []
        """Who else knows what an operator should of failover: each gives sentences, and waits for nobody."""
        self._link = Link(node.run_dir, clock, lambda: bool(self._settings.vips), self._heard, self._news)
        self.acting = threading.Lock()
        """Held by an operator's action until its outcome is known."""

    # -- life

    def start(self) -> None:
        """Write what is configured, tell the process carp where it runs, and listen to it."""
        self.put_in_force()
        self._link.start()

    def stop(self) -> None:
        """Listen no more; the process carp goes on."""
        self._link.stop()

    def listen(self, listener: Callable[[Reading, Reading], None]) -> None:
        """Have each other reading told, with the one before it, in the thread that listens; it must not wait."""
        self._listeners.append(listener)

    @contextmanager
    def listening(self, listener: Callable[[Reading, Reading], None]) -> Iterator[None]:
        """The same for a while."""
        self.listen(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    # -- configuration

    @property
    def settings(self) -> Settings:
        """What is configured."""
        return self._settings

    def put_in_force(self) -> None:
        """Let the configuration that is in force reach the process carp; what fails is a problem that status shows."""
        with self._lock:
            settings = self._settings = self._build()
            try:
                self._sets.save()
                written = self._file.put(settings)
                self._unwritten = ""
            except SyncsrvError as error:
                self._unwritten = f"failover goes on with the earlier configuration: {error}"
                log.error("%s", self._unwritten)
                return
            if written or self._refused or not settings.vips:  # nobody listens to a process that should end
                self._tell(Apply(settings=settings))
        self._link.look()

    def _build(self) -> Settings:
        config = self._config()
        peers = {name: found for name, found in self._own_peers.items() if name in config.node.peers}
        self._choice = self._links.now()
        settings = replace(settings_of(config, peers), state_sync=self._choice.state_sync)
        return self._sets.dressed(settings)

    def follow_devices(self) -> None:
        """Put in force what follows from other addresses of this node; nothing where it is what is in force."""
        with self._lock:
            if self._links.now() != self._choice:
                self.put_in_force()

    @property
    def wire_sets(self) -> Sets:
        """The sets of addresses and password that sign, or are accepted."""
        return self._sets.now

    def change_sets(self, change: Callable[[Sets, Moment], Sets]) -> None:
        """Sign with other sets, or accept others; ``settled`` says whether the process carp does already."""
        with self._lock:
            if self._sets.change(lambda now: change(now, self._sets.at())):
                self.put_in_force()

    def settled(self, deadline_s: float = 0.0) -> str:
        """Why the process carp does not work with what is configured, after so many seconds; empty where it does.

        One that does not run accepts nothing and sends nothing, and reads all of it when it starts.
        """

        def does(reading: Reading) -> bool:
            return reading.absent or (reading.now is not None and reading.now.settings_digest == self._settings.digest)

        if not self._settings.vips:
            return ""
        if self._unwritten or self._refused:
            return self._unwritten or self._refused
        reading = self._link.wait(does, deadline_s) if deadline_s else self._reading()
        if does(reading):
            return ""
        return reading.why or "the carp process does not work with the configuration in force yet"

    def peer_told(self, peer: str, sources: Mapping[str, tuple[str, ...]]) -> None:
        """A peer's own addresses, as it said over SSH: from there its advertisements come.

        A peer whose process carp is away names none, and keeps those that it had.
        """
        found = addresses_only(islice((one for each in sources.values() for one in each), SOURCES_MOST))
        with self._lock:
            if found and self._own_peers.get(peer) != found:
                self._own_peers[peer] = found
                self.put_in_force()

    def sets(self) -> dict[str, str]:
        """VIP (``1@lan``) to a digest of its addresses and password, for peers to compare."""
        return digests(self._settings)

    # -- orders

    @property
    def intent(self) -> Intent:
        """What is ordered."""
        return self._intents.now

    def order(self, change: Callable[[Intent], Intent]) -> Told:
        """Order something else: on the disk first, then by the process carp.

        Raises:
            NoSpaceError, UnwritableError: nothing has changed.
        """
        with self._lock:
            self._intents.put(change(self._intents.now))
            return self._tell(Apply(intent=self._intents.now))

    def set_demotion(self, name: str, weight: int | None) -> Told:
        """Demote this node for a reason of core's, or take that back with None; it outlives restarts.

        Args:
            name: reserved in ``failover.orders``, or with a colon; never one of the process carp's own.
            weight: 1 to 240, in units of advskew.

        Raises:
            NoSpaceError, UnwritableError: nothing has changed.
        """
        if is_built_in(name):
            raise ValueError(f"{name} is a reason of the process carp itself")
        return self.order(lambda intent: with_demotion(intent, name, weight))

    def tell_ready(self, ready: bool) -> Told:
        """Whether this node is ready to serve, for as long as this core runs."""
        with self._lock:
            self._ready = ready
            return self._tell(Apply(ready=ready))

    def peer_serves(self, said: PeerServes) -> None:
        """Have the process carp know what a peer says that it does not hear; a failure is in the log only."""
        try:
            with Client(self._run_dir) as client:
                client.apply(said)
        except SyncsrvError as error:
            log.info("%s is not told that %s serves vhid %d: %s", said.device, said.peer, said.vhid, error.message)

    def _tell(self, order: Apply) -> Told:
        self._untold = self._untold or order.intent is not None
        try:
            with Client(self._run_dir) as client:
                client.apply(order)
                report = client.report()
        except CarpAwayError as error:
            why = str(error) if self._settings.vips else "no virtual addresses are configured"
            return Told(why=why, absent=is_absent(error))
        except SyncsrvError as error:
            self._refused = f"the carp process did not take what it was told: {error}"
            log.error("%s", self._refused)
            return Told(why=self._refused)
        self._refused = ""
        if order.intent is not None:
            self._untold, self._told_at = False, (report.pid, report.seq)
        return Told(report)

    def _heard(self, report: Report, first: bool) -> None:
        """In the thread of the link: what the process carp ended by itself ends here too; a new one is told all."""
        with self._lock:
            intent = self._intents.now
            self._untold = self._untold and not _echoes(report, intent)
            if intent.switchover and not report.switchover and _had_its_switchover(report) and self._knows(report):
                self._forget_switchover()
            if first:
                self._catch_up(report)

    def _knows(self, report: Report) -> bool:
        """Whether a report is of a process that had the last order; it may have been on its way before that."""
        if self._untold:
            return False
        return self._told_at is None or report.pid != self._told_at[0] or report.seq >= self._told_at[1]

    def _forget_switchover(self) -> None:
        """The process carp is told too, or it would take the next switchover for the one that it had."""
        try:
            self.order(lambda intent: replace(intent, switchover=False))
        except SyncsrvError as error:
            log.error("the switchover is over, and that could not be written: %s", error)

    def _catch_up(self, report: Report) -> None:
        intent = None if self._intents.problem or _echoes(report, self._intents.now) else self._intents.now
        settings = None if report.settings_digest == self._settings.digest else self._settings
        ready = self._ready if self._ready != report.ready else None
        if (intent, settings, ready) != (None, None, None):
            self._tell(Apply(settings, intent, ready))

    # -- what is known

    def _reading(self) -> Reading:
        """The last one; where none came for too long it does not hold any more, whoever is to blame."""
        reading = self._link.reading
        if reading.at is not None and not reading.why and self._clock.monotonic() - reading.at > 2 * SILENT_S:
            return replace(reading, why="the carp process was not heard for too long", remedy="see the log of core")
        return reading

    @property
    def reading(self) -> Reading:
        """What is known of the process carp."""
        return self._reading()

    def wait(self, wanted: Callable[[Reading], bool], deadline_s: float) -> Reading:
        """The first reading that ``wanted`` takes, or the last one after ``deadline_s`` seconds."""
        return self._link.wait(wanted, deadline_s)

    def _news(self, was: Reading, now: Reading) -> None:
        for listener in tuple(self._listeners):
            listener(was, now)

    def nodes(self) -> dict[str, str]:
        """Source address to the name of the own peer that it belongs to."""
        return {source: name for name, sources in self._settings.own_peers.items() for source in sources}

    def vips(self) -> tuple[VipInfo, ...]:
        """For status and facts."""
        return told.vips(self._settings, self._reading(), self.nodes(), self._clock.monotonic())

    def demotion(self) -> Demotion:
        """For status and facts."""
        return told.demotion(self._reading(), self.intent, configured=bool(self._settings.vips))

    def info(self) -> FailoverInfo:
        """For status and facts."""
        reading = self._reading()
        problems = [self._unwritten, self._refused, self._intents.problem]
        if reading.now is not None and reading.now.settings_digest != self._settings.digest and not any(problems):
            problems.append(
                "the carp process does not work with the configuration in force yet; see its log if it stays"
            )
        said = (*(one for one in problems if one), *(one for troubles in self.troubles for one in troubles()))
        return told.info(self._settings, reading, self.intent, said, self._clock.monotonic())

    def state_sync(self) -> StateSync:
        """For status and facts."""
        found, why = None, ""
        try:
            found = keeper.load(self._run_dir) if self._settings.state_sync is not None else None
        except keeper.BadStateError as error:
            why = error.message
        return statetable.info(self._config(), self._choice, found, why, booted_s())

    def holds_any_vip(self) -> bool | None:
        """Whether this node is MASTER of a VIP; None where that is unknown."""
        states = self._states()
        return None if states is None else "MASTER" in states

    def master_of_every_vip(self) -> bool | None:
        """Whether this node is MASTER of all, also of none that are configured; None where that is unknown."""
        states = self._states()
        return None if states is None else states <= {"MASTER"}

    def _states(self) -> set[str] | None:
        if not self._settings.vips:
            return set()
        states = {vip.state for vip in self.vips()}
        return None if "UNKNOWN" in states else states


def _had_its_switchover(report: Report) -> bool:
    """Whether a switchover can be over: this node serves again, or whoever serves ranks before it anyway."""
    if any(vip.state == "MASTER" for vip in report.vips):
        return True
    return all(vip.state == "BACKUP" and 0 <= vip.master_advskew < vip.advskew for vip in report.vips)


def _echoes(report: Report, intent: Intent) -> bool:
    """Whether the process carp does what is ordered."""
    demotions = {name: weight for name, weight in report.demotion_reasons.items() if not is_built_in(name)}
    flags = (report.disabled, report.maintenance, report.switchover, report.hold_preempt)
    return flags == (intent.disabled, intent.maintenance, intent.switchover, intent.hold_preempt) and demotions == dict(
        intent.demotions
    )
