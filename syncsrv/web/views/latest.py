"""What happened last, jobs and commits together, newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncsrv.control.shapes import JobInfo
from syncsrv.control.shapes_history import LogEntry
from syncsrv.plan.words import counted, listed


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: ok, todo, warn, bad, off, or empty for a commit.
        at: RFC 3339.
        href: where it is told in full.
        tag: the tag it was about.
    """

    at: str
    kind: str
    icon: str
    text: str
    href: str
    note: str = ""
    tag: str = ""


_RESULTS = {
    "done": ("ok", "ok"),
    "unchanged": ("ok", "same"),
    "failed": ("bad", "bad"),
    "refused": ("warn", "lock"),
    "unreachable": ("off", "broken"),
}
_WORST = ("failed", "refused", "unreachable", "done", "unchanged")


def latest(jobs: Sequence[JobInfo], commits: Sequence[LogEntry], count: int = 6) -> tuple[Event, ...]:
    """The newest events; of two at the same moment the job first."""
    events = [of_job(job) for job in jobs] + [_of_commit(entry) for entry in commits]
    return tuple(sorted(events, key=lambda event: event.at, reverse=True)[:count])


def of_job(job: JobInfo) -> Event:
    """A job as an event."""
    by = job.requested_by or "nobody named"
    note = f"{by}, from {job.origin}" if job.origin else by
    text = f"{job.kind.capitalize()} {job.subject}".strip()
    href = f"/jobs/{job.job}"
    if job.state == "running":
        return Event(job.at, "todo", "running", f"{text} is under way", href, note, job.tag or "")
    words = sorted(job.results.values(), key=lambda one: _WORST.index(one) if one in _WORST else -1)
    kind, icon = _RESULTS.get(words[0], ("off", "unknown")) if words else ("off", "unknown")
    said = listed(f"{node} {result}" for node, result in sorted(job.results.items()))
    return Event(job.at, kind, icon, text, href, f"{said} · {note}" if said else note, job.tag or "")


def _of_commit(entry: LogEntry) -> Event:
    note = f"{entry.author} · {entry.via} · {counted(len(entry.paths), 'path')}"
    return Event(entry.at, "", "commit", entry.subject, f"/history/{entry.commit}", note, max(entry.tags, default=""))
