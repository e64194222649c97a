"""The guards: what a sync or rollback is stopped for until a person says otherwise. Pure.

Each guard is one function from what is known to a ``Fired`` or None. A refusal lists all that fire, each with what
it saw and how to go on (DESIGN 3.3). What is never forcible is not here but in ``make.py``.
"""

from __future__ import annotations

import difflib
import enum
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncsrv.config.model import Cluster, Node
from syncsrv.errors import UsageError
from syncsrv.plan.diff import Change
from syncsrv.plan.tree import Kind, Tree, is_below, show_path
from syncsrv.plan.words import listed


class Guard(enum.StrEnum):
    """The names that ``--force`` takes."""

    MASS_DELETION = "mass-deletion"
    TARGET_IS_MASTER = "target-is-master"
    DRIFT = "drift"
    LOCK_OUT = "lock-out"
    VERSION = "version"
    COMMANDS = "commands"
    OLDER = "older"
    SOAK = "soak"
    HOLD = "hold"
    TWO_MASTERS = "two-masters"


class UnknownGuardError(UsageError):
    """``--force`` was given a word that is no guard."""

    def __init__(self, word: str) -> None:
        near = difflib.get_close_matches(word, list(Guard), 1)
        hint = f"did you mean {near[0]}?" if near else f"the guards are {', '.join(Guard)}"
        super().__init__(f"cannot force {word}: there is no guard of that name", hint)


def refuse_unknown(words: Iterable[str]) -> None:
    """Raises UnknownGuardError for the first word that is no guard."""
    for word in words:
        if word not in set(Guard):
            raise UnknownGuardError(word)


NEEDS_ADMIN = frozenset({Guard.COMMANDS, Guard.TARGET_IS_MASTER, Guard.HOLD})


@dataclass(frozen=True, slots=True)
class Fired:
    """A guard that fired: its name, what it saw, and what the operator can do."""

    guard: Guard
    saw: str
    remedy: str


def mass_deletion(changes: Iterable[Change], live: Tree, area_names: Mapping[bytes, str]) -> Fired | None:
    """More than 50 files go, or more than a fifth of an area's and at least 10."""
    gone = Counter(change.area for change in changes if change.is_deletion)
    held = Counter(area_names[path] for path, entry in live.items() if entry.kind is not Kind.DIRECTORY)
    large = [area for area, count in gone.items() if count >= 10 and count * 5 > held[area]]
    if gone.total() <= 50 and not large:
        return None
    per_area = ", ".join(f"{count} of {held[area]} in area {area}" for area, count in sorted(gone.items()))
    return Fired(
        Guard.MASS_DELETION,
        f"{gone.total()} files would be deleted ({per_area})",
        "look at `syncsrv diff`; if they are meant to go, repeat with --force mass-deletion",
    )


def drift(drifted: Iterable[bytes], changes: Iterable[Change]) -> Fired | None:
    """Files that an earlier sync applied were changed on this node, and this run would overwrite them."""
    changing = {change.path for change in changes}
    lost = sorted(path for path in drifted if path in changing)
    if not lost:
        return None
    return Fired(
        Guard.DRIFT,
        f"changed here since the last sync: {listed(show_path(path) for path in lost)}",
        "bring what is worth keeping to the master first; to overwrite them (this node's history keeps them), "
        "repeat with --force drift",
    )


