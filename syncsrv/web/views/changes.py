"""What a sync or a rollback would bring, arranged for the page: sentences, areas, steps, what may be pressed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from syncsrv.control.shapes import PeerInfo, Status
from syncsrv.control.shapes_history import AreaCount, NodeDiff
from syncsrv.control.shapes_page import GuardInfo, NodePreview, ServicePlan
from syncsrv.plan.words import counted, listed
from syncsrv.web.views.guardwords import on_page
from syncsrv.web.views.linehtml import visible

SHORT = 10
"""Digits of a commit that are shown."""
DELETIONS_SHOWN = 12
COMMANDS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Totals:
    """Paths by what becomes of them."""

    deleted: int
    added: int
    changed: int

    @property
    def files(self) -> int:
        return self.deleted + self.added + self.changed

    @classmethod
    def of(cls, counts: Iterable[AreaCount]) -> Totals:
        """The sum of areas."""
        known = tuple(counts)
        return cls(*(sum(getattr(one, name) for one in known) for name in ("deleted", "added", "changed")))

    @property
    def words(self) -> str:
        """``5 files: 1 deleted, 1 added, 3 changed``."""
        parts = ((self.deleted, "deleted"), (self.added, "added"), (self.changed, "changed"))
        said = ", ".join(f"{number:,} {word}" for number, word in parts if number)
        return f"{self.files:,} file{'' if self.files == 1 else 's'}: {said}" if said else "no file"


@dataclass(frozen=True, slots=True)
class AreaTick:
    """An area with changes; ``ticked``: the plan is made with it."""

    count: AreaCount
    ticked: bool


@dataclass(frozen=True, slots=True)
class Doing:
    """One line of what will happen; ``where``: on which node."""

    text: str
    commands: tuple[str, ...]
    after: str
    where: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the person was shown before, as the form brings it back.

    Attributes:
        known: guards, services, commands and deletions of the plans on that page.
        base, target: the commits that were compared; empty where that is not known.
    """

    known: frozenset[str] = frozenset()
    base: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One node that would change.

    Attributes:
        node: its name.
        source: whose state it would get.
        preview: what core says.
        totals: files by what becomes of them, of the areas that are ticked.
        behind: commits that it has not, of synchronized areas.
        state: its state word.
        known: why what is shown of it may not be so; empty where it is of now.
        applied: the tag that is live there.
        drift: paths that were changed there since.
        is_peer: it is another node than the one whose page this is.
    """

    node: str
    source: str
    preview: NodePreview
    totals: Totals
    behind: int = 0
    state: str = ""
    known: str = ""
    applied: str = ""
    drift: frozenset[str] = frozenset()
    is_peer: bool = True

    @property
    def certain(self) -> bool:
        """What is compared is of now."""
        return self.preview.reachable and (self.preview.base is not None or not self.is_peer)

    @property
    def age(self) -> str:
        """How old the knowledge is, in words; empty where that is not known."""
        return "" if self.preview.age_s is None else _age(self.preview.age_s)

    @property
    def areas(self) -> tuple[str, ...]:
        """The areas of the plan with changes."""
        return tuple(one.area for one in self.preview.areas if one.deleted or one.added or one.changed)

    @property
    def counts(self) -> str:
        """``2 areas, 5 files``, for the button."""
        return f"{counted(len(self.areas), 'area')}, {counted(self.totals.files, 'file')}"


def target(status: Status, node: str, preview: NodePreview, *, whole: bool = True) -> Target:
    """One node's part of a sync; ``whole``: of all areas, so that the commits that it has not can be counted."""
    peer = status.peers.get(node)
    if peer is None:
        masters = [name for name, one in status.peers.items() if one.role == "master"]
        source = next(iter(masters or status.peers), "its master")
        behind, state, applied = status.sync.behind, status.sync.state, status.sync.applied_tag
        drift = status.sync.drift
    else:
        source, behind, state, applied = status.node, peer.behind, peer.state, peer.applied_tag
        drift = peer.drift
    known = knowledge(node, source, preview, peer)
    behind = behind if whole and peer is not None else 0
    return Target(
        node,
        source,
        preview,
        Totals.of(preview.areas),
        behind,
        state,
        known,
        applied or "",
        frozenset(drift),
        peer is not None,
    )


def knowledge(node: str, source: str, preview: NodePreview, peer: PeerInfo | None) -> str:
    """Why what is shown of a node may not be so, as a sentence; empty where it is known."""
    told = node if peer is not None else source
    if preview.base is None and peer is not None:
        if preview.reachable:
            return f"What {node} has is not known here yet: everything is shown as new."
        return f"{node} was never reached: everything is shown as new to it."
    if not preview.reachable:
        age = "" if preview.age_s is None else f", as it was {_age(preview.age_s)} ago"
        first = "" if peer is not None else "; a sync asks it first"
        return f"{told} does not answer. What is shown of it is what was last known{age}{first}."
    return ""


def _age(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), word)
    return counted(int(seconds), "second")


def ticks(diff: NodeDiff | None, preview: NodePreview) -> tuple[AreaTick, ...]:
    """Every area with changes, those of the plan ticked."""
    planned = {one.area: one for one in preview.areas}
    counts = {one.area: one for one in (diff.counts if diff is not None else preview.areas)}
    counts |= planned
    return tuple(
        AreaTick(one, one.area in planned) for one in counts.values() if one.deleted or one.added or one.changed
    )


