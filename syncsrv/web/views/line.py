"""The line: the last tags and the waiting commits from old to new, with a flag where each node stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from syncsrv.control.shapes import LogEntry, Status
from syncsrv.web.views.verdict import MASTER, master_of

POINTS = 5
"""More are folded in the middle."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A node that stands at a point; ``lost``: as last known."""

    node: str
    master: bool
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the line.

    Attributes:
        title: a tag, or a commit's subject.
        is_tag: which of the two.
        commit: its id.
        who: the author of a commit without a tag.
        at: when it was made.
        note: known good, untagged or nothing.
        flags: who stands here.
        ahead: what follows is not on every node.
        new: it is not on every node itself.
        folded: how many points this one stands for; 0 for itself.
    """

    title: str
    is_tag: bool = False
    commit: str = ""
    who: str = ""
    at: str | None = None
    note: str = ""
    flags: tuple[Flag, ...] = ()
    ahead: bool = False
    new: bool = False
    folded: int = 0


def line(status: Status, entries: Sequence[LogEntry]) -> tuple[Point, ...]:
    """The points.

    Args:
        status: this node's.
        entries: the master's history, newest first, as far as it is known.
    """
    flags = _flags(status)
    names = {tag for entry in entries for tag in entry.tags}
    last = next((at for at, entry in enumerate(entries) if entry.tags), len(entries))
    waiting, older = entries[:last], [entry for entry in entries[last:] if entry.tags]
    points = [Point("nothing yet", flags=flags[""])] if "" in flags else []
    strangers = tuple(flag for tag, some in flags.items() for flag in some if tag and tag not in names)
    if strangers:
        points.append(Point("older than shown", flags=strangers))
    for entry in reversed(older):
        tag = _shown(entry.tags, flags)
        points.append(Point(tag, True, entry.commit, at=entry.at, flags=_at_any(flags, entry.tags)))
    for entry in reversed(waiting):
        points.append(Point(entry.subject, False, entry.commit, entry.author, entry.at, "untagged"))
    if not entries:
        return ()
    master = master_of(status)
    if master:
        lost = status.role != MASTER and not status.peers[master].reachable
        points[-1] = replace(points[-1], flags=(Flag(master, True, lost), *points[-1].flags))
    return _folded(_marked(points))


def _flags(status: Status) -> Mapping[str, tuple[Flag, ...]]:
    """Tag to the backups that have it applied; the empty one for those that have none."""
    found: dict[str, tuple[Flag, ...]] = {}
    for name, peer in status.peers.items():
        if peer.role != MASTER and (status.role == MASTER or peer.applied_tag):
            found[peer.applied_tag or ""] = (
                *found.get(peer.applied_tag or "", ()),
                Flag(name, False, not peer.reachable),
            )
    if status.role != MASTER:
        tag = status.sync.applied_tag or ""
        found[tag] = (*found.get(tag, ()), Flag(status.node, False))
    return found


def _at_any(flags: Mapping[str, tuple[Flag, ...]], tags: tuple[str, ...]) -> tuple[Flag, ...]:
    return tuple(flag for tag in tags for flag in flags.get(tag, ()))


def _shown(tags: tuple[str, ...], flags: Mapping[str, tuple[Flag, ...]]) -> str:
    """Of several tags at one commit the one that a node has, else the newest."""
    return next((tag for tag in tags if tag in flags), max(tags))


def _marked(points: list[Point]) -> list[Point]:
    """From the hindmost backup on everything is ahead; only what comes after it is new."""
    behind = [at for at, point in enumerate(points) if any(not flag.master for flag in point.flags)]
    start = min(behind, default=0)
    return [replace(point, ahead=at >= start, new=at > start) for at, point in enumerate(points)]


def _folded(points: list[Point]) -> tuple[Point, ...]:
    """Keep every flag, the ends and what fits; the rest becomes one point."""
    while len(points) > 1 and not points[0].flags and len(points) > POINTS and points[0].is_tag:
        points = points[1:]
    if len(points) <= POINTS:
        return tuple(points)
    keep = {0, len(points) - 1, *(at for at, point in enumerate(points) if point.flags)}
    for at in range(len(points) - 1, -1, -1):
        if len(keep) >= POINTS - 1:
            break
        keep.add(at)
    found: list[Point] = []
    for at, point in enumerate(points):
        if at in keep:
            found.append(point)
        elif found and found[-1].folded:
            found[-1] = replace(found[-1], folded=found[-1].folded + 1, title=f"+{found[-1].folded + 1}")
        else:
            found.append(Point("+1", folded=1, ahead=point.ahead, new=point.new))
    return tuple(found)
