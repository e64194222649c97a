"""What a schedule may tag, and whether it may run at all. Pure.

A commit has soaked when this node has had it on main for so many seconds of monotonic time. What is an ancestor of a
commit was on main before it, so it is enough to know since when some of them are; what is not known counts as new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from syncsrv.config.model import Power, Role, Schedule
from syncsrv.config.values import show_duration
from syncsrv.plan.verdict import Sentence
from syncsrv.plan.words import listed

AFTER_TAKEOVER_S = 24 * 3600.0
"""After becoming MASTER a node runs no schedule for so long: a person looks at it first."""

ROLLBACK = "rollback"
"""The way of a commit that restores an earlier one."""

SEEN_MOST = 2000
"""Commits whose time is kept: of older ones only every other, which makes what lies between look younger."""


def newest_soaked(line: Iterable[str], seen: Mapping[str, float], now: float, soak_s: float) -> str | None:
    """The newest commit that has soaked.

    Args:
        line: main, newest first; read only as far as needed.
        seen: since when a commit is known to be on main, monotonic seconds.
        now: monotonic seconds.
        soak_s: how long it has to be there.
    """
    left, since = set(seen), now
    for commit in line:
        since = min(since, seen.get(commit, since))
        if now - since >= soak_s:
            return commit
        left.discard(commit)
        if not left:
            break
    return None


def taken_back(newer: Iterable[tuple[str, str]], before: Collection[str]) -> bool:
    """Whether what has soaked was undone since, by something that has not soaked yet.

    Args:
        newer: tree and way (``via``) of each commit after it.
        before: the trees that were there before it.
    """
    return any(via == ROLLBACK or tree in before for tree, via in newer)


def with_seen(seen: Mapping[str, float], commit: str, now: float) -> dict[str, float]:
    """What is known once a commit is on main; one that is known already stays as it is."""
    if commit in seen:
        return dict(seen)
    kept = [*seen.items(), (commit, now)]
    if len(kept) > SEEN_MOST:
        half = SEEN_MOST // 2
        kept = kept[:half][::2] + kept[half:]
    return dict(kept)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known when a schedule fires.

    Attributes:
        role: of this node.
        vips: what virtual addresses are configured, such as ``1@lan``.
        held: those of them that this node holds as MASTER.
        took_over_s: seconds since it became MASTER of the last of them; None where it holds none.
        carp_problem: why nothing is known of them; empty where it is.
        owner_role: what the schedule's owner may do here; None for nobody of that name.
        busy: the jobs that change a node now.
        problem: why main must not be tagged.
    """

    role: Role
    owner_role: Power | None
    vips: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()
    took_over_s: float | None = None
    carp_problem: str = ""
    busy: tuple[str, ...] = ()
    problem: str = ""


def hindrance(schedule: Schedule, here: Standing) -> Sentence | None:
    """Why a schedule may not run now; None where it may."""
    if here.role is not Role.MASTER:
        return Sentence("this node is a backup, and only the master runs schedules", "turn it on at the master")
    if here.vips and (why := _not_serving(here)) is not None:
        return why
    if here.owner_role is None:
        return Sentence(
            f"its owner {schedule.owner} is no user of this node", f"add the user, or write another owner: {_USERS}"
        )
    if here.owner_role is Power.VIEWER:
        return Sentence(
            f"its owner {schedule.owner} is only viewer, and a sync needs an operator",
            f"make the owner an operator, or write another one: {_USERS}",
        )
    if here.problem:
        return Sentence(here.problem, "mend it; `syncsrv check` and `syncsrv status` say more")
    if here.busy:
        return Sentence(f"{listed(here.busy)} is under way", "it runs again at its next time")
    return None


def _not_serving(here: Standing) -> Sentence | None:
    """Only the node that people are on, and that has stood the test of a day, says what the others shall be."""
    if here.carp_problem:
        return Sentence(f"whether this node holds the VIPs is not known: {here.carp_problem}", _VIPS)
    lacking = [vip for vip in here.vips if vip not in here.held]
    if lacking:
        return Sentence(f"this node is not MASTER of {listed(lacking)}", f"synchronize by hand if it is meant; {_VIPS}")
    if here.took_over_s is None or here.took_over_s < AFTER_TAKEOVER_S:
        return Sentence(
            f"this node became MASTER {_ago(here.took_over_s or 0.0)} ago, "
            f"and a schedule waits {show_duration(AFTER_TAKEOVER_S)} after that",
            "synchronize by hand when you have seen that it is well",
        )
    return None


def _ago(seconds: float) -> str:
    return f"{seconds // 3600:.0f}h" if seconds >= 3600 else f"{max(seconds, 0.0) // 60:.0f}min"


_VIPS = "`syncsrv vip status` says why"
_USERS = "`syncsrv user list` shows who there is"
