"""What is wrong with a configuration: where, which key, and why, in one line a person can act on.

The rendering ``FILE:LINE:COL: KEY.PATH: cannot …`` is what editors jump to and what other programs parse.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from syncsrv.errors import SyncsrvError


class Severity(enum.StrEnum):
    """An error makes the configuration unusable; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding. Orders by file and position.

    Attributes:
        file: as it was opened, so that an editor can open it.
        line: from 1.
        column: from 1.
        key_path: ``areas.proxy.paths.0``; empty where the file as a whole is meant.
        message: begins with ``cannot`` for an error.
        severity: error or warning.
    """

    file: str
    line: int
    column: int
    key_path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        key = f"{self.key_path}: " if self.key_path else ""
        mark = "warning: " if self.severity is Severity.WARNING else ""
        return f"{where}{key}{mark}{self.message}"


class ConfigurationError(SyncsrvError):
    """A configuration cannot be used. ``problems`` holds all that one run found, warnings included, sorted."""

    code: ClassVar[str] = "configuration"
    exit_status: ClassVar[int] = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)), "correct these lines and run `syncsrv check`")

    def __str__(self) -> str:
        return self.message
