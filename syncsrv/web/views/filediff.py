"""A changed file as the macros of ``diff.html`` show it, on whichever page. Pure.

A page asks core for ``FileChange`` records, with texts for those that it shows, and calls ``shown`` once for all of
them, so that what one hostile file costs is not there for the next::

    how = Manner(split=view == "split", full=request.args.get("full", ""), colours=colours(), link=link_to(...))
    files = shown(diff.files, how)
    {% import "diff.html" as d %} … {% for file in files %}{{ d.file(file, split) }}{% endfor %}

``colours`` come from ``syncsrv.web.colours.colours()``; ``link`` makes the address of a file at either side, as
``history_link`` does. A file that core left out for its size, or that is folded, is asked for alone by ``full``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias
from urllib.parse import quote

from markupsafe import Markup

from syncsrv.control.shapes_history import FileChange
from syncsrv.plan.patch import LARGEST
from syncsrv.web.views.difflines import Efforts, Hunk, Line, Row, TextDiff, text_diff
from syncsrv.web.views.highlight import Runs
from syncsrv.web.views.linehtml import line_html, visible

MOST_ROWS = 400
"""Lines of one file's difference; one with more is folded, and begins with ``FIRST_ROWS`` of them."""
FIRST_ROWS = 40
MOST_ROWS_FULL = 20_000
"""Lines of a file that was asked for whole; the rest is in the file itself."""
MOST_ROWS_PAGE = 6000
"""Lines on one page; the files after that are folded and begin with ``FIRST_ROWS``."""

TOO_MUCH = "Too much for a page with other files."

Colours: TypeAlias = Callable[[str, str, str], Sequence[Runs]]
"""Path, whole text and id of its content to the colours of each line."""

_SIGNS = {"added": ("a", "+", "added"), "removed": ("d", "−", "deleted")}


def plain(path: str, text: str, blob: str) -> Sequence[Runs]:
    """Colours of a page without any."""
    return ()


def no_link(side: str, path: str, download: bool) -> str:
    """Links of a page without any."""
    return ""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a page shows its files.

    Attributes:
        split: side by side.
        full: the path of a file that is shown whole, however long.
        folded: every file is folded, as on a page of many.
        colours: of the syntax.
        link: side (``old`` or ``new``), path and whether to download, to an address; empty for no link.
        more: path to the address of this page with that file shown whole; empty for no link.
        efforts: what comparing may cost, for the whole page.
    """

    split: bool = False
    full: str = ""
    folded: bool = False
    colours: Colours = plain
    link: Callable[[str, str, bool], str] = no_link
    more: Callable[[str], str] = lambda path: ""
    efforts: Efforts = field(default_factory=Efforts)


@dataclass(frozen=True, slots=True)
class Cell:
    """One line on one side; ``number`` None and no text where there is none."""

    number: int | None
    html: Markup


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of the table; ``kind``: same, del, add, or both (side by side)."""

    kind: str
    old: Cell
    new: Cell


@dataclass(frozen=True, slots=True)
class ShownHunk:
    """``head``: where it stands, and the section around it."""

    head: str
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What one side holds where it is not shown line by line."""

    word: str
    size: int | None
    blob: str
    href: str


@dataclass(frozen=True, slots=True)
class Badge:
    """Two words beside a path; ``kind``: warn, todo or off."""

    text: str
    kind: str = "off"


@dataclass(frozen=True, slots=True)
class FileView:
    """One file.

    Attributes:
        id: its anchor on the page.
        path, area: as core names them; ``name``: without what the page knows, for lists.
        css, sign, word: d − deleted, a + added, m ~ changed.
        added, removed: lines; None where they were not counted.
        badges: what else changes, in two words.
        facts: what else changes, old → new.
        note: instead of lines, or None.
        sides: of what is not text, before and after.
        hunks: the lines.
        hidden: how many rows are not on this page; ``more``: the address where they are.
        open: whether it is unfolded.
        href, download: the file as it will be, or was.
    """

    id: str
    path: str
    name: str
    area: str
    css: str
    sign: str
    word: str
    added: int | None
    removed: int | None
    badges: tuple[Badge, ...]
    facts: tuple[str, ...]
    note: str
    sides: tuple[Side, ...]
    hunks: tuple[ShownHunk, ...]
    rows: int
    hidden: int
    more: str
    open: bool
    href: str
    download: str


def shown(files: Iterable[FileChange], how: Manner, first: int = 1) -> list[FileView]:
    """Every file of a page, in the order given; ``first``: the number of the first one's anchor."""
    views = []
    left = MOST_ROWS_PAGE
    for number, one in enumerate(files, first):
        view = _file(one, how, f"f{number}", left)
        left -= view.rows - view.hidden
        views.append(view)
    return views


