"""The process ``statesync`` at work: it keeps conntrackd, hears from the agent who is MASTER, and gives the orders.

Beside the agent and not in it: an order takes from 5 ms to a second, and adverts may not wait. All that is decided is
decided in ``decide``; here is what reads and what acts.
"""

from __future__ import annotations

import contextlib
import logging
import select
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

from syncsrv.clock import booted_s
from syncsrv.failover import settings as configs
from syncsrv.failover.asking import CarpAwayError, CarpRefusedError, Client
from syncsrv.failover.messages import WATCH_S, BadMessageError, Report, TableCame
from syncsrv.failover.settings import BadSettingsError, Settings
from syncsrv.failover.statesync import conf, decide, kernel, says, state
from syncsrv.failover.statesync.conf import NoPlaceError, Place
from syncsrv.failover.statesync.daemon import Daemon, NoAnswerError, find
from syncsrv.failover.statesync.decide import Machine, Order, Seen
from syncsrv.failover.statesync.state import LastOrder, Trouble
from syncsrv.failover.statesync.stats import BadStatsError, Stats

log = logging.getLogger(__name__)

READ_S = 1.0
QUICK_S = 0.2
"""Between two readings of conntrackd; the second while the peer's table is awaited."""

AGENT_AGAIN_S = 0.2
AGENT_SILENT_S = 2 * WATCH_S
AGAIN_S = 0.5
"""Before a conntrackd that died is started again; doubled each time until AGAIN_MOST_S."""

AGAIN_MOST_S = 10.0
STEADY_S = 30.0
HUNG_S = 8.0
"""Without an answer: then it is ended, and another one started."""

DEMOTION = "state-sync"
NOTHING = Stats(carried=0, taken=0, heard=0, lag=0, link="")


