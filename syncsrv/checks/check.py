"""Run the areas' own checks (``nginx -t``, ``nft -c``) on the stage, before anything live is touched.

As root each runs isolated (sandbox.py); else, and where the kernel refuses that, on the folder stage, and the result
says so. What a check says is shown as it said it.
"""

from __future__ import annotations

import enum
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncsrv.checks import confine
from syncsrv.checks.stage import Stage
from syncsrv.plan.tree import Tree
from syncsrv.process import Stop

DEADLINE_S = 60.0
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of every check and hook."""

_SENTENCE_LINES = 4
_SENTENCE_OUTPUT = 600
"""What of a check's words is repeated in the sentence: its last lines, since many say the reason before "failed"."""

STAGE_WORD = "{stage}"
"""Replaced in every argument, wherever it stands; other braces stay."""


class Status(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one area's check said.

    Attributes:
        area: its name.
        argv: as executed.
        status: ok, failed, timeout or missing.
        output: what it printed, at most 64 KiB, undecodable bytes as escapes.
        seconds: from the start to the end, isolation included.
        isolated: whether it saw the staged files at their real paths.
        note: what a reader should know about how it ran; empty where all is as it should be.
        why: for a status other than ok the end of the sentence: ``exited with 1``.
    """

    area: str
    argv: tuple[str, ...]
    status: Status
    output: str
    seconds: float
    isolated: bool
    note: str = ""
    why: str = ""

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def command(self) -> str:
        """The argv as one would type it."""
        return shlex.join(self.argv)

    @property
    def remedy(self) -> str:
        match self.status:
            case Status.OK:
                return ""
            case Status.MISSING:
                return f"install {self.argv[0]} on this node, or correct the check of area {self.area} in cluster.yaml"
            case Status.TIMEOUT:
                return f"run `{self.command}` by hand to see what it waits for"
            case Status.FAILED:
                return "correct the files that it names"

    def sentence(self) -> str:
        """What happened, with the check's own last words."""
        if self.ok:
            return f"its check `{self.command}` is content"
        lines = [line.strip() for line in self.output[-_SENTENCE_OUTPUT:].splitlines() if line.strip()]
        said = " | ".join(lines[-_SENTENCE_LINES:])
        return f"its check `{self.command}` {self.why}" + (f": {said}" if said else "")

    def shown(self) -> str:
        """The whole output and the note, for a job's step."""
        return "\n".join(part for part in (self.output.rstrip("\n"), self.note and f"({self.note})") if part)


@dataclass(frozen=True, slots=True)
class Checker:
    """Stages planned results and runs checks on them, for one node.

    Attributes:
        node: its name.
        root: the managed root.
        workspace: directory for stages, ours alone: ``state_dir/stage``.
        read_blob: content by id.
        hidden: what no check may see: state_dir, the configuration directory, run_dir.
        deadline_s: for each check.
        isolate: False forbids isolation (for tests).
    """

    node: str
    root: Path
    workspace: Path
    read_blob: Callable[[str], bytes]
    hidden: Sequence[Path] = ()
    deadline_s: float = DEADLINE_S
    isolate: bool = True

    def run(
        self,
        planned: Tree,
        live: Tree,
        tops: Mapping[str, Sequence[bytes]],
        checks: Mapping[str, Sequence[str]],
        stop: Stop | None = None,
    ) -> Iterator[CheckResult]:
        """Stage ``planned`` and run each area's check, yielding each result as it comes.

        Args:
            planned: the areas as they would be.
            live: the same areas as they are.
            tops: tree paths per area; of every area in ``planned``.
            checks: argv per area.
            stop: ends the check that runs; whoever asked for that looks at no result.

        Raises:
            StageError, FileError: the stage could not be built.
        """
        every = [top for of_area in tops.values() for top in of_area]
        with Stage(
            self.workspace,
            root=self.root,
            planned=planned,
            live=live,
            tops=every,
            read_blob=self.read_blob,
            hidden=self.hidden,
        ) as stage:
            for area, argv in checks.items():
                yield run_check(
                    stage, area, argv, node=self.node, deadline_s=self.deadline_s, isolate=self.isolate, stop=stop
                )


def run_checks(
    stage: Stage,
    checks: Mapping[str, Sequence[str]],
    *,
    node: str,
    deadline_s: float = DEADLINE_S,
    isolate: bool = True,
) -> list[CheckResult]:
    """Run every area's check on one stage.

    Args:
        stage: the planned result.
        checks: argv per area.
        node: this node's name.
        deadline_s: for each.
        isolate: False forbids isolation.

    Raises:
        StageError, FileError: the stage could not be built.
    """
    return [
        run_check(stage, area, argv, node=node, deadline_s=deadline_s, isolate=isolate) for area, argv in checks.items()
    ]


def run_check(
    stage: Stage,
    area: str,
    argv: Sequence[str],
    *,
    node: str,
    deadline_s: float = DEADLINE_S,
    isolate: bool = True,
    stop: Stop | None = None,
) -> CheckResult:
    """Run one area's check, isolated if that can be had.

    Raises:
        StageError, FileError: the stage could not be built.
    """
    refused = confine.why_not_isolated() if isolate else "isolation is switched off"
    if not refused:
        seen_at = os.fspath(stage.root).rstrip("/")
        program = _program(area, argv, seen_at, stage.root, node, deadline_s, stop)
        ended = confine.isolated(stage, program)
        if not ended.refused:
            return _result(area, program, ended, isolated=True, note="; ".join(ended.notes))
        refused = ended.refused
    program = _program(area, argv, os.fspath(stage.folder()), stage.root, node, deadline_s, stop)
    ended = confine.plainly(stage.directory("reports"), program)
    note = f"not isolated, {refused}: absolute includes were read from the live system"
    return _result(area, program, ended, isolated=False, note="; ".join([note, *stage.notes]))


def run_in_folder(
    folder: Path, area: str, argv: Sequence[str], *, reports: Path, node: str, deadline_s: float = DEADLINE_S
) -> CheckResult:
    """Run one area's check on a folder that mirrors the managed root already, such as an operator's clone.

    Args:
        folder: stands for ``{stage}``.
        area: its name.
        argv: its check.
        reports: a directory of ours.
        node: for the check's environment.
        deadline_s: seconds that it may take.
    """
    program = _program(area, argv, os.fspath(folder), folder, node, deadline_s)
    note = "absolute includes were read from this machine"
    return _result(area, program, confine.plainly(reports, program), isolated=False, note=note)


def _program(
    area: str,
    argv: Sequence[str],
    stage: str,
    root: Path,
    node: str,
    deadline_s: float,
    stop: Stop | None = None,
) -> confine.Program:
    environment = {
        "PATH": SEARCHED,
        "LANG": "C.UTF-8",
        "STAGE": stage,
        "ROOT": os.fspath(root),
        "AREA": area,
        "NODE": node,
    }
    return confine.Program(tuple(one.replace(STAGE_WORD, stage) for one in argv), environment, deadline_s, stop)


def _result(area: str, program: confine.Program, ended: confine.Ended, *, isolated: bool, note: str) -> CheckResult:
    if ended.missing:
        status, why = Status.MISSING, f"cannot be run ({ended.missing})"
    elif ended.refused:
        status, why = Status.FAILED, f"could not be started ({ended.refused})"
    elif ended.timeout:
        status, why = Status.TIMEOUT, f"did not end within {program.deadline_s:g} s"
    elif ended.exit:
        status, why = Status.FAILED, _how(ended.exit)
    else:
        status, why = Status.OK, ""
    return CheckResult(area, program.argv, status, ended.output, ended.seconds, isolated, note, why)


def _how(exit_status: int) -> str:
    if exit_status > 0:
        return f"exited with {exit_status}"
    try:
        return f"was ended by {signal.Signals(-exit_status).name}"
    except ValueError:
        return f"was ended by signal {-exit_status}"
