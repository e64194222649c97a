"""What is asked and told of the history: commits, the log, what differs, what a fetch brings. Standard library only.

The meaning of a field never changes within a protocol version; new fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOutInfo:
    """Something inside an area that is not in the history, and why."""

    path: str
    area: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class CommitRequest:
    message: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitReply:
    """``commit`` is None when there was nothing to commit."""

    commit: str | None
    subject: str
    files: int
    left_out: tuple[LeftOutInfo, ...]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """``node``: a peer, as its main was last fetched; ``before``: only what is older than this commit."""

    path: str | None = None
    limit: int = 50
    node: str = ""
    area: str | None = None
    author: str | None = None
    via: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    commit: str
    at: str
    author: str
    subject: str
    via: str
    node: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    areas: tuple[str, ...] = ()
    tagged_at: str = ""
    """``areas``: those that it touches, as they are drawn now; ``tagged_at``: when its newest sync tag was made."""


@dataclass(frozen=True, slots=True)
class LogReply:
    """``more``: there are older ones; ``age_s``: of what is known of a peer's main; ``areas``: all that there are."""

    commits: tuple[LogEntry, ...]
    more: bool = False
    age_s: float | None = None
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that differs: added, removed, changed, type, mode, owner or xattr, the first that holds."""

    path: str
    status: str
    area: str
    old_mode: str | None
    new_mode: str | None
    old_owner: str | None = None
    new_owner: str | None = None
    binary: bool = False
    patch: str = ""
    old_size: int | None = None
    new_size: int | None = None
    old_blob: str = ""
    new_blob: str = ""
    large: bool = False
    """Too large to be compared line by line."""
    old_text: str | None = None
    new_text: str | None = None
    """Where texts were asked for, and it is text on both sides."""
    old_kind: str = ""
    new_kind: str = ""
    """file, link (its text is its target) or directory; empty where it does not exist."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of many files: deletions first, then additions, then changes, each by path.

    ``limit`` 0: all, by path. ``paths``: only these. ``texts``: both sides of each file come along.
    """

    offset: int = 0
    limit: int = 0
    paths: tuple[str, ...] = ()
    texts: bool = False


@dataclass(frozen=True, slots=True)
class AreaCount:
    """How many paths of an area go, come, or become another."""

    area: str
    deleted: int = 0
    added: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class ShowRequest:
    rev: str
    patch: bool = True
    part: Slice = Slice()


@dataclass(frozen=True, slots=True)
class ShowReply:
    commit: LogEntry
    body: str
    parents: tuple[str, ...]
    files: tuple[FileChange, ...]
    counts: tuple[AreaCount, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """No revision: what Synchronize would bring to each backup. One: from it to what is live. Two: between them.

    ``cached``: neither a peer nor the disk is asked: a peer's tree is the one last known, this node's is main.
    ``target``: with no revision, instead of main.
    """

    revs: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    patch: bool = False
    part: Slice = Slice()
    cached: bool = False
    target: str = ""
    nodes: tuple[str, ...] = ()
    """With no revision, only these backups; empty for all."""


@dataclass(frozen=True, slots=True)
class NodeDiff:
    """``age_s`` is None for a tree that was read now; ``unseen`` are areas that the node does not know yet.

    ``counts`` are of all files, also where ``files`` is a part of them.
    """

    base: str | None
    target: str
    files: tuple[FileChange, ...]
    deletions: int
    age_s: float | None = None
    unseen: tuple[str, ...] = ()
    counts: tuple[AreaCount, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffReply:
    nodes: Mapping[str, NodeDiff]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """``want``: ``tag`` (``tag_object``, the newest where empty) or ``main``; ``haves``: commits the asker has."""

    want: str
    tag_object: str = ""
    haves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchReply:
    """What the pack that follows brings; ``tag`` is the tag's name, empty where there is none; ``head`` is main."""

    tag: str
    object: str
    head: str | None
    version: str