class Keeper:
    """Until it is told to end.

    Args:
        state_dir: where core wrote the settings.
        found: the settings as they stand there; they have ``state_sync``.
    """

    def __init__(self, state_dir: Path, found: Settings) -> None:
        now = time.monotonic()
        self._state_dir = state_dir
        self._settings = found
        self._machine: Machine = decide.start(now, found.state_sync.timeout_s if found.state_sync else 0.0)
        self._daemon: Daemon | None = None
        self._text = ""
        self._indexes: tuple[int, ...] = ()
        self._stats: Stats | None = None
        self._trouble: Trouble | None = None
        self._missing = False
        self._started_at = self._answered_at = self._start_at = self._read_at = now
        self._again_s = AGAIN_S
        self._agent: Client | None = None
        self._agent_at = now
        self._heard_agent_at = now
        self._report: Report | None = None
        self._told: bool | None = None
        self._last: LastOrder | None = None
        self._write_at = now
        self._written: state.State | None = None
        self._unwritten = ""
        self._ends = False
        self._signals, self._wakeup = socket.socketpair()
        for handle in (self._signals, self._wakeup):
            handle.setblocking(False)

    def run(self) -> None:
        """The loop."""
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        try:
            while not self._ends:
                self._turn()
        finally:
            signal.set_wakeup_fd(-1)
            if self._daemon is not None:
                self._daemon.stop()
            self._forget_agent()
            with contextlib.suppress(OSError):
                (self._run_dir / state.FILE).unlink(missing_ok=True)  # nobody is here to say anything
            self._signals.close()
            self._wakeup.close()

    @property
    def _run_dir(self) -> Path:
        return Path(self._settings.run_dir)

    def _turn(self) -> None:
        """What is due, then a wait for what comes."""
        now = time.monotonic()
        self._hear_agent(now)
        self._tend(now)
        self._read(now)
        self._decide()
        self._tell_agent()
        self._write()
        poll = select.poll()
        for handle in (self._signals.fileno(), self._daemon.fileno() if self._daemon else -1):
            if handle >= 0:
                poll.register(handle, select.POLLIN)
        if self._agent is not None:
            poll.register(self._agent.fileno(), select.POLLIN)
        times = [self._read_at, self._write_at]
        times += [self._agent_at] if self._agent is None else []
        times += [self._start_at] if self._daemon is None else []
        ready = {handle for handle, _ in poll.poll(max(0.0, min(times) - time.monotonic()) * 1000 + 1)}
        if self._signals.fileno() in ready:
            told = self._signals.recv(64)
            self._ends = signal.SIGTERM in told or signal.SIGINT in told

    # The agent.

    def _hear_agent(self, now: float) -> None:
        """The latest report; other settings when it works with others."""
        try:
            if self._agent is None and now >= self._agent_at:
                self._agent_at = now + AGENT_AGAIN_S
                self._agent = Client(self._run_dir)
                self._take(self._agent.watch(), now)
            while self._agent is not None and select.select([self._agent], [], [], 0)[0]:
                self._take(self._agent.next(deadline_s=1.0), now)
            if self._agent is not None and now - self._heard_agent_at > AGENT_SILENT_S:
                self._forget_agent()
        except (CarpAwayError, CarpRefusedError, BadMessageError):
            self._forget_agent()

    def _take(self, report: Report, now: float) -> None:
        before = self._report.settings_digest if self._report is not None else self._settings.digest
        self._report, self._heard_agent_at = report, now
        if report.settings_digest != before:
            self._reload()

    def _forget_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent = None
        self._report = None
        self._told = None

    def _tell_agent(self) -> None:
        """Whether the table is here, when that is something else than what this agent was told."""
        arrived = self._machine.arrived
        if self._report is None or arrived is None:
            return
        demoted = DEMOTION in self._report.demotion_reasons
        if arrived == self._told and not (arrived and demoted):
            return
        try:
            with Client(self._run_dir) as client:
                client.apply(TableCame(arrived))
        except (CarpAwayError, CarpRefusedError, BadMessageError) as error:
            log.warning("%s", error)
            return
        self._told = arrived

    def _reload(self) -> None:
        """The settings anew; conntrackd is started again only where its own configuration is another."""
        try:
            found = configs.load(self._state_dir)
        except BadSettingsError as error:
            log.error("%s", error)
            return
        if found is None or found.state_sync is None:
            self._ends = True  # the guardian starts us again when there is something to do
            return
        self._settings = found
        self._machine = replace(self._machine, timeout_s=found.state_sync.timeout_s)
        if self._daemon is not None and self._wanted_text() != self._text:
            self._again("its configuration has changed", 0.0)

    # The daemon.

    def _wanted_text(self) -> str:
        assert self._settings.state_sync is not None
        place, known = Place(self._run_dir), kernel.named(conf.PROTOCOLS)
        return conf.text(self._settings.state_sync, place, kernel.table_most(), known)

    def _tend(self, now: float) -> None:
        """Have conntrackd run, or know why it does not."""
        assert self._settings.state_sync is not None
        if self._daemon is not None:
            if not self._has_ended() and kernel.indexes(self._settings.state_sync) != self._indexes:
                self._again("a device of its links was made anew, or is gone", AGAIN_S)
            return
        if now < self._start_at:
            return
        program = find()
        self._missing = program is None
        trouble = says.NOT_INSTALLED if program is None else kernel.trouble(self._settings.state_sync)
        if trouble is None and program is not None:
            trouble = self._start(program)
        if trouble is not None:
            if trouble != self._trouble:
                log.warning("cannot start conntrackd: %s", trouble.reason)
            self._fail(trouble)

    def _has_ended(self) -> bool:
        why = self._daemon.ended() if self._daemon is not None else None
        if why is None:
            return False
        if time.monotonic() - self._started_at > STEADY_S:
            self._again_s = AGAIN_S
        log.warning("%s; it is started again in %.1f s", why, self._again_s)
        by_hand = f"`conntrackd -C {self._run_dir / conf.FILE}` by hand may say more"
        self._fail(Trouble(why, f"it is started again by itself; {by_hand}"))
        return True

    def _start(self, program: str) -> Trouble | None:
        assert self._settings.state_sync is not None
        path = self._run_dir / conf.FILE
        try:
            self._text = self._wanted_text()
            state.replace_file(path, self._text.encode())
            daemon = Daemon(path, program)
            daemon.start()
        except NoPlaceError as error:
            return Trouble(error.message, error.remedy)
        except OSError as error:
            return Trouble(f"{program}: {(error.strerror or str(error)).lower()}", f"see {path} and {program}")
        self._daemon = daemon
        self._indexes = kernel.indexes(self._settings.state_sync)
        self._started_at = self._answered_at = self._read_at = time.monotonic()
        self._trouble = None
        log.info("conntrackd runs as process %d", daemon.pid or 0)
        return None

    def _again(self, why: str, wait_s: float) -> None:
        log.info("conntrackd is started again: %s", why)
        if self._daemon is not None:
            self._daemon.stop()
        self._daemon = self._stats = None
        self._start_at = time.monotonic() + wait_s

    def _fail(self, trouble: Trouble) -> None:
        self._daemon = self._stats = None
        self._trouble = trouble
        self._start_at = time.monotonic() + self._again_s
        self._again_s = min(self._again_s * 2, AGAIN_MOST_S)

    def _read(self, now: float) -> None:
        if now < self._read_at:
            return
        self._read_at = now + (QUICK_S if self._machine.table == "awaited" else READ_S)
        if self._daemon is None:
            return
        try:
            self._stats = self._daemon.stats()
        except NoAnswerError as error:
            if not self._has_ended():
                self._unanswered(str(error))
        except BadStatsError as error:  # it works, and is told what is due; how it is, nobody knows
            self._answered_at = time.monotonic()
            self._stats = NOTHING
            self._trouble = Trouble(str(error), "this version of conntrackd is not known here: take another one")
        else:
            self._answered_at = time.monotonic()
            self._trouble = kernel.silent()

    def _unanswered(self, why: str) -> None:
        """It is being started, or hangs."""
        now = time.monotonic()
        starting = self._stats is None and now - self._started_at < decide.HEARD_S
        self._stats = None
        if now - self._answered_at > HUNG_S:
            log.warning("%s", why)
            self._again(f"it has said nothing for {now - self._answered_at:.0f} s", self._again_s)
            self._again_s = min(self._again_s * 2, AGAIN_MOST_S)
        if not starting:
            self._trouble = Trouble(why, f"it is started again after {HUNG_S:g} s without an answer")

    # What follows.

    def _decide(self) -> None:
        now = time.monotonic()
        serving = None if self._report is None else any(vip.state == "MASTER" for vip in self._report.vips)
        awaiting = self._report is not None and DEMOTION in self._report.demotion_reasons
        seen = Seen(serving, awaiting, self._stats, kernel.entries())
        self._machine, orders = decide.step(self._machine, seen, now)
        for order in orders:
            self._give(order)

    def _give(self, order: Order) -> None:
        if self._daemon is None:
            return
        began_at = time.monotonic()
        failed = [f"{words[0]}: {why}" for words in order.commands if (why := self._daemon.order(*words))]
        took_s = time.monotonic() - began_at
        result = f"failed: {'; '.join(failed)}" if failed else "done"
        level = logging.WARNING if failed else logging.DEBUG if order is Order.REFRESH else logging.INFO
        log.log(level, "conntrackd was told: %s: %s in %.0f ms", order.words, result, took_s * 1000)
        self._last = LastOrder(
            order.words, "failed" if failed else "done", "; ".join(failed), round(took_s, 3), round(booted_s(), 3)
        )

    def _write(self) -> None:
        now = time.monotonic()
        found = says.state(
            self._machine,
            self._stats,
            trouble=self._trouble,
            missing=self._missing,
            pid=self._daemon.pid if self._daemon is not None else None,
            entries=kernel.entries(),
            last=self._last,
            now=now,
        )
        if now < self._write_at and self._written is not None and says.standing(found) == says.standing(self._written):
            return
        self._write_at = now + READ_S
        try:
            state.store(self._run_dir, replace(found, at_boot_s=round(booted_s(), 3)))
            self._unwritten = ""
        except OSError as error:
            if self._unwritten != str(error):
                self._unwritten = str(error)
                log.warning("cannot say how the state sync is: %s", (error.strerror or str(error)).lower())
            return
        if self._written is None or (found.word, found.reason) != (self._written.word, self._written.reason):
            log.info("%s: %s", found.word, found.reason)
        self._written = found
