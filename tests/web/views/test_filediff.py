"""A changed file as it is shown: every kind of change, whatever its name and content."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment, StrictUndefined

from syncsrv.clock import SystemClock
from syncsrv.control.shapes_history import FileChange
from syncsrv.web.assets import Assets
from syncsrv.web.views.difflines import Line
from syncsrv.web.views.filediff import Badge, FileView, Manner, history_link, shown
from syncsrv.web.views.highlight import Allowance, Highlighter
from syncsrv.web.views.linehtml import line_html, visible
from syncsrv.web.views.times import duration

ENVIRONMENT = Environment(
    undefined=StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=DictLoader(
        {
            **Assets.load().templates,
            "one.html": "{% import 'diff.html' as d %}{% for one in files %}{{ d.file(one, split) }}{% endfor %}",
        }
    ),
)
ENVIRONMENT.filters["duration"] = duration
TAGS = {"details", "summary", "span", "svg", "path", "circle", "code", "p", "a", "ins", "del"}
TABLE = {"table", "colgroup", "col", "tbody", "tr", "td"}
SAFE = {"class", "id", "data-path", "open", "href", "title", "colspan", "aria-hidden", "aria-label"}
ICON = {"viewbox", "d", "cx", "cy", "r", "stroke-dasharray"}


def change(path: str = "/etc/nginx/nginx.conf", status: str = "changed", **more: object) -> FileChange:
    usual: dict[str, object] = {"area": "proxy", "old_mode": "0644", "new_mode": "0644"}
    usual |= {"old_kind": "file", "new_kind": "file", "old_blob": "a" * 40, "new_blob": "b" * 40}
    if status == "added":
        usual |= {"old_mode": None, "old_kind": "", "old_blob": ""}
    if status == "removed":
        usual |= {"new_mode": None, "new_kind": "", "new_blob": ""}
    return FileChange(path, status, **{**usual, **more})  # type: ignore[arg-type]  # keywords of a record


def one(made: FileChange, how: Manner | None = None) -> FileView:
    (view,) = shown([made], how or Manner())
    return view


def html(*made: FileChange, how: Manner | None = None) -> str:
    how = how or Manner()
    return ENVIRONMENT.get_template("one.html").render(files=shown(made, how), split=how.split)


class Tags(HTMLParser):
    """Which tags a browser would see, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = st.text(alphabet=st.sampled_from("<>&'\"ab \t\r\n\0\x1b\u202e{}%é"), max_size=60)


@given(HOSTILE, HOSTILE, HOSTILE, st.booleans())
def test_nothing_of_a_file_becomes_a_tag(name: str, old: str, new: str, split: bool) -> None:
    colours = Highlighter()
    allowance = Allowance(SystemClock())
    how = Manner(
        split=split,
        link=history_link("old", "new"),
        more=lambda path: "/changes?full=x",
        colours=lambda path, text, blob: colours.lines(path, text, blob, allowance),
    )
    made = change("/etc/" + name, old_text="<script>" + old, new_text=new + "</td><img src=x>", old_owner="<i>:<b>")
    found = Tags(html(made, how=how))
    assert found.seen <= TAGS | TABLE
    assert found.attributes <= SAFE | ICON


@given(st.text(max_size=40), st.sampled_from(["", "ins", "del"]), st.data())
def test_a_line_keeps_its_text(text: str, tag: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    marks = tuple(zip(places[::2], places[1::2], strict=False)) if tag else ()
    runs = tuple(data.draw(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["", "k", "s", "c"])), max_size=6)))
    said = unescape(re.sub("<[^>]*>", "", line_html(Line(1, text, "\n", marks), runs, tag)))
    body = len(text.rstrip(" \t")) if tag else len(text)
    assert said == visible(text[:body]) + text[body:].replace(" ", "·").replace("\t", "→\t")


def test_words_colours_and_blanks() -> None:
    line = Line(1, "listen 443 ssl;  ", "\n", ((7, 10), (15, 17)))
    assert line_html(line, ((6, "k"), (1, ""), (3, "s")), "del") == (
        '<span class="k">listen</span> <del>443</del> ssl;<del class="ws">··</del>'
    )
    assert line_html(Line(1, "a  "), (), "ins") == 'a<span class="ws">··</span>'
    assert line_html(Line(1, "a  "), (), "") == "a  ", "what is the same stays as it is"


def test_endings_are_shown() -> None:
    assert "␍" in line_html(Line(1, "a", "\r\n"), (), "ins")
    assert "no newline at end" in line_html(Line(1, "a", ""), (), "")
    assert "998,000 more characters" in line_html(Line(1, "a", "\n", (), 998_000), (), "ins")
    assert one(change(old_text="a\r\n", new_text="a\n")).facts == ("line ends CRLF → LF",)


def test_what_could_turn_a_line_around_is_shown_as_its_number() -> None:
    assert visible("a\u202eb\x1b[0m\x00\ud800") == "a⟨U+202E⟩b␛[0m␀\N{REPLACEMENT CHARACTER}"


