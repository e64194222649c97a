"""``syncsrv check``: every problem of the configuration, or that it is well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncsrv.cli.output import Settings, pass_settings, printable

if TYPE_CHECKING:
    from syncsrv.config.problem import Problem


@click.command()
@click.option(
    "--cluster",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Check this file as cluster.yaml, with this node's other files.",
)
@pass_settings
def command(settings: Settings, cluster: Path | None) -> int:
    """Check the configuration files.

    Prints every problem as FILE:LINE:COL: KEY.PATH: cannot ..., and warnings. Exit status 2 where there are
    problems, 0 where there are none or only warnings.
    """
    from syncsrv.config.load import load
    from syncsrv.config.problem import ConfigurationError

    try:
        problems = load(settings.config, cluster_file=cluster and Path(os.path.abspath(cluster))).warnings
        status = 0
    except ConfigurationError as error:
        problems = error.problems
        status = error.exit_status
    settings.show(
        {"problems": [_as_data(problem) for problem in problems], "ok": status == 0},
        lambda: "\n".join(_lines(settings, problems, status)),
    )
    return status


def _as_data(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key_path,
        "message": problem.message,
        "severity": problem.severity.value,
    }


def _lines(settings: Settings, problems: tuple[Problem, ...], status: int) -> list[str]:
    lines = [settings.paint(printable(str(problem)), *_STYLE[problem.severity.value]) for problem in problems]
    warnings = sum(problem.severity.value == "warning" for problem in problems)
    errors = len(problems) - warnings
    counted = f", {_count(warnings, 'warning')}" if warnings else ""
    if status:
        lines.append(settings.paint(f"{_count(errors, 'problem')}{counted}", "red", "bold"))
    else:
        lines.append(settings.paint(f"The configuration in {settings.config} is well{counted}.", "green"))
    return lines


_STYLE = {"error": ("red",), "warning": ("yellow",)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
