"""What this node last heard of each peer; polled in the background, asked at once when a person waits.

No reader of this book ever waits for a peer. Every reading carries its age (law 10).

Each peer has a thread of its own, and not a place in core's timetable: one that is slow must not hold up the others, a
poll waits for the door and comes sooner until it was first answered, and no setting of the wall clock may delay it. The
timetable sees to it that these threads are there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from syncsrv.clock import Clock
from syncsrv.control.shapes import Facts
from syncsrv.errors import SyncsrvError

log = logging.getLogger(__name__)

POLL_S = 5.0
FIRST_POLL_S = 0.5
"""Until a peer is first heard."""
DEADLINE_S = 3.0
READY_S = 10.0
MISSES = 3
"""Polls that may go unanswered before a peer counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A peer as last heard.

    Attributes:
        facts: its last answer; None while it was never heard.
        at: when that came, monotonic.
        at_utc: the same for people.
        misses: polls unanswered since.
        why: what the last failure was.
        remedy: what to do about it.
    """

    facts: Facts | None = None
    at: float | None = None
    at_utc: datetime | None = None
    misses: int = 0
    why: str = ""
    remedy: str = ""

    @property
    def reachable(self) -> bool:
        return self.facts is not None and self.misses < MISSES


class PeerBook:
    """Polls the peers and remembers what they said.

    Args:
        names: the peers that are configured now.
        ask: fetches a peer's facts within the deadline, or raises.
        heard: called after each answer, in the polling thread.
        clock: for ages and waits.
        ready: waits so many seconds until peers can be asked at all, before the first poll.
        follow: called after each poll that was answered, when nobody waits for its end.
    """

    def __init__(
        self,
        names: Callable[[], tuple[str, ...]],
        ask: Callable[[str, float], Facts],
        heard: Callable[[str, Facts], None],
        clock: Clock,
        ready: Callable[[float], bool] = lambda _: True,
        follow: Callable[[str, Facts], None] = lambda _, __: None,
    ) -> None:
        self._names = names
        self._ask = ask
        self._on_heard = heard
        self._clock = clock
        self._ready = ready
        self._follow = follow
        self._book: dict[str, Heard] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._soon: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Poll every configured peer in a thread of its own; call again after the configuration changed."""
        with self._starting:
            for name in self._names() if not self._stop.is_set() else ():
                thread = self._threads.get(name)
                if thread is None or not thread.is_alive():
                    self._soon[name] = threading.Event()
                    thread = threading.Thread(target=self._poll, args=(name,), name=f"poll-{name}", daemon=True)
                    self._threads[name] = thread
                    thread.start()

    def stop(self) -> None:
        with self._starting:
            self._stop.set()
            for soon in self._soon.values():
                soon.set()
        for thread in self._threads.values():
            thread.join()

    def ended(self) -> tuple[str, ...]:
        """The configured peers that no thread polls, though it once did."""
        names = self._names()
        return tuple(name for name, thread in list(self._threads.items()) if name in names and not thread.is_alive())

    def now(self) -> Mapping[str, Heard]:
        """Every configured peer as last heard; one that was not heard for too long is away, whoever is to blame."""
        oldest_at = self._clock.monotonic() - MISSES * (POLL_S + DEADLINE_S)
        with self._lock:
            found = {name: self._book.get(name, Heard()) for name in self._names()}
        return {
            name: replace(one, misses=max(one.misses, MISSES)) if one.at is not None and one.at < oldest_at else one
            for name, one in found.items()
        }

    def refresh(self, name: str) -> Heard:
        """Ask one peer now; never with the answer to an earlier question.

        Where its main has moved, it is polled at once, so that this is followed while nobody waits for it.
        """
        with self._asking(name):
            before = self._book.get(name, Heard()).facts
            heard = self._refresh(name)
        soon = self._soon.get(name)
        if soon is not None and heard.facts is not None and (before is None or before.head != heard.facts.head):
            soon.set()
        return heard

    def _asking(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())

    def _refresh(self, name: str) -> Heard:
        try:
            facts = self._ask(name, DEADLINE_S)
        except SyncsrvError as error:
            return self._missed(name, error)
        with self._lock:
            was = self._book.get(name)
            heard = Heard(facts, self._clock.monotonic(), self._clock.utc())
            self._book[name] = heard
        if was is None or not was.reachable:
            log.info("peer %s answers: %s, syncsrv %s", name, facts.role, facts.version)
        self._on_heard(name, facts)
        return heard

    def _missed(self, name: str, error: SyncsrvError) -> Heard:
        with self._lock:
            was = self._book.get(name, Heard())
            now = replace(was, misses=was.misses + 1, why=error.message, remedy=error.remedy)
            self._book[name] = now
        if was.why != error.message:
            log.warning("peer %s: %s", name, error)
        return now

    def _poll(self, name: str) -> None:
        self._ready(READY_S)
        while not self._stop.is_set() and name in self._names():
            wait_s = FIRST_POLL_S
            try:
                self._soon[name].clear()
                with self._asking(name):
                    heard = self._refresh(name)
                wait_s = POLL_S if heard.facts is not None else FIRST_POLL_S
                if heard.facts is not None and not heard.misses and not self._stop.is_set():
                    self._follow(name, heard.facts)
            except Exception:  # the top of a polling thread: its end would show an old answer for ever
                log.exception("polling %s failed by a bug; it goes on", name)
                wait_s = POLL_S
            self._soon[name].wait(wait_s)
        with self._lock:
            self._book.pop(name, None)
