"""The overview's table of two nodes: row by row, with the sign between. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncsrv.control.shapes import HeadInfo, PeerInfo, Status
from syncsrv.control.shapes_services import ServiceInfo
from syncsrv.plan.words import counted, listed
from syncsrv.web.views import statetable, viprow, well
from syncsrv.web.views.cells import Cell, Row
from syncsrv.web.views.members import Group, Member, groups, members
from syncsrv.web.views.place import place
from syncsrv.web.views.times import moment
from syncsrv.web.views.verdict import MASTER, UNSURE, brief, sentence


@dataclass(frozen=True, slots=True)
class Column:
    """One node, whichever it is.

    Attributes:
        here: it is the node whose page this is.
        lost: nothing was read from it lately, or ever: what stands here is only last known.
        seen_at: when it was read; None for never.
        job: the newest one of those that are remembered that changed it, or does; empty for none.
    """

    name: str
    role: str
    here: bool
    lost: bool
    seen_at: str | None
    version: str | None
    state: str
    reason: str
    remedy: str
    applied_tag: str | None
    behind: int
    drift: tuple[str, ...]
    services: tuple[ServiceInfo, ...]
    known_good: str | None
    areas: Mapping[str, str]
    lacks: tuple[str, ...]
    head: HeadInfo | None = None
    last_tag: str | None = None
    untagged: int = 0
    job: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes beside each other, the master on the left."""

    left: Column
    right: Column
    rows: tuple[Row, ...]


def pairs(status: Status, now: str) -> tuple[Pair, ...]:
    """This node beside each of its peers.

    Args:
        status: this node's.
        now: when it was read, RFC 3339.
    """
    us = own(status, now)
    read_at = moment(now)
    nodes = members(status, read_at) if read_at is not None else ()
    vips = groups(nodes, read_at) if read_at is not None else ()
    by_name = {node.name: node for node in nodes}
    found = []
    for name, one in status.peers.items():
        them = peer(name, one, status)
        left, right = (them, us) if us.role != MASTER and them.role == MASTER else (us, them)
        standing = _standing(by_name[left.name], by_name[right.name], vips) if vips else ()
        found.append(Pair(left, right, (_configuration(left, right), *standing, *_rows(left, right))))
    return tuple(found)


def _standing(left: Member, right: Member, vips: tuple[Group, ...]) -> tuple[Row, ...]:
    return (*viprow.rows(left, right, vips), *statetable.row(left, right))


def own(status: Status, now: str) -> Column:
    """This node as a column."""
    sync = status.sync
    return Column(
        status.node,
        status.role,
        True,
        False,
        now,
        status.version,
        sync.state,
        sync.reason,
        sync.remedy,
        sync.applied_tag,
        sync.behind,
        sync.drift,
        status.services,
        sync.known_good,
        sync.areas,
        sync.lacks,
        status.head,
        status.last_tag,
        status.untagged,
        _job(status, status.node),
    )


def peer(name: str, one: PeerInfo, status: Status) -> Column:
    """A peer as a column."""
    return Column(
        name,
        one.role or "",
        False,
        not one.reachable or one.seen_at is None,
        one.seen_at,
        one.version,
        one.state,
        one.reason,
        one.remedy,
        one.applied_tag,
        one.behind,
        one.drift,
        one.services,
        one.known_good,
        one.areas,
        one.lacks,
        last_tag=status.last_tag if one.role == MASTER else None,
        job=_job(status, name),
    )


def _job(status: Status, node: str) -> str:
    return next((job.job for job in status.jobs if job.state == "running" or node in job.results), "")


def _rows(left: Column, right: Column) -> tuple[Row, ...]:
    services = (_services(left, right),) if left.services or right.services else ()
    return (*services, _software(left, right))


def _configuration(left: Column, right: Column) -> Row:
    follower = right if left.role == MASTER else left
    cells = tuple(
        _leader(one, follower) if one.role == MASTER and one is not follower else _follower(one)
        for one in (left, right)
    )
    if left.lost or right.lost or follower.state in UNSURE:
        return Row("Configuration", cells[0], "unknown", "", cells[1])
    if left.role != MASTER:
        return Row("Configuration", cells[0], "", "", cells[1])
    same = follower.state == "in_sync"
    kind = (
        ""
        if same
        else {"changes_pending": "todo", "awaiting_first_sync": "todo", "syncing": "todo"}.get(
            follower.state, "bad" if follower.state in {"diverged", "blocked", "failed"} else "warn"
        )
    )
    return Row("Configuration", cells[0], "same" if same else "different", kind, cells[1])


