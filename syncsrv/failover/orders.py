"""What people order of failover: names and weights of demotions, and how an order changes the intent. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from syncsrv.errors import UsageError
from syncsrv.failover.intent import Intent

WEIGHT_MOST = 240
"""What one demotion of an operator can weigh: as much as maintenance; more changes nothing on the wire."""

BUILT_IN = frozenset({"maintenance", "switchover", "disabled", "not-ready", "state-sync"})
"""What the process carp names its own reasons; of a link or a device their names begin with a word and a colon."""

RESERVED = BUILT_IN | {"orders-unreadable", "unknown", "unproven", "diverged", "split-brain"}
"""No operator can give or take these; core's own reasons are here or have a colon."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)

Change = Callable[[Intent], Intent]

SWITCHES: dict[str, Change] = {
    "maintenance-on": lambda intent: replace(intent, maintenance=True),
    "maintenance-off": lambda intent: replace(intent, maintenance=False),
    "disable": lambda intent: replace(intent, disabled=True),
    "enable": lambda intent: replace(intent, disabled=False),
}
"""Orders without arguments."""

SAID = {
    "maintenance-on": "maintenance is on",
    "maintenance-off": "maintenance is off",
    "disable": "failover is disabled on this node",
    "enable": "failover is enabled on this node",
}
"""What is so once they are given, in words."""

ENDS = {
    "maintenance-on": "maintenance stays on: a peer takes over once one can; `syncsrv vip maintenance off` ends it",
    "disable": "`syncsrv vip enable` lets this node serve again",
}
"""Of those that give VIPs away: what stays, and what ends it."""


def demoted(name: str, weight: int) -> Change:
    """The order to demote this node.

    Raises:
        UsageError: the name is reserved or none, or the weight is not 1 to 240.
    """
    check_name(name)
    if not 1 <= weight <= WEIGHT_MOST:
        raise UsageError(
            f"cannot demote by {weight}: a weight is 1 to {WEIGHT_MOST}, in units of advskew",
            f"{WEIGHT_MOST} makes every peer that is well preferred; `syncsrv vip promote REASON` takes it back",
        )
    return lambda intent: with_demotion(intent, name, weight)


def promoted(intent: Intent, name: str) -> Change:
    """The order to end a demotion.

    Raises:
        UsageError: the name is reserved or none, or this node is not demoted for it.
    """
    check_name(name)
    if name not in intent.demotions:
        known = ", ".join(one for one in intent.demotions if one not in RESERVED and ":" not in one)
        raise UsageError(
            f"cannot promote {name}: this node is not demoted for that",
            f"it is demoted for {known}" if known else "no operator has demoted it",
        )
    return lambda now: with_demotion(now, name, None)


def with_demotion(intent: Intent, name: str, weight: int | None) -> Intent:
    """An intent with this demotion, or without it for None."""
    demotions = {one: was for one, was in intent.demotions.items() if one != name}
    if weight is not None:
        demotions[name] = weight
    return replace(intent, demotions=dict(sorted(demotions.items())))


def is_built_in(name: str) -> bool:
    """Whether the process carp itself gives and takes a demotion of this name."""
    return name in BUILT_IN or name.startswith(("link:", "send-errors:", "addresses:"))


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
