"""The difference that people read: it is the texts themselves, in both views, and costs no more than it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.plan.patience import Effort
from syncsrv.web.views.difflines import Efforts, Hunk, Line, Row, TextDiff, split_lines, text_diff
from tests.support.work import calls

TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b b", "  c = 1;", "  c = 2;", "}", "\f", "é\u2028x"]),
        st.sampled_from(["\n", "\r\n"]),
    ),
    max_size=25,
).flatmap(lambda lines: st.sampled_from(["", "end"]).map(lambda end: "".join(a + b for a, b in lines) + end))


def text_of(lines: Iterable[Line | None]) -> list[str]:
    return [line.text + line.ending for line in lines if line is not None]


def applied(old: str, found: TextDiff, rows_of: Callable[[Hunk], Iterable[Row]]) -> str:
    """What a reader gets who replaces in the old text what the hunks show as old by what they show as new."""
    lines = split_lines(old)
    done: list[str] = []
    at = 0
    for hunk in found.hunks():
        rows = list(rows_of(hunk))
        done += lines[at : hunk.old_start - 1]
        before = text_of(row.old for row in rows)
        assert lines[hunk.old_start - 1 : hunk.old_start - 1 + len(before)] == before
        assert [row.old.number for row in rows if row.old] == [hunk.old_start + n for n in range(len(before))]
        done += text_of(row.new for row in rows)
        at = hunk.old_start - 1 + len(before)
    return "".join((*done, *lines[at:]))


@given(TEXTS, TEXTS, st.sampled_from([0, 40, 4_000_000]))
def test_what_is_shown_makes_the_new_text_out_of_the_old(old: str, new: str, paid: int) -> None:
    found = text_diff(old, new, Efforts(Effort(paid), Effort(paid)))
    assert applied(old, found, Hunk.unified) == new
    assert applied(old, found, Hunk.split) == new


@given(TEXTS, TEXTS)
def test_both_views_say_the_same(old: str, new: str) -> None:
    for hunk in text_diff(old, new).hunks():
        unified, split = list(hunk.unified()), list(hunk.split())
        assert [row.old for row in unified if row.old] == [row.old for row in split if row.old]
        assert [row.new for row in unified if row.new] == [row.new for row in split if row.new]
        assert not any(row.same for row in split if row.old is None or row.new is None)


@given(TEXTS, TEXTS)
def test_the_counts_are_those_of_the_rows(old: str, new: str) -> None:
    found = text_diff(old, new)
    rows = [row for hunk in found.hunks() for row in hunk.unified() if not row.same]
    assert found.added == sum(row.new is not None for row in rows)
    assert found.removed == sum(row.old is not None for row in rows)
    for split in (False, True):
        assert found.rows(split) == sum(len(list(one.split() if split else one.unified())) for one in found.hunks())


@given(TEXTS, TEXTS, st.integers(1, 12))
def test_a_part_is_the_begin_of_the_whole(old: str, new: str, limit: int) -> None:
    found = text_diff(old, new)
    for way in (Hunk.unified, Hunk.split):
        whole = [row for hunk in found.hunks() for row in way(hunk)]
        part = [row for hunk in found.hunks(limit) for row in way(hunk)]
        assert len(part) >= min(limit, len(whole))
        assert len({row.old.number for row in part if row.old}) <= limit
        if way is Hunk.split:
            assert part == whole[: len(part)]


def marked(line: Line | None) -> list[str]:
    assert line is not None
    return [line.text[begin:end] for begin, end in line.marks]


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_is_not_marked_is_the_same_on_both_sides(old: str, new: str) -> None:
    def rest(line: Line) -> str:
        kept, at = "", 0
        for begin, end in line.marks:
            assert at <= begin < end <= len(line.text)
            kept, at = kept + line.text[at:begin], end
        return kept + line.text[at:]

    for hunk in text_diff(old + "\n", new + "\n").hunks():
        for block in hunk.blocks:
            if block.paired:
                assert [rest(line) for line in block.old] == [rest(line) for line in block.new]


def test_words_are_marked_inside_lines_that_are_alike() -> None:
    found = text_diff(
        "proxy_read_timeout 60s;\nlisten 443 ssl;\n", "proxy_read_timeout 300s;\nlisten 443 ssl reuseport;\n"
    )
    rows = list(next(found.hunks()).unified())
    assert [marked(row.old or row.new) for row in rows] == [["60s"], ["300s"], [], [" reuseport"]]
    assert [(row.old is None) for row in rows] == [False, True, False, True], "each above its successor"


def test_no_words_are_marked_in_lines_that_are_not_alike_or_too_long() -> None:
    for old, new in (("alpha beta\n", "one two three\n"), ("a " * 600 + "b\n", "a " * 600 + "c\n")):
        (hunk,) = text_diff(old, new).hunks()
        assert not any(line.marks for block in hunk.blocks for line in (*block.old, *block.new))
    many, more = "".join(f"key {n} = a\n" for n in range(201)), "".join(f"key {n} = b\n" for n in range(201))
    (hunk,) = text_diff(many, more).hunks()
    assert not any(line.marks for block in hunk.blocks for line in block.new)


def test_a_missing_newline_at_the_end_and_carriage_returns_are_differences() -> None:
    (hunk,) = text_diff("a\n", "a").hunks()
    old, new = (row.old or row.new for row in hunk.unified())
    assert (old and old.ending, new and new.ending) == ("\n", "")
    (hunk,) = text_diff("a\r\nb\n", "a\nb\n").hunks()
    first = next(iter(hunk.unified())).old
    assert first == Line(1, "a", "\r\n")


def test_only_a_newline_ends_a_line() -> None:
    assert split_lines("a\fb\u2028c\x85d\n\ne") == ["a\fb\u2028c\x85d\n", "\n", "e"]
    assert split_lines("") == []


def test_a_hunk_names_the_section_that_it_stands_in() -> None:
    old = "http {\n" + "".join(f"  line {n};\n" for n in range(20)) + "}\n"
    (hunk,) = text_diff(old, old.replace("line 15;", "line 99;")).hunks()
    assert hunk.heading == "http {"
    assert hunk.new_start == 14


def test_the_end_of_a_very_long_line_is_counted() -> None:
    (hunk,) = text_diff("", "x" * 1_000_000).hunks()
    (row,) = hunk.unified()
    assert row.new is not None
    assert (len(row.new.text), row.new.cut) == (2000, 998_000)


HOSTILE: dict[str, Callable[[], tuple[str, str]]] = {
    "repetitive": lambda: ("a\nb\n" * 2500, "b\nb\na\n" * 1700),
    "one line again and again": lambda: ("x\n" * 5000, "y\n" + "x\n" * 4998 + "y\n"),
    "all different": lambda: ("".join(f"a{n}\n" for n in range(5000)), "".join(f"b{n}\n" for n in range(5000))),
    "one line of a megabyte": lambda: ("a b" * 350_000, "b a" * 350_000),
    "words that hurt": lambda: (
        "".join("a b " * 240 + f"{n}\n" for n in range(200)),
        "".join("b a " * 240 + f"{n}.\n" for n in range(200)),
    ),
    "half a million lines": lambda: ("\n" * 500_000, "\n\r\n" * 200_000),
    "a column of braces": lambda: ("{\n}\n" * 2500, "{\n{\n}\n}\n" * 1250),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_text_made_to_hurt_ends_soon(name: str) -> None:
    old, new = HOSTILE[name]()
    efforts = Efforts()
    given = efforts.lines.left + efforts.words.left
    found, steps = calls(lambda: text_diff(old, new, efforts))
    shown, more = calls(lambda: list(found.hunks(400)))
    assert shown
    paid = given - efforts.lines.left - efforts.words.left
    assert min(efforts.lines.left, efforts.words.left) >= 0
    lines = len(split_lines(old)) + len(split_lines(new))
    assert steps + more < 1000 + 5 * (lines + paid), "what it does is paid for"