def _leader(one: Column, follower: Column) -> Cell:
    """Where the changes are made."""
    if not one.here:
        return Cell("Changes are made here", notes=(sentence(one.reason),))
    subject, at = (one.head.subject, one.head.at) if one.head is not None else ("", None)
    if one.last_tag is None:
        text = "Nothing was tagged yet" if one.head is not None else "Nothing was recorded yet"
        return Cell(text, notes=(subject,) if subject else (), at=at)
    if one.untagged:
        return Cell(f"{counted(one.untagged, 'change')} since", tag=one.last_tag, notes=(f"newest: {subject}",), at=at)
    if follower.lacks and not follower.lost:
        lacks = f"{follower.name} lacks some of it, in {listed(follower.lacks)}"
        return Cell("Everything stands in", tag=one.last_tag, notes=(lacks, subject) if subject else (lacks,), at=at)
    return Cell("Nothing since", tag=one.last_tag, notes=(subject,) if subject else (), at=at)


def _follower(one: Column) -> Cell:
    notes = []
    if one.state not in {"in_sync", "standalone"} and one.reason:
        notes.append(brief(one.reason))
    partly = place(one.applied_tag, one.areas, one.lacks).partly
    if partly:
        notes.append(f"It has {partly}.")
    if one.state in UNSURE and one.remedy:
        notes.append(f"What to check: {one.remedy}.")
    return Cell(_detail(one), state=one.state, tag=one.applied_tag or "", notes=tuple(notes), link=remedy(one))


def _detail(one: Column) -> str:
    if one.state == "drifted" and one.drift:
        return f"Drifted, {counted(len(one.drift), 'file')}"
    return ""


def remedy(one: Column) -> tuple[str, str] | None:
    """The button that helps in a state, where the page has one."""
    changes = f"/changes?node={one.name}"
    job = f"/jobs/{one.job}" if one.job else "/jobs"
    return {
        "changes_pending": (f"See {counted(one.behind, 'change')}" if one.behind else "See the difference", changes),
        "awaiting_first_sync": ("See what it would get", changes),
        "syncing": ("Show steps", job),
        "drifted": ("See drift", "/drift"),
        "rolled_back": ("See why", job),
        "diverged": ("See drift", "/drift"),
        "failed": ("See step", job),
        "blocked": ("See what is in the way", changes),
    }.get(one.state)


def _services(left: Column, right: Column) -> Row:
    cells = tuple(_service_cell(one) for one in (left, right))
    if left.lost or right.lost:
        return Row("Services", cells[0], "unknown", "", cells[1])
    if all(cell.kind == "ok" for cell in cells):
        return Row("Services", cells[0], "same", "", cells[1])
    kind = "bad" if any(cell.kind == "bad" for cell in cells) else "warn"
    return Row("Services", cells[0], "different", kind, cells[1])


def _service_cell(one: Column) -> Cell:
    if not one.services:
        return Cell("none told" if one.lost else "none configured", kind="off", icon="later")
    running = [service for service in one.services if service.state in {"running", "starting"}]
    ill, old = well.unwell(one.services), well.stale(one.services)
    count = f"{len(running)} of {len(one.services)} running"
    link = ("See services", "/services")
    if ill:
        reasons = tuple(f"{service.name}: {service.reason}" for service in ill[:3] if service.reason)
        kind = well.troubles(one.name, one.role, ill)[0].kind
        text = f"{'Stopped' if all(s.state == 'stopped' for s in ill) else 'Not well'}: {listed(s.name for s in ill)}"
        return Cell(text, kind=kind, icon=kind, notes=(*reasons, count), link=link)
    if old:
        why = tuple(f"{service.name}: {service.pending_why}" for service in old[:3] if service.pending_why)
        text = f"Restart pending: {listed(service.name for service in old)}"
        return Cell(text, kind="warn", icon="again", notes=(*why, count), link=link)
    if len(running) < len(one.services):
        still = listed(service.name for service in one.services if service not in running)
        return Cell(count, kind="off", icon="pause", notes=(f"stopped, as set: {still}",))
    if any(service.health not in {"ok", "none"} for service in running):
        new = listed(service.name for service in running if service.health not in {"ok", "none"})
        return Cell(count, kind="off", icon="unknown", notes=(f"health not known yet: {new}",))
    return Cell(count, kind="ok", icon="ok")


def _software(left: Column, right: Column) -> Row:
    cells = tuple(Cell(f"syncsrv {one.version}" if one.version else "not known") for one in (left, right))
    if left.version is None or right.version is None or left.lost or right.lost:
        return Row("Software", cells[0], "unknown", "", cells[1])
    same = left.version == right.version
    return Row("Software", cells[0], "same" if same else "different", "" if same else "bad", cells[1])