def commands_of(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """Every argv that a configuration would have us run, by its key path."""
    found = {f"areas.{name}.check": area.check for name, area in cluster.areas.items() if area.check}
    for name, service in cluster.services.items():
        for action in ("start", "stop", "status", "reload", "restart"):
            argv: tuple[str, ...] = getattr(service, action)
            if argv:
                found[f"services.{name}.{action}"] = argv
        if service.health is not None and service.health.exec:
            found[f"services.{name}.health.exec"] = service.health.exec
    return found


def commands_listed(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    """``commands_of`` as a person reads it, by key path, each as one line for a shell."""
    return tuple((key, shlex.join(argv)) for key, argv in sorted(commands_of(cluster).items()))


def commands(live: Cluster, wanted: Cluster) -> Fired | None:
    """The tag's cluster.yaml would run something else than the one that is live on this node (law 8)."""
    old, new = commands_of(live), commands_of(wanted)
    differing = [
        f"{key}: {shlex.join(old[key]) if key in old else 'nothing'} -> {shlex.join(argv)}"
        for key, argv in sorted(new.items())
        if old.get(key) != argv
    ]
    if not differing:
        return None
    return Fired(
        Guard.COMMANDS,
        "\n  ".join(("it would run other commands as root on this node:", *differing)),
        "read them; if they are right, an admin repeats with --force commands",
    )


def target_is_master(node: str, served: Iterable[str], unknown: str = "") -> Fired | None:
    """The node that would be changed serves: people are on it now (DESIGN 3.3).

    Args:
        node: its name.
        served: what it holds as MASTER, such as ``1@lan (192.0.2.10/24)``.
        unknown: why it cannot be told whether it serves; empty where it can.
    """
    held = list(served)
    if held:
        return Fired(
            Guard.TARGET_IS_MASTER,
            f"{node} is MASTER of {listed(held)}: what a sync breaks there, people notice at once",
            f"`syncsrv vip switchover` on {node} first lets its peer serve; "
            "to change the node that serves, an admin repeats with --force target-is-master",
        )
    if unknown:
        return Fired(
            Guard.TARGET_IS_MASTER,
            f"whether {node} is MASTER of a virtual address cannot be told: {unknown}",
            f"see `syncsrv vip status` on {node}; if it does not serve, an admin repeats with --force target-is-master",
        )
    return None


def version(ours: str, theirs: str) -> Fired | None:
    """The two nodes run different releases of syncsrv."""
    if ours == theirs:
        return None
    return Fired(
        Guard.VERSION,
        f"this node runs syncsrv {ours}, the master {theirs}",
        "install the same version on both, or repeat with --force version",
    )


def older(is_ancestor: bool, tag: str, applied: str) -> Fired | None:
    """The tag is an ancestor of what is applied: an old state would come back."""
    if not is_ancestor:
        return None
    return Fired(
        Guard.OLDER,
        f"{tag} is older than {applied}, which is applied here",
        "`syncsrv sync` on the master tags what is live there; if the older state is meant, repeat with --force older",
    )


_REACHED_BY = (
    b"etc/ssh",
    b"etc/network",
    b"etc/netplan",
    b"etc/systemd/network",
    b"etc/NetworkManager",
    b"etc/sysconfig/network-scripts",
)


def listeners(node: Node) -> dict[str, str]:
    """What must stay reachable: node.yaml's listeners, as key to ADDR:PORT."""
    return {"ssh.listen": node.ssh.listen, "web.listen": node.web.listen}


def names_listener(text: bytes, listen: str) -> bool:
    """Whether a firewall or network file speaks of a listener's port, or of its address when it is not a loopback."""
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    everywhere = address in {"", "::1", "::"} or address.startswith(("127.", "0."))
    words = [port] if everywhere else [port, address]
    return any(re.search(rb"(?<![\w.])" + re.escape(word.encode()) + rb"(?![\w.:])", text) for word in words)


def lock_out(
    changes: Iterable[Change], texts: Mapping[bytes, tuple[bytes, bytes]], reached_at: Mapping[str, str]
) -> Fired | None:
    """The run touches what people reach this node by: sshd, its network, or a rule that names our listeners.

    Args:
        changes: what would change.
        texts: old and new text of the changed files that are text, by path.
        reached_at: the node's listeners, as far as they are known.
    """
    seen = []
    for change in changes:
        if change.path == b"etc/ssh" or any(is_below(change.path, top) for top in _REACHED_BY):
            seen.append(show_path(change.path))
            continue
        old, new = texts.get(change.path, (b"", b""))
        for key, listen in reached_at.items():
            if names_listener(old, listen) and not names_listener(new, listen):
                seen.append(f"{show_path(change.path)} (speaks of {key} {listen} today, no more afterwards)")
                break
    if not seen:
        return None
    return Fired(
        Guard.LOCK_OUT,
        f"this could lock you out of the node: {listed(seen)}",
        "make sure of another way in (console), then repeat with --force lock-out",
    )
