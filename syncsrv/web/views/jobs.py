"""A job as a page shows it: what it is in a sentence, its steps in order, what is to come or was not done. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from syncsrv.control.shapes import JobInfo, JobReply, NodeResult, Status, Step
from syncsrv.control.shapes_page import ReceiptInfo
from syncsrv.web.views.jobtitle import doing, title
from syncsrv.web.views.verdict import MASTER

Course = tuple[tuple[str, str], ...]

RELEASE: Course = (("commit what is pending", "Commit what is pending"), ("tag", "Tag"))
APPLY: Course = (
    ("fetch", "Fetch the tag"),
    ("verify", "Verify the tag"),
    ("record what is live", "Record what is live"),
    ("plan", "Plan"),
    ("guards", "Guards"),
    ("check", "Run the checks"),
    ("journal", "Write the journal"),
    ("write", "Write the files"),
    ("read back", "Read back"),
    ("commit", "Commit"),
    ("services", "Tell the services"),
    ("read again", "Read again"),
    ("known-good", "Known good, receipt"),
)
"""What a run goes through: the beginning of a step's name, and what it is called before it is there."""

_ACTIONS = ("start ", "stop ", "restart ", "reload ")
_AREAS = re.compile(r"\(([^()]*)\)\Z")
_FORGED = re.compile(r"\n(?! )")
"""A line end that is part of a file's name: where guards list several lines, those are indented."""
_GONE = "not heard of again"
OPEN = frozenset({"running", "failed", _GONE})
"""Results of steps whose output is shown unfolded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One step: ``first`` is its output where that is one line, else ``output`` has it; ``remedy``: of a failed one."""

    node: str
    name: str
    result: str
    seconds: float
    first: str
    output: str
    remedy: str = ""

    @property
    def is_open(self) -> bool:
        return self.result in OPEN


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one node."""

    node: str
    result: str
    reason: str
    remedy: str
    guards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A whole job.

    Attributes:
        title: its sentence; the page's heading.
        kind: the colour of the whole.
        rows: the steps so far.
        rest: names of the steps that have not begun.
        running: whether it still runs.
        ended: per node, once it has ended; what went well last.
        areas: as far as its steps tell.
        undo: what Abort leaves behind.
    """

    title: str
    kind: str
    rows: tuple[Row, ...]
    rest: tuple[str, ...]
    running: bool
    ended: tuple[Ended, ...]
    areas: tuple[str, ...]
    undo: str

    @property
    def done(self) -> int:
        """How many steps have ended."""
        return sum(row.result != "running" for row in self.rows)

    @property
    def total(self) -> int:
        return len(self.rows) + len(self.rest)


def view(job: JobReply, here: str, brought: Collection[str] = (), areas: Collection[str] = ()) -> View:
    """Arrange a job.

    Args:
        job: with all its steps.
        here: the node whose page this is.
        brought: its areas, where it was about some only.
        areas: all that there are.
    """
    running = job.state == "running"
    rows = merged(job.steps, running=running)
    if not rows:  # it ended before its first step
        rows = tuple(_row(name, step) for name, one in job.nodes.items() for step in one.steps)
    return View(
        title=_sentence(title(job, here, brought, areas)),
        kind="todo" if running else worst(one.result for one in job.nodes.values()),
        rows=_with_remedies(rows, job.nodes),
        rest=to_come(job, rows, here),
        running=running,
        ended=tuple(sorted((_ended(name, one) for name, one in job.nodes.items()), key=_bad_first)),
        areas=_areas(rows),
        undo=_undo(job.kind),
    )


def merged(steps: Iterable[tuple[str, Step]], *, running: bool) -> tuple[Row, ...]:
    """Each step once: its beginning is replaced by its end.

    Args:
        steps: as they were told, beginnings and ends.
        running: whether more may come; else a step without an end was lost with whoever did it.
    """
    rows: list[Row] = []
    open_at: dict[tuple[str, str], int] = {}
    for node, step in steps:
        key = (node, step.name)
        if step.result == "running":
            open_at[key] = len(rows)
            rows.append(_row(node, step))
        elif key in open_at:
            rows[open_at.pop(key)] = _row(node, step)
        else:
            rows.append(_row(node, step))
    if not running:
        rows = [replace(row, result=_GONE) if row.result == "running" else row for row in rows]
    return tuple(rows)


def _row(node: str, step: Step) -> Row:
    said = step.output.strip("\n")
    short = "\n" not in said and len(said) <= 300
    return Row(node, step.name, step.result, step.seconds, said if short else "", "" if short else said)


def _with_remedies(rows: tuple[Row, ...], nodes: Mapping[str, NodeResult]) -> tuple[Row, ...]:
    """The remedy of a node stands under its first failed step; where only another node's step failed, under that."""
    found = list(rows)
    for node, result in nodes.items():
        if result.remedy and result.result not in {"done", "unchanged"}:
            failed = [at for at, row in enumerate(found) if row.result == "failed"]
            own = [at for at in failed if found[at].node == node] or failed
            if own and not found[own[0]].remedy:
                found[own[0]] = replace(found[own[0]], remedy=result.remedy)
    return tuple(found)


