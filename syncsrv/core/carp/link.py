"""Listens to the process carp, and keeps what it reported last, with its age."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from syncsrv.clock import Clock, booted_s
from syncsrv.errors import SyncsrvError
from syncsrv.failover.asking import CarpAwayError, Client
from syncsrv.failover.messages import WATCH_S, Report
from syncsrv.failover.outcome import key_of

log = logging.getLogger(__name__)

AGAIN_S = 0.5
"""Between two tries to reach it."""
SILENT_S = WATCH_S + 2.0
"""Without a report it counts as away."""
FIRST_S = 1.0
"""For the first answer, when core starts."""
SAME_S = 2.0
"""A time of day that is off by less is the same one, read again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of the process carp.

    Attributes:
        report: the last one; None while there never was one.
        at: when it came, monotonic seconds.
        since_utc: VIP (``1@lan``) to when it entered its state.
        why: why nothing is known now; empty while it answers.
        remedy: what to do about that.
        absent: nobody listens: no such process runs, so this node holds nothing.
    """

    report: Report | None = None
    at: float | None = None
    since_utc: Mapping[str, datetime] = field(default_factory=dict)
    why: str = "the carp process was not asked yet"
    remedy: str = "wait a second"
    absent: bool = False

    @property
    def now(self) -> Report | None:
        """The report, where it holds now."""
        return None if self.why else self.report


class Link:
    """A thread that watches ``run_dir/carp.sock`` while it is wanted.

    Args:
        run_dir: of this node.
        clock: for ages and for people.
        wanted: whether virtual addresses are configured.
        heard: called with each report, in the thread; ``first`` of a connection is True for one.
        changed: called when another reading is known, with the one before and the new one.
        boottime: seconds since boot, which the reports count in.
    """

    def __init__(
        self,
        run_dir: Path,
        clock: Clock,
        wanted: Callable[[], bool],
        heard: Callable[[Report, bool], None],
        changed: Callable[[Reading, Reading], None] = lambda _, __: None,
        boottime: Callable[[], float] = booted_s,
    ) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._wanted = wanted
        self._heard = heard
        self._changed = changed
        self._boottime = boottime
        self._reading = Reading()
        self._news = threading.Condition()
        self._tried = threading.Event()
        self._stop = threading.Event()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="carp-link", daemon=True)

    def start(self) -> None:
        """Begin, and wait a moment for the first answer."""
        self._thread.start()
        self._tried.wait(FIRST_S)

    def stop(self) -> None:
        """End; also without a start."""
        self._stop.set()
        self.look()
        if self._thread.ident is not None:
            self._thread.join()
        with self._news:
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)
                os.close(self._waker)

    def look(self) -> None:
        """Try now: whether it is wanted may have changed."""
        with self._news:
            if self._wake >= 0:
                try:
                    os.write(self._waker, b"x")
                except BlockingIOError:
                    log.debug("the link to carp is told to look, and has been already")

    @property
    def reading(self) -> Reading:
        """The last one."""
        return self._reading

    def wait(self, wanted: Callable[[Reading], bool], deadline_s: float) -> Reading:
        """The first reading that ``wanted`` takes, or the last one after ``deadline_s`` seconds."""
        with self._news:
            self._news.wait_for(lambda: wanted(self._reading), deadline_s)
            return self._reading

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except Exception as error:  # the top of a loop: its end would show an old report for ever
                log.exception("listening to the carp process failed by a bug; it goes on")
                self._lost(SyncsrvError(f"cannot follow the carp process: an error inside syncsrv: {error!r}"))
            self._tried.set()
            self._pause(AGAIN_S)

    def _watch(self) -> None:
        if not self._wanted():
            self._put(Reading(why="no virtual addresses are configured", remedy=""))
            return
        try:
            with Client(self._run_dir) as client:
                self._take(client.watch(), first=True)
                self._tried.set()
                self._follow(client)
        except SyncsrvError as error:
            self._lost(error)

    def _follow(self, client: Client) -> None:
        poller = select.poll()
        poller.register(client.fileno(), select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._stop.is_set():
            ready = {handle for handle, _ in poller.poll(SILENT_S * 1000)}
            if self._wake in ready:
                self._drain()
            if client.fileno() in ready or not ready:
                self._take(client.next(deadline_s=0.5), first=False)

    def _pause(self, seconds: float) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if poller.poll(seconds * 1000):
            self._drain()

    def _drain(self) -> None:
        os.read(self._wake, 4096)

    def _take(self, report: Report, *, first: bool) -> None:
        """The report is known before ``heard`` acts on it: whoever waits for it must not wait for that."""
        self._put(Reading(report, self._clock.monotonic(), self._since(report), "", ""))
        self._heard(report, first)

    def _since(self, report: Report) -> dict[str, datetime]:
        """A time of day that was told once stays, unless the clock was set since: it is read from two clocks."""
        zero = self._clock.utc() - timedelta(seconds=self._boottime())
        found = {}
        for vip in report.vips:
            key = key_of(vip)
            fresh = zero + timedelta(seconds=vip.since_boot_s)
            was = self._reading.since_utc.get(key, fresh)
            found[key] = was if abs((fresh - was).total_seconds()) < SAME_S else fresh
        return found

    def _lost(self, error: SyncsrvError) -> None:
        absent = isinstance(error, CarpAwayError) and is_absent(error)
        was = self._reading
        if was.why != error.message:
            log.warning("%s", error)
        self._put(replace(was, why=error.message, remedy=error.remedy, absent=absent))

    def _put(self, reading: Reading) -> None:
        with self._news:
            was, self._reading = self._reading, reading
            self._news.notify_all()
        if was != reading:
            self._changed(was, reading)


def is_absent(error: CarpAwayError) -> bool:
    """Whether nobody listens at the socket: not a process that is there and does not answer."""
    return isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)
