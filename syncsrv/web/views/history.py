"""The history of a node as the page lists it: one row a commit, with who stands where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from syncsrv.control.shapes import Status
from syncsrv.control.shapes_history import LogEntry
from syncsrv.plan.words import counted
from syncsrv.web.views.linehtml import visible
from syncsrv.web.views.times import moment

WAYS = {
    "watch": "Edited on the node",
    "cli": "Command line",
    "web": "This page",
    "push": "Pushed with Git",
    "sync": "Synchronized",
    "rollback": "Rolled back",
    "adopt": "Adopted",
}
"""How a commit came to be, in words."""

_MARKED = {"sync": ("ok", "sync"), "rollback": ("warn", "back"), "adopt": ("todo", "pencil")}
_SHORT = 7


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the list asks for.

    Attributes:
        node: whose history; this node's where empty.
        path, area, person, via: filters; empty for all.
        before: commit behind which the page begins.
        a, b: revisions that are chosen to be compared.
    """

    node: str = ""
    path: str = ""
    area: str = ""
    person: str = ""
    via: str = ""
    before: str = ""
    a: str = ""
    b: str = ""

    def to(self, **changes: str) -> str:
        """The address of the list with something else asked for."""
        query = urlencode({name: value for name, value in {**self.fields(), **changes}.items() if value})
        return f"/history?{query}" if query else "/history"

    def fields(self) -> dict[str, str]:
        """What is asked for, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def is_filtered(self) -> bool:
        return bool(self.path or self.area or self.person or self.via)


@dataclass(frozen=True, slots=True)
class Stand:
    """A node that stands at a commit; ``lost``: as it was last known."""

    node: str
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One commit.

    Attributes:
        day: where another day begins than in the row above.
        time: UTC, hours and minutes.
        way: how it came to be, in words; ``kind`` and ``icon`` for those that are marked, else empty.
        paths: what it changed, in a few words.
        here: nodes that stand here.
        rollback: whether this node can be rolled back to it.
    """

    commit: str
    short: str
    day: str
    time: str
    at: str
    subject: str
    who: str
    way: str
    kind: str
    icon: str
    paths: str
    areas: tuple[str, ...]
    tags: tuple[str, ...]
    here: tuple[Stand, ...]
    rollback: bool


def rows(entries: Iterable[LogEntry], status: Status, node: str, now: datetime, *, first: bool) -> list[Row]:
    """The list.

    Args:
        entries: newest first.
        status: where the nodes stand.
        node: whose history it is.
        now: for the names of days.
        first: the list begins with the newest commit of all.
    """
    found: list[Row] = []
    day = None
    for number, one in enumerate(entries):
        then = (moment(one.at) or now).astimezone(UTC)
        new_day = then.date() != day
        day = then.date()
        kind, icon = _MARKED.get(one.via, ("", ""))
        here = stands(one, status, node, newest=first and number == 0)
        found.append(
            Row(
                commit=one.commit,
                short=one.commit[:_SHORT],
                day=_day(then, now) if new_day else "",
                time=f"{then:%H:%M}",
                at=one.at,
                subject=visible(one.subject),
                who=who(one),
                way=WAYS.get(one.via, visible(one.via)),
                kind=kind,
                icon=icon,
                paths=_paths(one.paths),
                areas=one.areas,
                tags=tuple(visible(tag) for tag in one.tags),
                here=here,
                rollback=why_no_rollback(one, status, node) == "",
            )
        )
    return found


def who(one: LogEntry) -> str:
    """``alice on fw1``, or ``fw1`` for what a node committed by itself."""
    return visible(one.author if one.author == one.node else f"{one.author} on {one.node}")


def stands(one: LogEntry, status: Status, node: str, *, newest: bool) -> tuple[Stand, ...]:
    """Which nodes stand at a commit, as far as status tells."""
    found = []
    if status.head is not None and one.commit == status.head.commit:
        found.append(Stand(status.node, f"live on {status.node}"))
    elif newest and node != status.node:
        found.append(Stand(node, f"the newest known of {node}"))
    for name, peer in status.peers.items():
        if name != node and peer.applied_tag in one.tags:
            found.append(
                Stand(name, f"{name} stands here" if peer.reachable else f"{name} stood here", not peer.reachable)
            )
    if node != status.node and status.role != "master" and status.sync.applied_tag in one.tags:
        found.append(Stand(status.node, f"{status.node} stands here"))
    return tuple(found)


def why_no_rollback(one: LogEntry, status: Status, node: str) -> str:
    """Why this node is not offered to be rolled back to a commit; empty where it is."""
    if status.head is not None and one.commit == status.head.commit:
        return f"it is what is live on {status.node}"
    if node != status.node and not one.tags:
        return f"it was never live on {status.node}; {node} can be rolled back to it on its own page"
    return ""


def _paths(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return visible(paths[0])
    return counted(len(paths), "path") if paths else "no path of an area"


def _day(then: datetime, now: datetime) -> str:
    name = f"{then:%A} {then.day} {then:%B}"
    days = (now.astimezone(UTC).date() - then.date()).days
    if days in (0, 1):
        return f"{('Today', 'Yesterday')[days]}, {name}"
    return name if then.year == now.astimezone(UTC).year else f"{name} {then.year}"


def file_address(commit: str, path: str, *, download: bool = False) -> str:
    """Where the file at a commit is shown."""
    return f"/history/{commit}/file?path={quote(path, safe='/')}{'&download=1' if download else ''}"


def chosen(asked: Asked, listed: Sequence[Row]) -> tuple[str, str]:
    """A and B: as asked for, else the newest against the newest tag below it, or against the one before it."""
    b = asked.b or (listed[0].commit if listed else "")
    rest = [row for row in listed if row.commit != b]
    a = asked.a or next((row.commit for row in rest if row.tags), rest[0].commit if rest else "")
    return a, b
