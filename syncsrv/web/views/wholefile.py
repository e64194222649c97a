"""A whole file as lines to be read, and the name under which it is downloaded. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from syncsrv.plan.patch import LARGEST, is_binary
from syncsrv.web.views.difflines import Line, split_lines
from syncsrv.web.views.highlight import Runs
from syncsrv.web.views.linehtml import line_html, visible

MOST_LINES = 20_000
"""Lines that are shown; more are counted."""
LARGEST_SHOWN = LARGEST
_LONGEST_NAME = 200
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Numbered:
    """One line with its number."""

    number: int
    html: Markup


def text_of(data: bytes) -> str | None:
    """Content as text, with what is no UTF-8 as escapes; None where it is binary."""
    return None if is_binary(data) else data.decode("utf-8", "backslashreplace")


def numbered(text: str, runs: Sequence[Runs]) -> tuple[list[Numbered], int]:
    """The lines, and how many more there are.

    Args:
        text: the whole file.
        runs: the colours of each line, or none.
    """
    lines = split_lines(text)
    found = []
    for at, text_line in enumerate(lines[:MOST_LINES]):
        ending = "\r\n" if text_line.endswith("\r\n") else "\n" if text_line.endswith("\n") else ""
        line = Line(at + 1, text_line.removesuffix(ending) if ending else text_line, ending)
        found.append(Numbered(at + 1, line_html(line, runs[at] if at < len(runs) else (), "")))
    return found, max(0, len(lines) - MOST_LINES)


def disposition(path: str) -> str:
    """The Content-Disposition of a download: a name in ASCII, and the real one as RFC 5987 has it.

    The name has no character that a file system, a terminal or an eye takes for something else.
    """
    name = visible(path.rstrip("/").rpartition("/")[2]).replace("\\", "_").replace("/", "_")[:_LONGEST_NAME]
    name = name.lstrip(".") or "file"
    return f"attachment; filename=\"{_PLAIN.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"
