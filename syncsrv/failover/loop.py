"""The loop of the carp process: one thread, epoll, and one timerfd for everything that is due.

Everything that has come in is taken before anything is judged due: an advert that waited in a socket while the machine
was busy counts before a timer that is late for the same reason.
"""

from __future__ import annotations

import contextlib
import enum
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from syncsrv.failover.timer import Timer

BUSY_S = 0.05
"""Of work without a pause, before one is made. The kernel ends a real-time process that never waits (see realtime),
and a flood of packets, which anybody on the segment can send, is always ready: it would end every node's agent.
"""

PAUSE_S = 0.005
"""What is left to the other processes of the machine then; no timer here matters by so little."""


class Rank(enum.IntEnum):
    """What is served first of what is ready at the same time."""

    SIGNAL = 0
    LINK = 1
    PACKET = 2
    ANSWER = 3
    CLIENT = 4


@dataclass(frozen=True, slots=True)
class _Source:
    rank: Rank
    ready: Callable[[int], None]


class Loop:
    """Watches descriptors and the time.

    Args:
        woke: called first in each turn: the process may have slept for longer than it wanted to.
        due: called after whatever was ready was served; it does what is due, and returns when it is due next
            (monotonic seconds, None: nothing is).
    """

    def __init__(self, woke: Callable[[], None], due: Callable[[], float | None]) -> None:
        self._woke = woke
        self._due = due
        self._epoll = select.epoll()
        self._timer = Timer()
        self._sources: dict[int, _Source] = {}
        self._epoll.register(self._timer.fileno(), select.EPOLLIN)
        self._over = False
        self._waited_at = time.monotonic()

    def watch(self, handle: int, rank: Rank, ready: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call ``ready`` with the events whenever ``handle`` has some; again for another set of events."""
        if handle in self._sources:
            self._epoll.modify(handle, events)
        else:
            self._epoll.register(handle, events)
        self._sources[handle] = _Source(rank, ready)

    def forget(self, handle: int) -> None:
        """Before it is closed; no error when it is not watched."""
        if self._sources.pop(handle, None) is not None:
            with contextlib.suppress(OSError):  # closing it took it out of the epoll
                self._epoll.unregister(handle)

    def run(self) -> None:
        """Until ``end``."""
        self._waited_at = time.monotonic()
        while True:
            next_at = self._due()
            if self._over:
                return
            self._timer.arm(next_at)
            ready = self._epoll.poll(0)
            if not ready:
                ready = self._epoll.poll()
                self._waited_at = time.monotonic()
            self.breathe()
            self._woke()
            self._serve(ready)

    def breathe(self) -> None:
        """Pause where that is due; for those too who work long within one turn."""
        if time.monotonic() - self._waited_at >= BUSY_S:
            select.select([], [], [], PAUSE_S)
            self._waited_at = time.monotonic()

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        for handle, events in sorted(ready, key=self._rank):
            if handle == self._timer.fileno():
                self._timer.acknowledge()
            elif handle in self._sources:  # one served before may have closed it
                self._sources[handle].ready(events)

    def end(self) -> None:
        """Let ``run`` return."""
        self._over = True

    def close(self) -> None:
        """Give the descriptors back."""
        self._timer.close()
        self._epoll.close()

    def _rank(self, one: tuple[int, int]) -> int:
        source = self._sources.get(one[0])
        return -1 if source is None else int(source.rank)
