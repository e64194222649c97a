"""The guards as the page words them: the node has its name, and what to do is done on the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncsrv.control.shapes_page import GuardInfo
from syncsrv.web.views.linehtml import visible

_SAW: Mapping[str, tuple[tuple[str, str], ...]] = {
    "drift": (("changed here since the last sync:", "changed on {node} since its last sync:"),),
    "commands": (("commands as root on this node:", "commands as root on {node}:"),),
    "version": (("this node runs syncsrv", "{node} runs syncsrv"),),
    "older": (("which is applied here", "which is applied on {node}"),),
    "lock-out": (("lock you out of the node:", "lock you out of {node}:"),),
}
"""By guard, the words that core uses on the node itself; what it saw stays."""

_ONE_LINE = frozenset({"drift", "mass-deletion", "lock-out"})
"""Guards whose words are one line with names of files, which may hold anything."""

_REMEDIES = {
    "drift": "Bring what is worth keeping to {source} first; tick to overwrite it. It stays in the history of {node}.",
    "mass-deletion": "Look at the files that would be deleted; if they are meant to go, tick to go on.",
    "version": "Install the same version on both, or tick to go on.",
    "older": "If the older state is meant, tick to go on.",
    "lock-out": "Make sure of another way in, such as a console, then tick to go on.",
    "commands": "Read them; if they are right, an admin types the guard's name to go on.",
}
"""By guard, what to do; a guard that this version does not know keeps core's words."""


def on_page(guard: GuardInfo, node: str, source: str) -> GuardInfo:
    """A guard for a person who looks at this page.

    Args:
        guard: as core says it.
        node: where it fires.
        source: whose state that node would get.
    """
    saw = visible(guard.saw) if guard.guard in _ONE_LINE else guard.saw
    for theirs, ours in _SAW.get(guard.guard, ()):
        saw = saw.replace(theirs, ours.format(node=node), 1)
    remedy = _REMEDIES.get(guard.guard)
    return replace(guard, saw=saw, remedy=remedy.format(node=node, source=source) if remedy else guard.remedy)
