"""A whole file as lines, and what it is called when it is saved."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from syncsrv.web.views.linehtml import visible
from syncsrv.web.views.wholefile import MOST_LINES, disposition, numbered, text_of


def read(line: str) -> str:
    """What a reader sees of it, without the tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", line))


@given(st.text())
def test_every_line_stands_there_with_its_number(text: str) -> None:
    lines, more = numbered(text, ())
    assert more == 0
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    wanted = text.split("\n")
    if wanted[-1] == "":
        wanted.pop()
    assert len(lines) == len(wanted)
    for line, raw in zip(lines, wanted, strict=True):
        body = raw.removesuffix("\r") if text.count("\n") > line.number - 1 else raw
        assert read(str(line.html)).startswith(visible(body)), "nothing that can be read is left out"
        assert not re.search(r"<(?!/?span)", str(line.html)), "only our own tags"


def test_a_very_long_line_is_whole_and_very_many_are_counted() -> None:
    (line,), _ = numbered("y" * 100_000, ())
    assert read(line.html).startswith("y" * 100_000)
    lines, more = numbered("x\n" * (MOST_LINES + 7), ())
    assert (len(lines), more) == (MOST_LINES, 7)
    assert numbered("", ()) == ([], 0)


def test_colours_go_to_their_line() -> None:
    lines, _ = numbered("key value\nother\n", [((3, "k"), (6, "")), ()])
    assert str(lines[0].html) == '<span class="k">key</span> value'
    assert str(lines[1].html) == "other"


def test_bytes_that_are_no_text_are_escapes_and_what_has_a_nul_is_binary() -> None:
    assert text_of(b"caf\xe9\xff") == "caf\\xe9\\xff"
    assert text_of("é".encode()) == "é"
    assert text_of(b"a\0b") is None
    assert text_of(b"") == ""


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_no_name_gets_out_of_its_header_or_its_folder(name: str) -> None:
    said = disposition(f"/etc/{name}")
    assert said.isascii()
    assert said.isprintable()
    found = re.fullmatch(r'attachment; filename="([A-Za-z0-9._-]+)"; filename\*=UTF-8\'\'([A-Za-z0-9._~%-]+)', said)
    assert found is not None
    saved = unquote(found[2])
    assert saved
    assert not saved.startswith(".")
    assert not {"/", "\\", "\n", "\r", "\0", "\x1b", "\u202e"} & set(saved)
    assert len(saved) <= 2000


def test_a_usual_name_is_kept() -> None:
    assert disposition("/etc/nginx/nginx.conf") == (
        "attachment; filename=\"nginx.conf\"; filename*=UTF-8''nginx.conf"
    )  # fmt: skip
    assert disposition("/etc/größe.conf").endswith("filename*=UTF-8''gr%C3%B6%C3%9Fe.conf")
    assert 'filename="bashrc"' in disposition("/root/.bashrc")
    assert 'filename="file"' in disposition("/")
