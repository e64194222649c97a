"""The line: the last tags and the waiting commits from old to new, with a flag where each node stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from syncsrv.control.shapes import PeerInfo, Status, SyncInfo
from syncsrv.control.shapes_history import LogEntry
from syncsrv.plan.words import counted
from syncsrv.web.views.place import by_number, place
from syncsrv.web.views.verdict import MASTER, master_of

POINTS = 5
"""More are folded in the middle."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A node that stands at a point; ``lost``: as last known; ``note``: what else it has."""

    node: str
    master: bool
    lost: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the line.

    Attributes:
        title: a tag, or a commit's subject.
        is_tag: which of the two.
        commit: its id.
        who: the author of a commit without a tag.
        at: when it was made: a tag's own time, not its commit's.
        note: untagged, what differs, or nothing.
        flags: who stands here.
        ahead: what follows is not on every node.
        new: it is not on every node itself.
        folded: how many points this one stands for; 0 for itself.
        more: other tags at the same commit.
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
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stand:
    """A backup at a tag; ``drift``: how many files differ there, in words, or nothing."""

    flag: Flag
    tag: str
    drift: str


def line(status: Status, entries: Sequence[LogEntry]) -> tuple[Point, ...]:
    """The points.

    Args:
        status: this node's.
        entries: the master's history, newest first, as far as it is known.
    """
    stands = _stands(status)
    names = {tag for entry in entries for tag in entry.tags}
    last = next((at for at, entry in enumerate(entries) if entry.tags), len(entries))
    waiting, older = entries[:last], [entry for entry in entries[last:] if entry.tags]
    points = _before(stands, "", "nothing yet")
    points += [one for tag in stands if tag and tag not in names for one in _before(stands, tag, "older than shown")]
    for entry in reversed(older):
        newest, *more = sorted(entry.tags, key=by_number, reverse=True)
        here = [stand for tag in entry.tags for stand in stands.get(tag, ())]
        points += [_apart(stand) for stand in here if stand.drift]
        flags = tuple(stand.flag for stand in here if not stand.drift)
        points.append(Point(newest, True, entry.commit, at=entry.tagged_at or entry.at, flags=flags, more=tuple(more)))
    for entry in reversed(waiting):
        points.append(Point(entry.subject, False, entry.commit, entry.author, entry.at, "untagged"))
    if not entries:
        return ()
    master = master_of(status)
    if master:
        lost = status.role != MASTER and not status.peers[master].reachable
        points[-1] = replace(points[-1], flags=(Flag(master, True, lost), *points[-1].flags))
    return _folded(_marked(points))


def _stands(status: Status) -> Mapping[str, list[Stand]]:
    """Tag to the backups that are there; the empty one for those that have none."""
    found: dict[str, list[Stand]] = {}
    for name, peer in status.peers.items():
        if peer.role != MASTER and (status.role == MASTER or peer.applied_tag):
            _put(found, name, peer, not peer.reachable)
    if status.role != MASTER:
        _put(found, status.node, status.sync, False)
    return found


def _put(found: dict[str, list[Stand]], node: str, one: PeerInfo | SyncInfo, lost: bool) -> None:
    """Where an area lags, its node is not at the newest tag that it has something of."""
    at = place(one.applied_tag, one.areas, one.lacks)
    note = f"has {at.partly}" if at.partly else ""
    drift = counted(len(one.drift), "file") if one.drift else "changed" if one.state in {"drifted", "diverged"} else ""
    found.setdefault(at.tag, []).append(Stand(Flag(node, False, lost, note), at.tag, drift))


def _before(stands: Mapping[str, list[Stand]], tag: str, title: str) -> list[Point]:
    """A place of its own for who stands at no tag that is shown."""
    here = stands.get(tag, [])
    flags = tuple(stand.flag for stand in here if not stand.drift)
    return [_apart(stand) for stand in here if stand.drift] + ([Point(title, flags=flags)] if flags else [])


def _apart(stand: Stand) -> Point:
    """Who was changed since stands at no tag."""
    return Point(f"drifted from {stand.tag}" if stand.tag else "drifted", note=stand.drift, flags=(stand.flag,))


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
