"""Drift: what was changed on a backup since it was synchronized, and between which two states to look. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncsrv.control.shapes import Status
from syncsrv.web.views.linehtml import visible
from syncsrv.web.views.verdict import MASTER, sentence


@dataclass(frozen=True, slots=True)
class Drifted:
    """A node that drifted.

    Attributes:
        paths: what was changed there.
        base: the tag that was applied.
        live: where its live state is known here; empty for this node's own disk.
        lost: it does not answer: this is what was last known.
    """

    node: str
    state: str
    reason: str
    remedy: str
    paths: tuple[str, ...]
    base: str
    live: str
    lost: bool
    seen_at: str | None


def drifted(status: Status) -> tuple[Drifted, ...]:
    """This node, where it is a backup, and its backups, where it is a master: those that drifted."""
    found = []
    own = status.sync
    if status.role != MASTER and own.drift:
        found.append(
            Drifted(
                status.node,
                own.state,
                _named(sentence(own.reason), own.drift),
                sentence(own.remedy),
                own.drift,
                own.applied_tag or "",
                "",
                False,
                None,
            )
        )
    for name, one in status.peers.items():
        if one.drift and one.role != MASTER:
            found.append(
                Drifted(
                    name,
                    one.state,
                    _named(sentence(one.reason), one.drift),
                    sentence(one.remedy),
                    one.drift,
                    one.applied_tag or "",
                    f"{name}/main",
                    not one.reachable,
                    one.seen_at,
                )
            )
    return tuple(found)


def _named(text: str, paths: Iterable[str]) -> str:
    """A sentence in which the names of these files are read as what they are."""
    for path in paths:
        if (said := visible(path)) != path:
            text = text.replace(path, said)
    return text


def calm(status: Status) -> tuple[str, ...]:
    """Nodes of which it is known that they did not drift."""
    if status.role != MASTER:
        return () if status.sync.drift or status.sync.applied_tag is None else (status.node,)
    return tuple(
        name for name, one in status.peers.items() if one.reachable and one.applied_tag is not None and not one.drift
    )
