"""What commands print: for people, with colour on a terminal only, or JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_PAINTED = re.compile(r"\x1b\[[0-9;]*m")
_OF_LINES = frozenset({"body", "log", "output", "patch", "reason"})
"""Keys of texts that are shown line by line, each with something of ours before it."""


@dataclass(slots=True)
class Settings:
    """The global options, for every command.

    Attributes:
        config: the configuration directory, absolute.
        as_json: whether to print JSON.
        colour: whether standard output is a terminal that shows colours.
    """

    config: Path
    as_json: bool = False
    colour: bool = False

    def show(self, data: object, human: Callable[[], str]) -> None:
        """Print a result.

        Args:
            data: the JSON object.
            human: makes the text for people; not called for JSON.
        """
        if self.as_json:
            print(json.dumps(data))
        elif text := human():
            print(text)

    def paint(self, text: str, *styles: str) -> str:
        """Text in a style (bold, dim, red, green, yellow, blue, cyan) where colours are shown, else as it is."""
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


pass_settings = click.make_pass_decorator(Settings)
"""Gives a command the Settings as its first argument."""


def printable(text: str) -> str:
    """Text from files, peers and programs as one line that cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def letters(data: Any, key: str = "") -> Any:
    """Data from core for people: every text in it ``printable``, so that no command has to think of it.

    Args:
        data: JSON data; texts of several lines keep their line ends.
        key: under which it stands.
    """
    if isinstance(data, str):
        lines = data.expandtabs().split("\n") if key in _OF_LINES else [data]
        return "\n".join(map(printable, lines))
    if isinstance(data, dict):
        return {printable(name): letters(value, name) for name, value in data.items()}
    if isinstance(data, list):
        return [letters(value, key) for value in data]
    return data


def sentences(text: str, seen: str = "", most: int = 40) -> list[str]:
    """A reason of several lines: the first as it is, the rest indented, but for lines that were shown already."""
    first, *rest = text.splitlines() or [""]
    return [printable(first), *(f"    {printable(line)}" for line in rest[:most] if line.strip() not in seen)]


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), indent: str = "") -> str:
    """Rows as aligned columns, two spaces between; painted cells count as wide as they look."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    widths: list[int] = []
    for row in lines:
        widths += [0] * (len(row) - len(widths))
        widths = [max(width, _width(cell)) for width, cell in zip(widths, [*row, *[""] * len(widths)], strict=False)]
    return "\n".join(
        (
            indent + "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False))
        ).rstrip()
        for row in lines
    )


def _width(cell: str) -> int:
    return len(_PAINTED.sub("", cell))


def warn(text: str) -> None:
    """A remark on standard error that is no part of the result."""
    print(f"syncsrv: {printable(text)}", file=sys.stderr)
