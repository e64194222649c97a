"""The steps of a job as they happen: named, timed, with output, shown live and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncsrv.clock import Clock
from syncsrv.control.shapes import Step
from syncsrv.errors import SyncsrvError
from syncsrv.process import Stop


class AbortedError(SyncsrvError):
    """The operator aborted the job; what it had written is put back."""

    code = "aborted"

    def __init__(self, job: str, by: str) -> None:
        super().__init__(f"cannot finish job {job}: {by} aborted it", "start it again when you are ready")


@dataclass(slots=True)
class OpenStep:
    """A step under way; whoever does it leaves its output here."""

    output: str = ""
    result: str = ""

    def say(self, text: str) -> None:
        self.output = f"{self.output}\n{text}" if self.output else text


@dataclass(slots=True)
class Steps:
    """Collects one node's steps of one job.

    Args:
        job: its id.
        clock: for the durations.
        publish: called with each step as it starts and as it ends.
    """

    job: str
    clock: Clock
    publish: Callable[[Step], None]
    done: list[Step] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    """Ends the check that runs when the job is aborted."""
    _aborted_by: str = ""
    _withdrawn: SyncsrvError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def abort(self, by: str) -> None:
        """Ask the job to stop before its next step; a check that runs ends at once."""
        with self._lock:
            self._aborted_by = by
        self.stop.ask()

    def check_abort(self) -> None:
        """Raise AbortedError when somebody asked for it, and the error of ``withdraw`` likewise."""
        self.check_withdrawn()
        with self._lock:
            if self._aborted_by:
                raise AbortedError(self.job, self._aborted_by)

    def withdraw(self, error: SyncsrvError) -> None:
        """End the job at its next step, whichever that is: what has been written is put back.

        An abort is heeded until everything is on the disk; this until the very end (DESIGN 4.4).
        """
        with self._lock:
            self._withdrawn = self._withdrawn or error
        self.stop.ask()

    def check_withdrawn(self) -> None:
        """Raise the error of ``withdraw``, once: what puts everything back must not be ended by it too."""
        with self._lock:
            error, self._withdrawn = self._withdrawn, None
        if error is not None:
            raise error

    @contextmanager
    def step(self, name: str) -> Iterator[OpenStep]:
        """One step: published as running, then as done or, when the block raises, as failed."""
        began = self.clock.monotonic()
        current = OpenStep()
        self.publish(Step(name, "running"))
        try:
            yield current
            current.result = current.result or "done"
        except SyncsrvError as error:
            current.say(str(error))
            raise
        finally:
            self._finish(
                Step(name, current.result or "failed", round(self.clock.monotonic() - began, 3), current.output)
            )

    def add(self, name: str, result: str, seconds: float = 0.0, output: str = "") -> None:
        """A step that somebody else has already done and timed."""
        self._finish(Step(name, result, round(seconds, 3), output))

    def _finish(self, step: Step) -> None:
        self.done.append(step)
        self.publish(step)
