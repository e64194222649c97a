"""The messages of the commits that we make: a subject for people, trailers for programs (DESIGN 3.2)."""

from __future__ import annotations

from collections.abc import Iterable

from syncsrv.store import trailers


def message_of(
    text: str,
    *,
    via: str,
    node: str,
    areas: Iterable[str],
    requested_by: str = "",
    tag: str | None = None,
) -> str:
    """A commit message.

    Args:
        text: subject, and after an empty line whatever else the person said.
        via: how it came to be: watch, cli, web, push, sync, rollback, adopt.
        node: where.
        areas: those that it touches.
        requested_by: the person.
        tag: what was applied.
    """
    subject, _, body = text.partition("\n")
    return trailers.compose(
        subject,
        body,
        {
            trailers.FORMAT_KEY: trailers.FORMAT,
            trailers.VIA: via,
            trailers.NODE: node,
            trailers.AREAS: ", ".join(areas),
            trailers.REQUESTED_BY: requested_by,
            "Tag": tag or "",
        },
    )
