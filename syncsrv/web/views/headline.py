"""What Synchronize would bring, in the one sentence at the top of the page, and why its button cannot work. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from syncsrv.control.shapes_history import AreaCount
from syncsrv.plan.words import counted, listed
from syncsrv.web.views.changes import Target, Totals
from syncsrv.web.views.verdict import UNSURE, sentence

_TAG = re.compile(r"(sync/[0-9]+)")


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a page, with the sentence below it.

    Attributes:
        title: what the person has to know.
        text: why, or what is compared.
        equal: nothing differs, and that is certain.
    """

    title: str
    text: str
    equal: bool = False

    @property
    def parts(self) -> list[str]:
        """The text, in which every second part is the name of a tag."""
        return _TAG.split(self.text)


def headline(
    targets: Sequence[Target], areas: Sequence[str], differing: Sequence[AreaCount], notices: Sequence[str]
) -> Head:
    """The sentence for these nodes.

    Args:
        targets: the nodes that are shown.
        areas: that were asked for; all where empty.
        differing: what differs in any area, also where no plan can be made.
        notices: what the node wants known of itself.
    """
    refused = next((refusal for one in targets for refusal in one.preview.refusals), "")
    if refused:
        return _impossible(targets, refused, differing, notices)
    moving = [one for one in targets if one.totals.files]
    if len(targets) == 1:
        one = targets[0]
        return _changing(one) if moving else _equal(one, areas)
    if moving:
        said = " ".join(f"{one.node}: {one.totals.words}." for one in targets)
        return Head(f"Synchronize would change {len(moving)} of {len(targets)} backups", said)
    names, source = " and ".join(one.node for one in targets), targets[0].source
    if any(not one.certain for one in targets):
        return Head(f"As last known, nothing differs between {source} and {names}", "Some of them do not answer.")
    return Head(f"{names} have everything that {source} has{_within(areas)}", _COMPARED, equal=True)


_COMPARED = "Compared file by file: contents, modes, owners and extended attributes."


def _within(areas: Sequence[str]) -> str:
    return f" in {', '.join(areas)}" if areas else ""


def _impossible(
    targets: Sequence[Target], refused: str, differing: Sequence[AreaCount], notices: Sequence[str]
) -> Head:
    names = " and ".join(one.node for one in targets)
    mend = "cluster.yaml" in refused and refused.partition(": ")[2] in notices
    why = "until cluster.yaml is mended" if mend else "now"
    files = Totals.of(differing).files
    text = sentence(refused) + (f" What differs is listed below: {counted(files, 'file')}." if files else "")
    return Head(f"Synchronizing {names} is not possible {why}", text)


def _changing(one: Target) -> Head:
    commits = f" ({counted(one.behind, 'commit')} on {one.source})" if one.behind else ""
    known = "" if one.certain else f", as last known{_ago(one)}"
    title = f"Synchronize would change {counted(one.totals.files, 'file')} on {one.node}{commits}{known}"
    return Head(title, f"{_from(one)}{_to(one)} {sentence(one.totals.words)}")


def _from(one: Target) -> str:
    """What is live there: a sentence of its own where it is not what a tag brought, else the begin of one."""
    back = one.preview.rolled_back.removeprefix("to ").partition(" ")[0]
    if one.applied and back and one.drift:
        files = f"{counted(len(one.drift), 'file')} {'differs' if len(one.drift) == 1 else 'differ'}"
        return f"{one.node} was rolled back to {back} since {one.applied} ({files}). Synchronize would bring it "
    if one.applied and one.drift:
        return f"From {one.applied} with {counted(len(one.drift), 'file')} changed on {one.node} since "
    if one.applied:
        return f"From {one.applied}, live on {one.node}, "
    if one.preview.base:
        return f"From what is live on {one.node}, which was never synchronized, "
    return "From nothing that is known "


def _to(one: Target) -> str:
    preview, source = one.preview, one.source
    if not preview.tag:
        return f"to what {source} runs now, to be tagged {preview.tag_next}."
    if preview.failed:
        on = f"; {source} has moved on since" if preview.ahead else ""
        why = preview.failed.partition("\n")[0].rstrip(".:")
        return f"to {preview.tag}, which the last run here refused: {why}{on}."
    if preview.ahead is None:
        return f"to {preview.tag}, the newest tag of {source}; whether {source} has changed since is not known here."
    if preview.ahead:
        return f"to {preview.tag}, the newest tag of {source}, which has {_untagged(one)} since."
    return f"to what {source} runs now, tagged {preview.tag}."


def _untagged(one: Target) -> str:
    count = one.preview.ahead or 0
    return f"{count:,} untagged change{'' if count == 1 else 's'}"


def _equal(one: Target, areas: Sequence[str]) -> Head:
    preview, source = one.preview, one.source
    has = f"{one.node} has everything of {preview.tag}{_within(areas)}"
    if preview.ahead:
        elsewhere = f"{has}. Synchronize from {source}'s page."
        return Head(f"Nothing newer is tagged; {source} has {_untagged(one)}", elsewhere)
    if not one.certain:
        return Head(f"As last known{_ago(one)}, nothing differs between {source} and {one.node}{_within(areas)}", "")
    if preview.ahead is None:
        return Head(f"{has}; what {source} has since is not known here", f"Synchronize from {source}'s page.")
    return Head(f"{one.node} has everything that {source} has{_within(areas)}", _COMPARED, equal=True)


def _ago(one: Target) -> str:
    return f" ({one.age} ago)" if one.age else ""


def stop(targets: Sequence[Target], head: Head) -> str:
    """Why Synchronize cannot work, apart from who presses it; empty where it can."""
    away = [one for one in targets if one.is_peer and one.state in UNSURE]
    if away and len(away) == len(targets):
        return f"Not possible: {listed(one.node for one in away)} {'does' if len(away) == 1 else 'do'} not answer."
    if any(one.totals.files for one in targets):
        return ""
    if head.equal:
        idle = all(one.state == "in_sync" for one in targets)
        return "Nothing differs: there is nothing to synchronize." if idle else ""
    if targets[0].preview.ahead != 0:
        return f"Nothing newer is tagged: synchronize from {targets[0].source}'s page."
    return "As far as is known, nothing differs: there is nothing to synchronize."