def to_come(job: JobReply, rows: Sequence[Row], here: str) -> tuple[str, ...]:
    """The steps that a run has not come to, by what it usually goes through; of several nodes, the one furthest."""
    over = job.state != "running" and all(one.result in {"done", "unchanged"} for one in job.nodes.values())
    if over or job.kind not in {"sync", "rollback"}:
        return ()
    course: Course = APPLY if job.kind == "sync" else APPLY[2:]
    if job.kind == "sync" and any(row.name == RELEASE[0][0] and row.node == here for row in rows):
        course = RELEASE + course
    if "dry run" in job.subject:
        course = tuple(one for one in course if one not in APPLY[6:])
    reached = -1
    for row in rows:
        for at, (begins, _) in enumerate(course):
            if _is(row.name, begins):
                reached = max(reached, at)
    return tuple(words for _, words in course[reached + 1 :])


def _is(name: str, begins: str) -> bool:
    if begins == "services":
        return name.startswith(_ACTIONS)
    return name.startswith("check ") if begins == "check" else name == begins


def _ended(node: str, one: NodeResult) -> Ended:
    reason = _FORGED.sub("␊", one.reason) if one.guards else one.reason  # it names files; their names are no new lines
    return Ended(node, one.result, reason, one.remedy, one.guards)


_ORDER = ("failed", "refused", "unreachable", "done", "unchanged")


def _bad_first(one: Ended) -> tuple[int, str]:
    return (_ORDER.index(one.result) if one.result in _ORDER else 0, one.node)


def worst(results: Iterable[str]) -> str:
    """The colour of several results."""
    found = set(results)
    for result, kind in (("failed", "bad"), ("refused", "warn"), ("unreachable", "off")):
        if result in found:
            return kind
    return "ok" if found <= {"done", "unchanged"} and found else "off"


def _areas(rows: Sequence[Row]) -> tuple[str, ...]:
    """From what the master said when it tagged."""
    for row in rows:
        found = _AREAS.search(row.first) if row.name == "tag" and row.result == "done" else None
        if found:
            return tuple(found[1].split(", "))
    return ()


def _undo(kind: str) -> str:
    if kind in {"sync", "rollback"}:
        return (
            "It stops before its next step. What it has written by then is put back, and services that have "
            "read it are told to read what was there before."
        )
    return "It stops before the next service. What was started, stopped or restarted by then stays so."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("all services") else text


# -- the list


@dataclass(frozen=True, slots=True)
class Line:
    """One job of the list."""

    job: str
    what: str
    at: str
    by: str
    origin: str
    running: bool
    results: tuple[tuple[str, str], ...]
    reason: str = ""


def lines(jobs: Iterable[JobInfo], receipts: Iterable[ReceiptInfo], here: str) -> tuple[Line, ...]:
    """Running ones first, then by age; what core remembers, then what only the receipts do."""
    known = [_of_info(job, here) for job in jobs]
    seen = {line.job for line in known}
    older: list[Line] = []
    for one in receipts:
        if one.job and one.job not in seen:
            seen.add(one.job)
            older.append(_of_receipt(one, here))
    ended = sorted([line for line in known if not line.running] + older, key=lambda line: line.at, reverse=True)
    return tuple([line for line in known if line.running] + ended)


def _of_info(job: JobInfo, here: str) -> Line:
    said = doing(job.kind, job.subject, job.tag, here)
    running = job.state == "running"
    return Line(job.job, said, job.at, job.requested_by, job.origin, running, tuple(job.results.items()))


def _of_receipt(one: ReceiptInfo, here: str) -> Line:
    said = doing(one.kind, one.subject, one.tag, here)
    return Line(one.job, said, one.at, one.requested_by, one.origin, False, tuple(one.nodes.items()), one.why)


# -- what it was about, and what comes next


def brought(job: JobReply, status: Status) -> tuple[str, ...]:
    """The areas that a sync of some areas brought; empty where it was of all, or where that is not known any more."""
    if job.kind != "sync":
        return ()
    asked = job.subject.removesuffix(" (dry run)").partition(": ")[2]
    if asked:
        return _areas(merged(job.steps, running=False)) or tuple(asked.split(", "))
    last = status.sync.last
    if status.role == MASTER or last is None or last.job != job.job:
        return ()
    return tuple(area for area, tag in status.sync.areas.items() if tag == job.tag)


def nexts(job: JobReply, status: Status) -> tuple[tuple[str, str, str], ...]:
    """What an operator does after it, as label, address and icon."""
    if job.state == "running" or status.role != MASTER or "dry run" in job.subject:
        return ()
    own = job.nodes.get(status.node)
    if job.kind == "rollback" and own is not None and own.result == "done":
        backups = [name for name, one in status.peers.items() if one.role != MASTER]
        return tuple((f"Synchronize {name}…", "/changes?" + urlencode({"node": name}), "sync") for name in backups)
    checked = any(step.name.startswith("check ") and step.result == "failed" for _, step in job.steps)
    return ((f"Roll back {status.node}…", "/history", "back"),) if job.kind == "sync" and checked else ()
