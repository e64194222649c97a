"""What the demo prints: each step with what was typed, what came of it and how long it took."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

INDENT = " " * 6
WRAPPED = 40
"""Lines of one text that are shown."""


class Paint(Protocol):
    """Text in a style where colours are shown, else as it is; cli.output.Settings.paint."""

    def __call__(self, text: str, *styles: str) -> str: ...


@dataclass(slots=True)
class Shown:
    """One step as it was shown.

    Attributes:
        name: what it is about.
        result: ok, failed or running.
        seconds: how long it took.
        commands: what was typed, and on which node.
        said: what came of it, a sentence each.
    """

    name: str
    result: str = "running"
    seconds: float = 0.0
    commands: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Show:
    """Prints as the walk goes, and keeps it.

    Args:
        paint: colours, or none.
        clean: makes a line of somebody else's text one that cannot steer a terminal.
        quiet: print nothing; the steps are only kept.
    """

    def __init__(self, paint: Paint, clean: Callable[[str], str], *, quiet: bool = False) -> None:
        self.steps: list[Shown] = []
        self._paint = paint
        self._clean = clean
        self._quiet = quiet

    def opening(self, lines: Sequence[str]) -> None:
        """What this is, before the first step."""
        first, *rest = lines
        self._print(self._paint(self._clean(first), "bold"))
        for line in rest:
            self._print(self._clean(line))

    def begin(self, name: str) -> None:
        """A step begins."""
        self.steps.append(Shown(name))
        self._print(f"\n{self._paint(f'{len(self.steps):3}  {name}', 'bold')}")

    def command(self, node: str, words: Sequence[str]) -> None:
        """Something is typed on a node."""
        text = f"{node}$ {shlex.join(words)}"
        self.steps[-1].commands.append(text)
        self._print(INDENT + self._paint(self._clean(text), "cyan"))

    def say(self, text: str) -> None:
        """What came of it; further lines are somebody else's own words."""
        first, *rest = text.splitlines() or [""]
        self.steps[-1].said.append(text)
        self._print(INDENT + self._clean(first))
        for line in rest[:WRAPPED]:
            self._print(f"{INDENT}  {self._paint('|', 'dim')} {self._clean(line)}")

    def end(self, seconds: float) -> None:
        """The step held."""
        self._end("ok", seconds)
        self._print(f"{INDENT}{self._paint('ok', 'green', 'bold')}  {seconds:.2f} s")

    def fail(self, seconds: float, reason: str, details: Mapping[str, str], logs: Mapping[str, Iterable[str]]) -> None:
        """The step did not hold.

        Args:
            seconds: how long it took until that was known.
            reason: in a sentence.
            details: heading to text: what was expected, what was seen.
            logs: name to the last lines of each process's log.
        """
        self._end("failed", seconds)
        self.steps[-1].said += [reason, *(f"{heading}: {text}" for heading, text in details.items())]
        self._print(f"{INDENT}{self._paint('FAILED', 'red', 'bold')}  {seconds:.2f} s  {self._clean(reason)}")
        for heading, text in details.items():
            first, *rest = text.splitlines() or [""]
            self._print(f"{INDENT}{self._paint(f'{heading:<9}', 'bold')} {self._clean(first)}")
            for line in rest[:WRAPPED]:
                self._print(f"{INDENT}{'':<9} {self._clean(line)}")
        for name, lines in logs.items():
            self._print(f"{INDENT}{self._paint(f'the end of {name}', 'bold')}")
            for line in lines:
                self._print(f"{INDENT}  {self._paint('|', 'dim')} {self._clean(line)}")

    def result(self, text: str, *, well: bool) -> None:
        """How the walk went."""
        self._print("\n" + self._paint(self._clean(text), "green" if well else "red", "bold"))

    def note(self, lines: Sequence[str]) -> None:
        """What else there is to know."""
        for line in lines:
            self._print(self._clean(line))

    @property
    def held(self) -> bool:
        """Whether there were steps and every one of them held."""
        return bool(self.steps) and all(step.result == "ok" for step in self.steps)

    def data(self) -> dict[str, Any]:
        """The steps for JSON."""
        return {"result": "ok" if self.held else "failed", "steps": [asdict(step) for step in self.steps]}

    def _end(self, result: str, seconds: float) -> None:
        self.steps[-1].result = result
        self.steps[-1].seconds = round(seconds, 3)

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text)
            sys.stdout.flush()
