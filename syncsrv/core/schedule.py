"""What core does by the clock. The only module that knows APScheduler.

Its clock is wall time, and what hangs on that is kept away from it here:

    a clock set forward by years   a trigger of its own lists every run in between; ours name the next one only
    a clock set back by an hour    everything would rest for that hour: ours are then set anew
    a run that was left out        it says so to its logger alone; here it is counted, said in a sentence and shown

Nothing is stored: what is to run comes from core at each start, and from cluster.yaml whenever that changes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from syncsrv.clock import Clock, rfc3339
from syncsrv.config.cron import Cron, next_run
from syncsrv.errors import SyncsrvError
from syncsrv.plan.words import counted

log = logging.getLogger(__name__)

WORKERS = 8
GRACE_S = 300
"""How late a cron line may still fire: the machine slept, or was too busy."""
PULSE_S = 5.0
STEP_S = 2.0
"""A clock that moved by more than this against the monotonic one was set."""
IN_A_ROW = 3
"""Bad rounds of something that comes again within minutes before it is worth a notice."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One thing that is done by the clock, and how it went since core started.

    Attributes:
        name: what it is.
        when: in words.
        next_utc: when it fires next.
        last_utc: when it last ended, or was left out.
        result: how: what the work said, ``failed: …`` or ``left out: …``; empty where all is well and there is nothing
            to say.
        missed: how often it was left out.
        bad: how often in a row it failed or was left out.
    """

    name: str
    when: str
    next_utc: datetime | None = None
    last_utc: datetime | None = None
    result: str = ""
    missed: int = 0
    bad: int = 0


class Every(BaseTrigger):  # type: ignore[misc]  # apscheduler carries no types
    """Each so many seconds; what is late counts once."""

    def __init__(self, every_s: float) -> None:
        self._every = timedelta(seconds=every_s)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        following = (previous_fire_time or now) + self._every
        return following if following > now else now + self._every

    def __str__(self) -> str:
        seconds = self._every.total_seconds()
        return f"every {counted(round(seconds / 3600), 'hour')}" if seconds >= 3600 else f"every {seconds:g} s"


class At(BaseTrigger):  # type: ignore[misc]  # apscheduler carries no types
    """When a cron line says, UTC; what is late counts once."""

    def __init__(self, cron: Cron, written: str) -> None:
        self._cron = cron
        self._written = written

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return next_run(self._cron, max(previous_fire_time or now, now))

    def __str__(self) -> str:
        return f"{self._written} (UTC)"


@dataclass(slots=True)
class _Entry:
    trigger: Every | At
    work: Callable[[], str]
    timed: Timed
    key: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ended(self, at_utc: datetime, result: str, *, missed: bool = False, bad: bool = False) -> bool:
        """Keep how a round went; whether that is news."""
        with self.lock:
            was = self.timed
            self.timed = replace(
                was,
                last_utc=at_utc,
                result=result,
                missed=was.missed + missed,
                bad=was.bad + 1 if bad else 0,
            )
            return was.result != result


class Timetable:
    """Runs work in threads of its own, each piece never twice at once.

    Args:
        clock: for what is shown, and to notice that the wall clock was set.
        pulse_s: seconds between two looks at whether it was.

    Attributes:
        fired_at: when it began last, or fired anything, also what had to be left out; monotonic seconds.
    """

    def __init__(self, clock: Clock, *, pulse_s: float = PULSE_S) -> None:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._clock = clock
        self._pulse_s = pulse_s
        self._pool = ThreadPoolExecutor(WORKERS, "timed")
        self._scheduler = BackgroundScheduler(
            executors={"default": _Pool(self._pool)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
            daemon=True,
        )
        self._scheduler.add_listener(self._heard, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.fired_at = clock.monotonic()
        self._pulse = threading.Thread(target=self._watch_clock, name="clock", daemon=True)

    def every(self, name: str, every_s: float, work: Callable[[], str]) -> None:
        """Do it each so many seconds, first after that time. A late round is done all the same.

        Args:
            name: what it is, for the log and for those who look.
            every_s: seconds.
            work: does it and says what came of it, or nothing; a SyncsrvError is said, and it is tried again.
        """
        with self._lock:
            self._add(name, Every(every_s), work, "")

    def set_crons(self, wanted: Mapping[str, tuple[str, Cron, str, Callable[[], str]]]) -> None:
        """Do these, and no other ones by cron; one that is there already, with the same key, is left as it is.

        Args:
            wanted: by name: the key, the line read and as it was written, and the work.
        """
        with self._lock:
            crons = {name: entry for name, entry in self._entries.items() if isinstance(entry.trigger, At)}
            for name, entry in crons.items():
                if name not in wanted or wanted[name][0] != entry.key:
                    del self._entries[name]
                    if not self._stopping.is_set():
                        self._scheduler.remove_job(name)
            for name, (key, cron, written, work) in wanted.items():
                if name not in self._entries:
                    self._add(name, At(cron, written), work, key)

    def _add(self, name: str, trigger: Every | At, work: Callable[[], str], key: str) -> None:
        entry = _Entry(trigger, work, Timed(name, str(trigger)), key)
        self._entries[name] = entry
        if not self._stopping.is_set():
            grace = {"misfire_grace_time": GRACE_S} if isinstance(trigger, At) else {}
            self._scheduler.add_job(self._run, trigger, args=[entry], id=name, name=name, **grace)

    def start(self) -> None:
        """Begin."""
        self.fired_at = self._clock.monotonic()
        self._scheduler.start()
        self._pulse.start()

    def stop(self) -> None:
        """Fire nothing more, and wait for what is under way; whoever is asked to stop does that quickly."""
        with self._lock:
            self._stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
            self._pulse.join()
        self._pool.shutdown()  # what waits in it looks whether it may, and ends

    def now(self) -> tuple[Timed, ...]:
        """All of them, as they stand."""
        with self._lock:
            entries = dict(self._entries)
        found = []
        for name, entry in entries.items():
            job = self._scheduler.get_job(name)
            next_utc = getattr(job, "next_run_time", None)
            found.append(replace(entry.timed, next_utc=next_utc))
        return tuple(found)

    def troubles(self) -> tuple[str, ...]:
        """What an operator should know: something that comes rarely went wrong, or something frequent again and again.

        Each is a sentence.
        """
        with self._lock:
            entries = list(self._entries.values())
        return tuple(
            f"{entry.timed.name} ({entry.timed.when}) {entry.timed.result}"
            + (f" ({entry.timed.bad} times in a row)" if entry.timed.bad > 1 else "")
            for entry in entries
            if entry.timed.bad >= (1 if isinstance(entry.trigger, At) else IN_A_ROW)
        )

    def _run(self, entry: _Entry) -> None:
        self.fired_at = self._clock.monotonic()
        if self._stopping.is_set():
            return
        try:
            said = entry.work()
        except SyncsrvError as error:
            if entry.ended(self._clock.utc(), f"failed: {error.message}", bad=True):
                log.error("%s: %s", entry.timed.name, error)
        else:
            entry.ended(self._clock.utc(), said)

    def _heard(self, event: JobEvent) -> None:
        """What APScheduler has to say; never asks it anything, since it may wait for us while it stops."""
        self.fired_at = self._clock.monotonic()
        with self._lock:
            entry = self._entries.get(event.job_id)
        if entry is None or self._stopping.is_set():
            return
        now = self._clock.utc()
        name = entry.timed.name
        if event.code == EVENT_JOB_ERROR:
            entry.ended(now, "failed: a bug in syncsrv; see core's log", bad=True)
            log.error("%s failed by a bug; it is done again at its next time", name, exc_info=event.exception)
        elif event.code == EVENT_JOB_MISSED:
            due = rfc3339(event.scheduled_run_time)
            entry.ended(now, f"left out: it was due at {due}, more than {GRACE_S} s before", missed=True, bad=True)
            log.warning("%s was left out: it was due at %s, and the machine slept or was busy", name, due)
        elif entry.ended(now, "left out: the one before had not ended", missed=True, bad=True):
            log.warning("%s was left out: the one before had not ended", name)

    def _watch_clock(self) -> None:
        ahead = self._ahead_s()
        while not self._stopping.wait(self._pulse_s):
            was, ahead = ahead, self._ahead_s()
            if abs(ahead - was) > STEP_S:
                self.clock_was_set(ahead - was)

    def _ahead_s(self) -> float:
        """How far the wall clock is before the monotonic one."""
        return self._clock.utc().timestamp() - self._clock.monotonic()

    def clock_was_set(self, by_s: float) -> None:
        """Let everything fire as the new time says: what was due in a time that was jumped over is told to be so."""
        log.warning("the clock was set by %+.0f s, or the machine slept; what is done by the clock follows it", by_s)
        with self._lock:
            if self._stopping.is_set():
                return
            if by_s < 0:
                for name, entry in self._entries.items():
                    self._scheduler.reschedule_job(name, trigger=entry.trigger)
            self._scheduler.wakeup()


class _Pool(BasePoolExecutor):  # type: ignore[misc]  # apscheduler carries no types
    """Our threads: so that stopping can wait for them while nothing of APScheduler is locked."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__(pool)
