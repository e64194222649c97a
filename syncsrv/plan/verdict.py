"""The state word of a node, with its reason and its remedy. Pure.

The order of the table is the contract's (DESIGN 3.3): the first that holds is the state. The same function serves a
node about itself and a master about its backups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from syncsrv.plan.words import counted, listed


@dataclass(frozen=True, slots=True)
class Sentence:
    """A reason and what to do about it."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Last:
    """How the last run on a node ended: done, unchanged, failed, rolled_back or refused."""

    job: str
    result: str
    at: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a verdict is made from.

    Attributes:
        node: of whom.
        peers: how many are configured (a node about itself), 1 where a master speaks of a backup.
        heard: whether it was ever heard; True for oneself.
        reachable: whether the last polls were answered.
        age_s: seconds since it was last heard.
        job: the job that is changing it now.
        confirm_by: when an unconfirmed sync reverts.
        blocked: why it takes no tag at all.
        held: by whom and why.
        applied_tag: the newest tag applied there.
        drift: paths changed there since they were applied, by area.
        pending: areas in which the master's main differs from what is applied there.
        behind: commits of the master that it has not.
        own_changes: its main was changed while it was MASTER.
        rolled_back_here: the tag's content was replaced by a rollback on the node itself.
        last: how its last run ended.
    """

    node: str
    peers: int = 1
    heard: bool = True
    reachable: bool = True
    age_s: float | None = None
    job: str | None = None
    confirm_by: str | None = None
    blocked: Sentence | None = None
    held: str | None = None
    applied_tag: str | None = None
    drift: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    behind: int = 0
    own_changes: bool = False
    rolled_back_here: str | None = None
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state word with the sentence for it and what to do."""

    state: str
    reason: str
    remedy: str


def _drifted_paths(now: Situation) -> str:
    return listed(path for area in sorted(now.drift) for path in now.drift[area])


def _standalone(now: Situation) -> Sentence | None:
    if now.peers:
        return None
    return Sentence("no peer is configured", "pair it with another node: write it into `peers:` of node.yaml")


def _unknown(now: Situation) -> Sentence | None:
    if now.heard:
        return None
    return Sentence(f"{now.node} was not heard since this node started", "see whether it runs and can be reached")


def _unreachable(now: Situation) -> Sentence | None:
    if now.reachable:
        return None
    ago = f", last heard {now.age_s:.0f} s ago" if now.age_s is not None else ""
    return Sentence(f"{now.node} does not answer{ago}", "see whether it runs and can be reached")


def _syncing(now: Situation) -> Sentence | None:
    return Sentence(f"job {now.job} is running") if now.job else None


def _awaiting_confirm(now: Situation) -> Sentence | None:
    if now.confirm_by is None:
        return None
    return Sentence(
        f"the last sync reverts at {now.confirm_by} unless it is confirmed",
        "look at the node, then `syncsrv confirm` or `syncsrv revert`",
    )


def _blocked(now: Situation) -> Sentence | None:
    return now.blocked


def _held(now: Situation) -> Sentence | None:
    return Sentence(f"held: {now.held}", "`syncsrv hold release` when the reason is gone") if now.held else None


def _awaiting_first_sync(now: Situation) -> Sentence | None:
    if now.applied_tag is not None:
        return None
    return Sentence("nothing was synchronized to it yet", "`syncsrv sync` on the master")


def _diverged(now: Situation) -> Sentence | None:
    both = sorted(set(now.drift) & set(now.pending))
    if now.own_changes:
        return Sentence("it was changed while it was MASTER", "adopt or discard its changes, file by file")
    if not both:
        return None
    return Sentence(
        f"changed on both sides in {', '.join(both)}: {_drifted_paths(now)}",
        "bring what is worth keeping to the master, then `syncsrv sync --force drift`",
    )


def _drifted(now: Situation) -> Sentence | None:
    if not now.drift:
        return None
    if now.rolled_back_here:
        return Sentence(
            f"it was rolled back on the node itself ({now.rolled_back_here}): {_drifted_paths(now)}",
            "`syncsrv sync --force drift` brings the master's configuration again",
        )
    return Sentence(
        f"changed there since {now.applied_tag}: {_drifted_paths(now)}",
        "bring what is worth keeping to the master, then `syncsrv sync --force drift`",
    )


def _rolled_back(now: Situation) -> Sentence | None:
    return _last(now, "rolled_back")


def _failed(now: Situation) -> Sentence | None:
    return _last(now, "failed")


def _last(now: Situation, result: str) -> Sentence | None:
    if now.last is None or now.last.result != result:
        return None
    return Sentence(now.last.reason, now.last.remedy or "mend the cause and synchronize again")


def _changes_pending(now: Situation) -> Sentence | None:
    if not now.pending:
        return None
    areas = ", ".join(now.pending)
    if now.behind:
        commits = counted(now.behind, "commit")
        reason = f"{commits} not applied yet, in {areas} (the last applied tag is {now.applied_tag})"
    else:
        reason = f"what is live on the master is older than what {now.applied_tag} brought, in {areas}"
    return Sentence(reason, "`syncsrv diff`, then `syncsrv sync`")


def _in_sync(now: Situation) -> Sentence | None:
    return Sentence(f"equal to {now.applied_tag}, and the master has nothing newer" if now.applied_tag else "")


TABLE: tuple[tuple[str, Callable[[Situation], Sentence | None]], ...] = (
    ("standalone", _standalone),
    ("unknown", _unknown),
    ("unreachable", _unreachable),
    ("syncing", _syncing),
    ("awaiting_confirm", _awaiting_confirm),
    ("blocked", _blocked),
    ("held", _held),
    ("awaiting_first_sync", _awaiting_first_sync),
    ("diverged", _diverged),
    ("drifted", _drifted),
    ("rolled_back", _rolled_back),
    ("failed", _failed),
    ("changes_pending", _changes_pending),
    ("in_sync", _in_sync),
)

SEVERITY: tuple[str, ...] = (
    "blocked",
    "diverged",
    "rolled_back",
    "failed",
    "unreachable",
    "unknown",
    "drifted",
    "awaiting_confirm",
    "held",
    "syncing",
    "awaiting_first_sync",
    "changes_pending",
    "in_sync",
)
"""The worst first: how a master says in one word how its backups are."""


def verdict(now: Situation) -> Verdict:
    """The first row of the table that holds."""
    for state, holds in TABLE:
        sentence = holds(now)
        if sentence is not None:
            return Verdict(state, sentence.reason, sentence.remedy)
    raise AssertionError("the last row of the table holds always")


def worst(verdicts: dict[str, Verdict]) -> Verdict:
    """A master's own word: the worst of its backups', with the backup named."""
    node, found = min(verdicts.items(), key=lambda item: (SEVERITY.index(item[1].state), item[0]))
    named = found.reason if found.reason.startswith(f"{node} ") else f"{node}: {found.reason}"
    return Verdict(found.state, named, found.remedy)
