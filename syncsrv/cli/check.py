"""``syncsrv check``: every problem of the configuration, or that it is well; with --tree, what an area's checks say."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncsrv.cli.output import Settings, pass_settings, printable
from syncsrv.clock import SystemClock, rfc3339
from syncsrv.errors import UsageError

if TYPE_CHECKING:
    from syncsrv.checks.check import CheckResult
    from syncsrv.config.model import Schedule
    from syncsrv.config.problem import Problem

RUNS_SHOWN = 3


@click.command()
@click.option(
    "--cluster",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Check this file as cluster.yaml, with this node's other files.",
)
@click.option(
    "--tree",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run the areas' checks on DIR, the top of a clone of a node's repository.",
)
@pass_settings
def command(settings: Settings, cluster: Path | None, tree: Path | None) -> int:
    """Check the configuration files.

    Prints every problem as FILE:LINE:COL: KEY.PATH: cannot ..., and warnings; where it is well, also the next three
    runs of each schedule. Exit status 2 where there are problems, 0 where there are none or only warnings; with
    --tree, 1 where a check is not content.
    """
    from syncsrv.config.load import load
    from syncsrv.config.problem import ConfigurationError

    if tree is not None:
        if cluster is not None:
            raise UsageError(
                "cannot check with --tree and --cluster: a tree has its own cluster.yaml", "give one of them"
            )
        return _check_tree(settings, tree)
    schedules: tuple[Schedule, ...] = ()
    try:
        found = load(settings.config, cluster_file=cluster and Path(os.path.abspath(cluster)))
        problems, schedules, status = found.warnings, found.cluster.schedules, 0
    except ConfigurationError as error:
        problems = error.problems
        status = error.exit_status
    runs = _next_runs(schedules)
    settings.show(
        {"problems": [_as_data(problem) for problem in problems], "ok": status == 0, "schedules": runs},
        lambda: "\n".join([*_lines(settings, problems, status, cluster), *_run_lines(runs)]),
    )
    return status


def _check_tree(settings: Settings, directory: Path) -> int:
    from syncsrv.checks.clonecheck import read_tree

    results = []
    for result in read_tree(directory).run():
        results.append(result)
        if not settings.as_json:
            print("\n".join(_result_lines(settings, result)))
    well = all(result.ok for result in results)
    data = [
        {
            "area": result.area,
            "argv": list(result.argv),
            "status": result.status.value,
            "output": result.output,
            "seconds": round(result.seconds, 3),
            "note": result.note,
            "reason": "" if result.ok else result.sentence(),
            "remedy": result.remedy,
        }
        for result in results
    ]
    settings.show(
        {"checks": data, "ok": well},
        lambda: "" if results else f"No area in {directory} has a check.",
    )
    return 0 if well else 1


def _result_lines(settings: Settings, result: CheckResult) -> list[str]:
    if result.ok:
        return [settings.paint(f"{result.area}: {printable(result.sentence())}", "green")]
    said = [printable(line) for line in result.output.splitlines()]
    failed = f"cannot pass area {result.area}: its check `{result.command}` {result.why}"
    return [*said, settings.paint(printable(failed), "red", "bold"), result.remedy]


def _as_data(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key_path,
        "message": problem.message,
        "severity": problem.severity.value,
    }


def _next_runs(schedules: tuple[Schedule, ...]) -> list[dict[str, Any]]:
    """What each schedule is, and when it fires next."""
    from syncsrv.config.cron import next_runs, parse_cron

    now = SystemClock().utc()
    return [
        {
            "name": f"{schedule.do} {number}",
            "cron": schedule.cron,
            "soak_s": schedule.soak_s,
            "owner": schedule.owner,
            "next": [rfc3339(at) for at in islice(next_runs(parse_cron(schedule.cron), now), RUNS_SHOWN)],
        }
        for number, schedule in enumerate(schedules, 1)
    ]


def _run_lines(runs: list[dict[str, Any]]) -> list[str]:
    lines = [f"  {run['name']} ({run['cron']}) for {printable(run['owner'])}: {', '.join(run['next'])}" for run in runs]
    return ["Schedules, once an admin has turned them on on the master, next run at:", *lines] if lines else []


def _lines(settings: Settings, problems: tuple[Problem, ...], status: int, cluster: Path | None) -> list[str]:
    lines = [settings.paint(printable(str(problem)), *_STYLE[problem.severity.value]) for problem in problems]
    warnings = sum(problem.severity.value == "warning" for problem in problems)
    errors = len(problems) - warnings
    counted = f", {_count(warnings, 'warning')}" if warnings else ""
    if status:
        lines.append(settings.paint(f"{_count(errors, 'problem')}{counted}", "red", "bold"))
    else:
        checked = f"{cluster} is well as cluster.yaml of" if cluster else "The configuration in"
        end = "" if cluster else " is well"
        lines.append(settings.paint(f"{checked} {settings.config}{end}{counted}.", "green"))
    return lines


_STYLE = {"error": ("red",), "warning": ("yellow",)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
