"""One line as HTML: escaped, coloured, its marks and blanks made visible. Pure.

Markup is made here and nowhere else from a file's text, always by markupsafe's ``escape``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

from markupsafe import Markup, escape

from syncsrv.web.views.difflines import Line
from syncsrv.web.views.highlight import Runs

_UNSEEN = (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0x061C, 0xFEFF, 0x00AD)
"""Characters that are not seen or turn the direction of what follows: a line would read as another than it is."""
_TABLE = {
    **{code: chr(0x2400 + code) for code in range(32) if code != 9},
    127: "␡",
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x80, 0xA0), *_UNSEEN)},
    **dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"),
}
_TURNING = {
    **{code: said for code, said in _TABLE.items() if code < 0xA0 and chr(code) not in "\t\n"},
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
_BLANKS = {ord(" "): "·", ord("\t"): "→\t"}


def visible(text: str) -> str:
    """Text with its control characters as pictures, so that it is read as what it is; not escaped."""
    return text.translate(_TABLE)


def upright(text: str) -> str:
    """Text in which nothing turns the direction of what follows or controls what shows it; lines stay. Not escaped."""
    return text.translate(_TURNING)


def line_html(line: Line, runs: Runs, tag: str) -> Markup:
    """The text of one line.

    Args:
        line: with its marks.
        runs: its colours; inside a mark there are none.
        tag: ``ins`` or ``del`` for what marks stand in; empty for a line that is the same on both sides.
    """
    text, html = line.text, []
    blanks = len(text.rstrip(" \t")) if tag and not line.cut else len(text)
    for start, end, css, marked in _segments(len(text), blanks, runs, line.marks):
        if start >= blanks:
            said = escape(text[start:end].translate(_BLANKS))
            html.append(Markup('<{0} class="ws">{1}</{0}>').format(tag if marked else "span", said))
            continue
        said = escape(visible(text[start:end]))
        if marked:
            html.append(Markup("<{0}>{1}</{0}>").format(tag, said))
        elif css:
            html.append(Markup('<span class="{}">{}</span>').format(css, said))
        else:
            html.append(said)
    if line.cut:
        html.append(Markup(' <span class="eol">… {:,} more characters</span>').format(line.cut))
    if tag and line.ending == "\r\n":
        html.append(Markup('<span class="eol" title="carriage return">␍</span>'))
    if not line.ending:
        html.append(Markup(' <span class="eol">no newline at end</span>'))
    return Markup("").join(html)


def _segments(
    length: int, blanks: int, runs: Runs, marks: tuple[tuple[int, int], ...]
) -> Iterator[tuple[int, int, str, bool]]:
    """Begin, end, colour and whether it is marked, from the first character to the last."""
    if not runs and not marks and blanks == length:
        if length:
            yield 0, length, "", False
        return
    ends = list(accumulate(size for size, _ in runs))
    points = {0, length, blanks, *(min(length, end) for end in ends)}
    for begin, end in marks:
        inside = [point for point in points if begin < point < end and point != blanks]
        points.difference_update(inside)  # a mark is one piece: it has no colours
        points.update((min(length, begin), min(length, end)))
    ordered = sorted(points)
    run = mark = 0
    for start, end in pairwise(ordered):
        while run < len(ends) and ends[run] <= start:
            run += 1
        while mark < len(marks) and marks[mark][1] <= start:
            mark += 1
        marked = mark < len(marks) and marks[mark][0] <= start
        yield start, end, runs[run][1] if run < len(runs) else "", marked
