"""What the page of changes says beside a file: that it is new, out of the plan, or was changed on the node. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from syncsrv.web.views.changes import Target
from syncsrv.web.views.filediff import Badge, FileView


def marked(view: FileView, path: str, target: Target, new: Collection[str]) -> FileView:
    """A file with its badges.

    Args:
        view: as it is shown.
        path: its own, as core names it.
        target: the node that would change.
        new: paths that have changed since the person looked.
    """
    areas = {one.area for one in target.preview.areas}
    planned = not areas or view.area in areas  # without any there is no plan that it could be out of
    if path in target.drift:
        fate = f" Synchronizing overwrites it; it stays in {target.node}'s history." if planned else ""
        said = f"Changed on {target.node} since its last sync.{fate}"
        view = replace(
            view, badges=(*view.badges, Badge(f"changed on {target.node}", "warn")), facts=(said, *view.facts)
        )
    if path in new:
        return replace(view, badges=(Badge("new since you looked", "todo"), *view.badges), open=True)
    return view if planned else replace(view, badges=(Badge("not in this plan"), *view.badges), open=False)
