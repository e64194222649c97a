"""Which objects a commit needs that somebody who has other commits lacks. One walk for both ends of a transfer.

The sender enumerates what to send; the receiver enumerates, over what came and what it has, what must be there. Commits
are walked newest first and painted: what can be reached from ``haves`` is not needed. Clocks that ran wrong make the
answer larger, never smaller. Of the trees only what differs from the parents' trees is looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncsrv.store import gitformat
from syncsrv.store.cache import Recent
from syncsrv.store.commits import CommitInfo
from syncsrv.store.gitformat import DIRECTORY, Child
from syncsrv.store.trees import MAX_DEPTH, MAX_ENTRIES


class Source(Protocol):
    """Where a walk reads."""

    def has(self, object_id: str) -> bool: ...
    def read(self, object_id: str, kind: str) -> bytes: ...
    def kind(self, object_id: str) -> str: ...
    def read_commit(self, commit_id: str) -> CommitInfo: ...
    def children(self, tree_id: str) -> dict[bytes, Child]: ...


@dataclass(frozen=True, slots=True)
class Needed:
    """An object that is needed, and what it has to be."""

    id: str
    kind: str


def needed(source: Source, wants: Sequence[str], haves: Iterable[str]) -> list[Needed]:
    """All objects that ``wants`` (commits or tags) reach and ``haves`` do not, each once, contents first.

    Args:
        source: holds all of it; of haves it does not know, nothing follows.
        wants: ids of commits or annotated tags.
        haves: ids of commits or annotated tags whose whole closure the other side has.

    Raises:
        MissingObjectError, MalformedObjectError: the closure is not whole, or something in it is not what it should be.
    """
    found: dict[str, Needed] = {}
    tags: list[str] = []
    tips = [_peel(source, want, tags) for want in wants]
    known = [_peel(source, have, []) for have in haves if source.has(have)]
    fresh, boundary = _commits(source, tips, known)
    seen = {source.read_commit(commit).tree for commit in boundary}
    for commit in reversed(fresh):
        info = source.read_commit(commit)
        beside = [source.read_commit(parent).tree for parent in info.parents]
        _tree(source, info.tree, beside, seen, found)
        found[commit] = Needed(commit, "commit")
    found.update((tag, Needed(tag, "tag")) for tag in reversed(tags))
    return list(found.values())


def _peel(source: Source, object_id: str, tags: list[str]) -> str:
    """The commit behind a tag; the tag itself goes to ``tags``. A tag of a tag is none of ours."""
    if source.kind(object_id) == "commit":
        return object_id
    headers = gitformat.parse_headers(object_id, source.read(object_id, "tag"))
    target = headers.all("object")
    tags.append(object_id)
    commit = gitformat.header_id(object_id, target[0] if target else b"")
    if source.kind(commit) != "commit":
        raise gitformat.MalformedObjectError(object_id, "it does not tag a commit")
    return commit


def _commits(source: Source, tips: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """The commits that are needed, newest first, and those known ones that they stand on."""
    painted = set(known)
    queue: list[tuple[float, str]] = []
    queued: set[str] = set()
    unpainted: set[str] = set()

    def push(commit: str) -> None:
        if commit not in queued:
            queued.add(commit)
            if commit not in painted:
                unpainted.add(commit)
            heapq.heappush(queue, (-source.read_commit(commit).at_utc.timestamp(), commit))

    for commit in (*known, *tips):
        push(commit)
    order: list[str] = []
    while unpainted:
        _, commit = heapq.heappop(queue)
        unpainted.discard(commit)
        parents = source.read_commit(commit).parents
        if commit in painted:
            painted.update(parents)
            unpainted.difference_update(parents)
        else:
            order.append(commit)
        for parent in parents:
            push(parent)
    fresh = [commit for commit in order if commit not in painted]
    below = {parent for commit in fresh for parent in source.read_commit(commit).parents}
    return _parents_last(source, fresh), sorted(below.difference(fresh))


def _parents_last(source: Source, commits: Sequence[str]) -> list[str]:
    """The same commits so that none comes before one that has it as a parent, whatever the clocks said."""
    left = set(commits)
    children = dict.fromkeys(commits, 0)
    for commit in commits:
        for parent in source.read_commit(commit).parents:
            if parent in left:
                children[parent] += 1
    ready = [commit for commit in reversed(commits) if not children[commit]]
    order = []
    while ready:
        commit = ready.pop()
        order.append(commit)
        for parent in source.read_commit(commit).parents:
            if parent in left:
                children[parent] -= 1
                if not children[parent]:
                    ready.append(parent)
    return order


def _tree(source: Source, tree: str, beside: Sequence[str], seen: set[str], found: dict[str, Needed]) -> None:
    """Note what of a tree is in none of the trees beside it, contents first."""
    stack: list[tuple[str, tuple[str, ...], bool]] = [(tree, tuple(beside), False)]
    while stack:
        tree_id, others, is_done = stack.pop()
        if is_done:
            found[tree_id] = Needed(tree_id, "tree")
            continue
        if tree_id in seen or tree_id in others or tree_id in found:
            continue
        seen.add(tree_id)
        stack.append((tree_id, (), True))
        known = [source.children(other) for other in others]
        for name, child in source.children(tree_id).items():
            same = [one[name] for one in known if name in one]
            if child.id in seen or any(child.id == other.id for other in same):
                continue
            if child.mode == DIRECTORY:
                stack.append((child.id, tuple(c.id for c in same if c.mode == DIRECTORY), False))
            else:
                seen.add(child.id)
                found[child.id] = Needed(child.id, "blob")


def weigh(source: Source, tree: str, memory: Recent[str, int], depth: int = 0) -> int:
    """How many paths a tree unfolds to; the same subtree counts each time.

    Raises:
        MalformedObjectError: more than can be managed, or deeper.
    """
    known = memory.get(tree)
    if known is None:
        if depth > MAX_DEPTH:
            raise gitformat.MalformedObjectError(tree, f"it is a tree below more than {MAX_DEPTH} others")
        children = source.children(tree)
        known = len(children)
        for child in children.values():
            if child.mode == DIRECTORY:
                known += weigh(source, child.id, memory, depth + 1)
            if known > MAX_ENTRIES:
                raise gitformat.MalformedObjectError(tree, f"it is a tree of more than {MAX_ENTRIES} paths")
        memory.put(tree, known)
    return known