def test_a_mode_and_an_owner_are_said_in_badge_and_line() -> None:
    view = one(
        change(
            status="mode",
            new_mode="0640",
            old_owner="root:root",
            new_owner="root:www-data",
            old_text="a\n",
            new_text="a\n",
        )
    )
    assert view.badges == (Badge("mode changes", "warn"), Badge("owner changes", "warn"))
    assert view.facts == ("mode 0644 → 0640", "owner root:root → root:www-data")
    assert view.note == "The text is the same."
    assert "Only what stands above changes" in one(change(status="xattr")).note


def test_what_comes_and_what_goes() -> None:
    new = one(change(status="added", new_mode="0640", new_owner="root:www-data", new_text="a\nb\n"))
    assert (new.css, new.word, new.added, new.removed) == ("a", "added", 2, 0)
    assert new.hunks[0].head == "@@ new file, 0640 root:www-data"
    gone = one(change(status="removed", old_owner="root:root", old_text="a\n"))
    assert (gone.css, gone.sign, gone.hunks[0].head) == ("d", "−", "@@ deleted, was 0644 root:root")
    assert one(change(status="added", new_text="", new_owner="root:root")).note == "New empty file, 0644 root:root."


def test_what_is_not_text_has_sizes_hashes_and_downloads() -> None:
    made = change(binary=True, old_size=10, new_size=50_000_000)
    text = html(made, how=Manner(link=history_link("1" * 40, "2" * 40)))
    assert "Not text" in text
    assert "50,000,000 bytes" in text
    assert f'href="/history/{"1" * 40}/file?path=/etc/nginx/nginx.conf&amp;download=1"' in text
    assert "b" * 40 in text
    assert [side.word for side in one(change(status="added", large=True, new_size=1 << 21)).sides] == ["after"]


def test_what_was_too_much_for_the_page_can_be_asked_for_alone() -> None:
    view = one(change(large=True, old_size=1000, new_size=1 << 20), Manner(more=lambda path: "/x"))
    assert (view.more, view.sides) == ("/x", ())
    assert "Too much for a page" in view.note
    assert one(change(large=True, old_size=1000, new_size=1 << 21), Manner(more=lambda path: "/x")).more == ""


def test_a_page_compares_only_so_many_lines() -> None:
    made = [change(f"/etc/{n}", old_text="a\n" * 60_000, new_text="b\n" * 60_000) for n in range(3)]
    views = shown(made, Manner(more=lambda path: path))
    assert [bool(view.rows) for view in views] == [True, False, False]
    assert ("Too much for a page" in views[1].note, views[1].more) == (True, "/etc/1")
    assert shown(made, Manner(full="/etc/1"))[1].rows == 120_000


def test_links_directories_and_types() -> None:
    moved = one(
        change(old_kind="link", new_kind="link", old_text="../a", new_text="../b", old_mode="0777", new_mode="0777")
    )
    assert (moved.facts, moved.badges, moved.hunks) == (("target ../a → ../b",), (Badge("link"),), ())
    made = one(change(status="added", new_kind="directory", new_mode="0755", new_owner="root:root"))
    assert (made.note, made.href) == ("New directory, 0755 root:root.", "")
    other = one(change(status="type", new_kind="link", new_text="../b", new_mode="0777"))
    assert "file → link" in other.facts
    assert Badge("another type", "warn") in other.badges


def test_a_long_difference_is_folded_and_begins() -> None:
    long = change(old_text="", new_text="x\n" * 5000, status="added")
    view = one(long, Manner(more=lambda path: f"/changes?full={path}"))
    assert (view.open, view.rows, view.hidden) == (False, 5000, 4960)
    assert view.more == "/changes?full=/etc/nginx/nginx.conf"
    assert "4,960 more lines" in html(long, how=Manner(more=lambda path: "/x"))
    whole = one(long, Manner(full="/etc/nginx/nginx.conf"))
    assert (whole.open, whole.hidden, sum(len(hunk.rows) for hunk in whole.hunks)) == (True, 0, 5000)


def test_a_page_of_many_long_files_ends() -> None:
    made = [change(f"/etc/{n}", new_text=f"{n}\n" * 390, old_text="") for n in range(50)]
    views = shown(made, Manner())
    assert sum(view.rows - view.hidden for view in views) < 8000
    assert views[0].hidden == 0
    assert views[-1].hidden == 350


def test_a_file_whose_text_was_not_asked_for_says_where_it_is() -> None:
    view = one(change(), Manner(more=lambda path: "/changes?full=x"))
    assert (view.added, view.more) == (None, "/changes?full=x")
    assert "Show what differs" in html(change(), how=Manner(more=lambda path: "/x"))


@pytest.mark.parametrize("split", [False, True])
def test_signs_are_words_for_those_who_do_not_see_them(split: bool) -> None:
    text = html(change(old_text="a\n", new_text="b\n"), how=Manner(split=split))
    assert '−<span class="sr">removed</span>' in text
    assert '+<span class="sr">added</span>' in text
    assert ("split" in text) == split