def history_link(old: str | None, new: str | None) -> Callable[[str, str, bool], str]:
    """Links to the file at two commits of this node's history."""

    def link(side: str, path: str, download: bool) -> str:
        commit = old if side == "old" else new
        if not commit:
            return ""
        return f"/history/{commit}/file?path={quote(path, safe='/')}{'&download=1' if download else ''}"

    return link


def _file(one: FileChange, how: Manner, anchor: str, left: int) -> FileView:
    css, sign, word = _SIGNS.get(one.status, ("m", "~", "changed"))
    side = "old" if one.status == "removed" else "new"
    found = _compared(one, how)
    hunks, rows, hidden = _hunks(one, found, how, left) if found else ((), 0, 0)
    note = _note(one, found)
    return FileView(
        id=anchor,
        path=visible(one.path),
        name=visible("/".join(one.path.split("/")[-2:])),
        area=one.area,
        css=css,
        sign=sign,
        word=word,
        added=found.added if found else None,
        removed=found.removed if found else None,
        badges=_badges(one),
        facts=_facts(one),
        note=note,
        sides=_sides(one, how) if one.binary or (one.large and not _alone(one)) else (),
        hunks=hunks,
        rows=rows,
        hidden=hidden,
        more=how.more(one.path) if (hidden and how.full != one.path) or (not found and _alone(one)) else "",
        open=(not how.folded and not hidden) or how.full == one.path,
        href=how.link(side, one.path, False) if "directory" not in _kinds(one) else "",
        download=how.link(side, one.path, True) if "directory" not in _kinds(one) else "",
    )


def _kinds(one: FileChange) -> tuple[str, str]:
    return one.old_kind, one.new_kind


def _compared(one: FileChange, how: Manner) -> TextDiff | None:
    """The lines that differ; None where it is not text on both sides, or was not asked for."""
    if one.binary or one.large or (one.old_text is None and one.new_text is None):
        return None
    if {"link", "directory"} & set(_kinds(one)):
        return None
    old, new = one.old_text or "", one.new_text or ""
    if how.full != one.path and not how.efforts.room.pay(old.count("\n") + new.count("\n")):
        return None
    return text_diff(old, new, how.efforts)


def _hunks(one: FileChange, found: TextDiff, how: Manner, left: int) -> tuple[tuple[ShownHunk, ...], int, int]:
    whole = found.rows(how.split)
    if how.full == one.path:
        limit = min(whole, MOST_ROWS_FULL)
    else:
        limit = whole if whole <= min(MOST_ROWS, left) else min(FIRST_ROWS, whole)
    before = how.colours(one.path, one.old_text or "", one.old_blob) if limit else ()
    after = how.colours(one.path, one.new_text or "", one.new_blob) if limit else ()
    hunks = []
    room = limit
    for hunk in found.hunks(limit):
        rows = tuple(_row(row, before, after) for row in islice(hunk.split() if how.split else hunk.unified(), room))
        room -= len(rows)
        hunks.append(ShownHunk(_head(one, hunk), rows))
        if room <= 0:
            break
    return tuple(hunks), whole, whole - limit


def _row(row: Row, before: Sequence[Runs], after: Sequence[Runs]) -> ShownRow:
    kind = "same" if row.same else "both" if row.old and row.new else "del" if row.old else "add"
    return ShownRow(kind, _cell(row.old, before, row.same, "del"), _cell(row.new, after, row.same, "ins"))


def _cell(line: Line | None, colours: Sequence[Runs], same: bool, tag: str) -> Cell:
    if line is None:
        return Cell(None, Markup(""))
    runs = colours[line.number - 1] if line.number <= len(colours) else ()
    return Cell(line.number, line_html(line, runs, "" if same else tag))


