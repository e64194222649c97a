"""``state_dir/carp/intent.json``: what people and core ordered of failover; it outlives restarts and reboots."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from syncsrv.core.carp.configure import write
from syncsrv.errors import UsageError
from syncsrv.failover import intent as files
from syncsrv.failover.intent import BadIntentError, Intent

log = logging.getLogger(__name__)

WEIGHT_MOST = 240
"""What one demotion of an operator can weigh: as much as maintenance; more changes nothing on the wire."""

BUILT_IN = frozenset({"maintenance", "switchover", "disabled", "not-ready"})
"""What the process carp names its own reasons; of a link or a device their names begin with a word and a colon."""

RESERVED = BUILT_IN | {"unproven", "diverged", "state-sync", "split-brain"}
"""No operator can give or take these; core's own reasons are here or have a colon."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)


class IntentFile:
    """Remembers it, and writes it before anything acts on it.

    Args:
        state_dir: of this node.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / files.FILE
        self.problem = ""
        """Why what was ordered earlier is not known; empty where it is."""
        try:
            self._now = files.load(state_dir)
        except BadIntentError as error:
            log.error("%s", error)
            self.problem = str(error)
            self._now = Intent()

    @property
    def now(self) -> Intent:
        """What is ordered."""
        return self._now

    def put(self, intent: Intent) -> None:
        """Order something else.

        Raises:
            NoSpaceError, UnwritableError: what was ordered before stays.
        """
        if intent == self._now and not self.problem:
            return
        write(self._path, files.encode(intent), "the orders for failover")
        self._now = intent
        self.problem = ""


def with_demotion(intent: Intent, name: str, weight: int | None) -> Intent:
    """An intent with this demotion, or without it for None."""
    demotions = {one: was for one, was in intent.demotions.items() if one != name}
    if weight is not None:
        demotions[name] = weight
    return replace(intent, demotions=dict(sorted(demotions.items())))


def is_built_in(name: str) -> bool:
    """Whether the process carp itself gives and takes a demotion of this name."""
    return name in BUILT_IN or name.startswith(("link:", "send-errors:"))


def check_name(name: str) -> None:
    """Refuse a demotion that no operator may give or take.

    Raises:
        UsageError: it is reserved, or no name at all.
    """
    if name in RESERVED or ":" in name:
        raise UsageError(
            f"cannot use {name} as the name of a demotion: syncsrv itself gives and takes it",
            "take another name, such as upgrade; `syncsrv vip` shows which there are and what ends them",
        )
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"cannot use {name!r} as the name of a demotion: a name has 1 to 32 of a-z, 0-9, dot, dash, underscore",
            "such as upgrade or disk-1",
        )


def check_weight(weight: int) -> None:
    """Refuse a weight that means nothing.

    Raises:
        UsageError: it is not 1 to 240.
    """
    if not 1 <= weight <= WEIGHT_MOST:
        raise UsageError(
            f"cannot demote by {weight}: a weight is 1 to {WEIGHT_MOST}, in units of advskew",
            f"{WEIGHT_MOST} makes every peer that is well preferred; `syncsrv vip promote REASON` takes it back",
        )