def same_areas(preview: NodePreview) -> tuple[str, ...]:
    """Areas of the plan in which nothing differs."""
    return tuple(one.area for one in preview.areas if not (one.deleted or one.added or one.changed))


def sync_steps(one: Target) -> list[Doing]:
    """What a sync of one node does, in order."""
    preview, node = one.preview, one.node
    if one.source == "its master" or (preview.tag and not preview.tag_next):
        first = Doing(f"Fetch {preview.tag} from {one.source} and check its signature", (), "", node)
    elif preview.tag:
        first = Doing(f"Use {preview.tag}, which {one.source} has signed for this commit", (), "", one.source)
    else:
        name = preview.tag_next or "the next tag"
        first = Doing(f"Tag what {one.source} runs as {name}, signed by {one.source}", (), "", one.source)
    return [first, *_steps(preview, one.totals, node)]


def rollback_steps(node: str, preview: NodePreview) -> list[Doing]:
    """What a rollback does, in order."""
    first = Doing(f"Keep what {node} runs now in its history", (), "; it can be brought back the same way", node)
    return [first, *_steps(preview, Totals.of(preview.areas), node)]


def _steps(preview: NodePreview, totals: Totals, node: str) -> list[Doing]:
    found = [Doing(f"Stage {counted(totals.files, 'file')}", (), "", node)]
    if preview.checks:
        commands = tuple(dict.fromkeys(command for _, command in preview.checks))
        found = [Doing(f"Stage {counted(totals.files, 'file')} and run on the stage", commands, "", node)]
    written = totals.added + totals.changed
    parts = [f"write {counted(written, 'file')}"] if written else []
    parts += [f"delete {counted(totals.deleted, 'file')}{' last' if written else ''}"] if totals.deleted else []
    if parts:
        found.append(Doing(f"{', '.join(parts).capitalize()}; read all back", (), "", node))
    acted = [one for one in preview.services if one.action != "none"]
    if acted:
        found.append(Doing("; then ".join(f"{one.action} {one.name}" for one in acted).capitalize(), (), "", node))
    found.append(Doing("Check that the services are well, then mark the state as known good", (), "", node))
    return found


def untouched(services: Iterable[ServicePlan]) -> list[ServicePlan]:
    """Services that use what changes and are left alone, each with its reason."""
    return [one for one in services if one.action == "none"]


def marks(targets: Collection[Target]) -> list[str]:
    """What the form brings back, so that a page that is shown again can mark what is new.

    A guard is shown once for all nodes, as ``GUARD SAW``; the rest for each: ``NODE ACTION SERVICE``,
    ``NODE KEY COMMAND`` and ``NODE PATH``.
    """
    found = [f"{guard.guard} {guard.saw}" for _, guard in guards_of(targets)]
    for one in targets:
        preview = one.preview
        said = [f"{service.action} {service.name}" for service in preview.services]
        said += [f"{key} {line}" for key, line in preview.commands[:COMMANDS_SHOWN]]
        said += preview.deletions[:DELETIONS_SHOWN]
        found += [f"{one.node} {text}" for text in said]
    return [visible(text) for text in found]  # a form does not bring line ends back as they were


def hindrance(targets: Collection[Target], role_may: bool, role: str, admin: bool, doing: str = "synchronize") -> str:
    """Why the button cannot work; empty where it can."""
    if not role_may:
        return f"Operators and admins {doing}; you are {role}."
    refusals = [refusal for one in targets for refusal in one.preview.refusals]
    if refusals:
        return "Nothing can force this; see what refuses it above."
    needed = [guard.guard for one in targets for guard in one.preview.guards if guard.admin]
    if needed and not admin:
        return f"Only an admin can go on in spite of {listed(dict.fromkeys(needed))}."
    return ""


def guards_of(targets: Collection[Target]) -> list[tuple[str, GuardInfo]]:
    """Each guard once, since one tick forces it everywhere, with the nodes that it fires on."""
    fired: dict[str, list[tuple[str, GuardInfo]]] = {}
    for one in targets:
        for guard in one.preview.guards:
            said = on_page(guard, one.node, one.source or one.node)
            fired.setdefault(guard.guard, []).append((one.node, said))
    return [
        (", ".join(node for node, _ in found), found[0][1] if len(found) == 1 else _together(found))
        for found in fired.values()
    ]


def _together(found: list[tuple[str, GuardInfo]]) -> GuardInfo:
    return replace(found[0][1], saw="; ".join(f"{node}: {guard.saw}" for node, guard in found))


def refusals_of(targets: Iterable[Target]) -> list[tuple[str, str]]:
    """What nothing can force, with the node that it is about."""
    return [(one.node, refusal) for one in targets for refusal in one.preview.refusals]


def missing(seen: Iterable[str], forced: Collection[str]) -> list[str]:
    """Guards that were shown and not forced."""
    return [guard for guard in dict.fromkeys(seen) if guard not in forced]


def short(commit: str) -> str:
    """The begin of a commit's id."""
    return commit[:SHORT]


def newly(seen: Seen | None, targets: Collection[Target]) -> frozenset[str]:
    """The marks that were not on the page before; nothing where there was no page before."""
    return frozenset(marks(targets)) - seen.known if seen is not None else frozenset()