def _head(one: FileChange, hunk: Hunk) -> str:
    if one.status == "added":
        return f"@@ new file, {one.new_mode} {one.new_owner or ''}".rstrip()
    if one.status == "removed":
        return f"@@ deleted, was {one.old_mode} {one.old_owner or ''}".rstrip()
    return f"@@ {hunk.new_start},{hunk.new_size} @@ {visible(hunk.heading)}".rstrip()


def _badges(one: FileChange) -> tuple[Badge, ...]:
    old, new = _kinds(one)
    other_type = one.status == "type"
    mode = bool(one.old_mode and one.new_mode and one.old_mode != one.new_mode) and not other_type
    owner = bool(one.old_owner and one.new_owner and one.old_owner != one.new_owner)
    found = (
        (Badge("another type", "warn"), other_type),
        (Badge("mode changes", "warn"), mode),
        (Badge("owner changes", "warn"), owner),
        (Badge("extended attributes change", "warn"), one.status == "xattr"),
        (Badge("binary"), one.binary),
        (Badge("large"), one.large),
        (Badge(new or old), (new or old) in {"link", "directory"}),
    )
    return tuple(badge for badge, holds in found if holds)


def _facts(one: FileChange) -> tuple[str, ...]:
    found = []
    old, new = _kinds(one)
    if old and new and old != new:
        found.append(f"{old} → {new}")
    if one.old_mode and one.new_mode and one.old_mode != one.new_mode:
        found.append(f"mode {one.old_mode} → {one.new_mode}")
    if one.old_owner and one.new_owner and one.old_owner != one.new_owner:
        found.append(f"owner {visible(one.old_owner)} → {visible(one.new_owner)}")
    if one.status == "xattr":
        found.append("the content is the same; extended attributes differ")
    if "link" in (old, new):
        targets = [text or "?" for kind, text in ((old, one.old_text), (new, one.new_text)) if kind == "link"]
        found.append("target " + " → ".join(visible(target) for target in targets))
    before, after = _endings(one.old_text), _endings(one.new_text)
    if before and after and before != after:
        found.append(f"line ends {before} → {after}")
    elif "CRLF" in after or (not after and "CRLF" in before):
        found.append(f"line ends {after or before}")
    return tuple(found)


def _endings(text: str | None) -> str:
    if not text or "\n" not in text:
        return ""
    crlf = text.count("\r\n")
    return "LF" if not crlf else "CRLF" if crlf == text.count("\n") else "CRLF and LF mixed"


def _note(one: FileChange, found: TextDiff | None) -> str:
    """What is said where there are no lines; empty where there are, or where they wait behind a link."""
    word = {"added": "new", "removed": "deleted"}.get(one.status, "")
    for kind in ("directory", "link"):
        if kind in {one.new_kind or one.old_kind} and one.status != "type":
            return f"{word} {kind}".strip().capitalize() + _meta(one)
    if one.binary:
        return "Not text, so it is not shown line by line."
    if one.large and _alone(one):
        return TOO_MUCH
    if one.large:
        return "Too large to be shown line by line."
    if found is None and (one.old_text or one.new_text):
        return TOO_MUCH
    if found is None:
        return "Only what stands above changes." if one.status in {"type", "mode", "owner", "xattr"} else ""
    if not found.found:
        empty = not (one.old_text or one.new_text)
        return f"{word} empty file".strip().capitalize() + _meta(one) if empty and word else "The text is the same."
    return ""


def _alone(one: FileChange) -> bool:
    """Whether its text could be shown where it is asked for without other files."""
    if one.binary or {"link", "directory"} & set(_kinds(one)) or one.old_blob == one.new_blob:
        return False
    return max(one.old_size or 0, one.new_size or 0) <= LARGEST


def _meta(one: FileChange) -> str:
    mode, owner = (one.new_mode, one.new_owner) if one.new_mode else (one.old_mode, one.old_owner)
    return f", {'was ' if one.status == 'removed' else ''}{mode} {visible(owner or '')}".rstrip() + "."


def _sides(one: FileChange, how: Manner) -> tuple[Side, ...]:
    both = (
        Side("before", one.old_size, one.old_blob, how.link("old", one.path, True)),
        Side("after", one.new_size, one.new_blob, how.link("new", one.path, True)),
    )
    return tuple(side for side in both if side.blob)
