"""The words of a commit that nobody wrote any for: which files, and what became of them. It reads only blobs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from syncsrv.plan.tree import Entry, Kind
from syncsrv.store import trailers

LONGEST = 100
"""Characters of a subject; what does not fit is counted instead."""

_NAMED_AT_MOST = 3
_COMPARED_AT_MOST = 4_000_000
"""Pairs of lines that are compared at most for the numbers; above, a change stays without."""

ReadBlob = Callable[[str], bytes]


def compose(
    text: str, *, via: str, node: str, areas: Sequence[str], requested_by: str = "", tag: str | None = None
) -> str:
    """The whole message of a commit.

    Args:
        text: subject, and a body below it where there is one.
        via: watch, cli, web, push, sync, rollback or adopt.
        node: where the commit is made.
        areas: that it touches.
        requested_by: the person behind it, where one is known.
        tag: the sync tag that was applied.
    """
    subject, _, body = text.strip().partition("\n")
    lines = {
        trailers.FORMAT_KEY: trailers.FORMAT,
        trailers.VIA: via,
        trailers.NODE: node,
        trailers.AREAS: ", ".join(areas),
        trailers.REQUESTED_BY: requested_by,
        trailers.TAG: tag or "",
    }
    return trailers.compose(subject, body, lines)


def summary(base: Mapping[bytes, Entry], changes: Mapping[bytes, Entry | None], blob: ReadBlob) -> str:
    """One line, as ``etc/nginx: portal.conf changed (+3 -1)`` or ``etc/nginx: 12 files changed, 3 removed``.

    Args:
        base: what was there before.
        changes: what is there afterwards; None where nothing is.
        blob: reads content, for the numbers of lines.
    """
    pairs = {path: (base.get(path), entry) for path, entry in sorted(changes.items()) if base.get(path) != entry}
    if not pairs:
        return "nothing changed"
    files = {path: pair for path, pair in pairs.items() if any(e and e.kind is not Kind.DIRECTORY for e in pair)}
    shown = files or pairs
    folder = _common_folder(list(shown))
    prefix = f"{_printable(folder)}: " if folder else ""
    if len(shown) <= _NAMED_AT_MOST:
        cut = len(folder) + 1 if folder else 0
        told = (f"{_printable(path[cut:])} {_told(*pair, blob)}" for path, pair in shown.items())
        line = prefix + ", ".join(told)
        if len(line) <= LONGEST:
            return line
    return prefix + _counted(list(shown.values()), "file" if files else "directory")


def _told(old: Entry | None, new: Entry | None, blob: ReadBlob) -> str:
    if old is None or new is None:
        return "removed" if new is None else "added"
    if old.kind is not new.kind:
        return f"became a {new.kind.name.lower()}"
    if old.blob != new.blob:
        if new.kind is Kind.LINK:
            return f"points to {_printable(blob(new.blob))}"
        return f"changed{_lines(blob(old.blob), blob(new.blob))}"
    told = []
    if old.mode != new.mode:
        told.append(f"mode {old.mode:04o} to {new.mode:04o}")
    if (old.user, old.group) != (new.user, new.group):
        told.append(f"owner {old.user}:{old.group} to {new.user}:{new.group}")
    return ", ".join(told) or "attributes changed"


def _lines(old: bytes, new: bytes) -> str:
    """`` (+3 -1)``; empty for what is no text, or too long to compare."""
    if b"\0" in old[:8000] or b"\0" in new[:8000]:
        return " (binary)"
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    if len(a) * len(b) > _COMPARED_AT_MOST:
        return ""
    same = sum(block.size for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return f" (+{len(b) - same} -{len(a) - same})"


def _counted(pairs: Sequence[tuple[Entry | None, Entry | None]], what: str) -> str:
    added = sum(old is None for old, _ in pairs)
    removed = sum(new is None for _, new in pairs)
    parts = [
        (count, word)
        for count, word in ((len(pairs) - added - removed, "changed"), (added, "added"), (removed, "removed"))
        if count
    ]
    noun = what if parts[0][0] == 1 else what.replace("directory", "directorie") + "s"
    told = ", ".join(f"{count} {word}" for count, word in parts)
    return told.replace(" ", f" {noun} ", 1)


def _common_folder(paths: Sequence[bytes]) -> bytes:
    """The deepest directory that all paths lie in; empty for the root."""
    folders = [path.split(b"/")[:-1] for path in paths]
    first, last = min(folders), max(folders)
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return b"/".join(first[:depth])


def _printable(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
