"""Syntax colour: of whole files, line by line, and never worth waiting for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.clock import SystemClock
from syncsrv.web.views import highlight
from syncsrv.web.views.highlight import Allowance, Highlighter, Runs, language_of, preload

PATHS = ["nginx/a", "a.json", "a.yaml", "a.toml", "apache2/a", "a.py", "a.pl", "a.lua", "a.css", "a.xml", "db.a"]
PATHS = [f"/etc/{path}" for path in (*PATHS, "a.vcl", "a.sh", "a.ini", "haproxy/haproxy.cfg")]


class Stopped:
    """A clock that goes on by ``step_s`` with each look at it."""

    def __init__(self, step_s: float) -> None:
        self._now, self._step_s = 0.0, step_s

    def monotonic(self) -> float:
        self._now += self._step_s
        return self._now

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def colours(path: str, text: str, seconds: float = 60) -> tuple[Runs, ...]:
    return Highlighter().lines(path, text, "", Allowance(SystemClock(), seconds))


def coloured(text: str, found: tuple[Runs, ...]) -> list[list[tuple[str, str]]]:
    """Per line what has a colour."""
    lines = []
    for line, runs in zip(text.split("\n"), found, strict=False):
        at, parts = 0, []
        for length, css in runs:
            if css:
                parts.append((css, line[at : at + length]))
            at += length
        lines.append(parts)
    return lines


@given(st.sampled_from(PATHS), st.text(alphabet=st.sampled_from("ab \t\r\n{}[]\"'#;:=<>/*\\$é-"), max_size=80))
def test_no_line_has_more_colour_than_text(path: str, text: str) -> None:
    lines = text.replace("\r\n", "\n").split("\n")
    found = colours(path, text)
    assert len(found) <= len(lines)
    assert all(sum(length for length, _ in runs) <= len(line) for line, runs in zip(lines, found, strict=False))


def test_keys_strings_and_comments() -> None:
    text = '# a comment\nserver:\n    name: "lab.example."  # more\n'
    assert coloured(text, colours("/etc/unbound/unbound.conf", text)) == [
        [("c", "# a comment")],
        [("k", "server:")],
        [("k", "name:"), ("s", '"lab.example."'), ("c", "  # more")],
        [],
    ]
    text = "server {\n  listen 80; # x\n}\n"
    assert coloured(text, colours("/etc/nginx/sites/a", text))[1] == [("k", "listen"), ("c", "# x")]


def test_what_runs_over_lines_keeps_its_colour() -> None:
    text = "a: |\n  b\n/* c\n   d */\n"
    assert coloured(text, colours("/etc/named.conf", text))[3] == [("c", "   d */")]
    text = 'x = """\nlist [1]\n"""\n'
    assert coloured(text, colours("/etc/a.py", text))[1] == [("s", "list [1]")]


def test_carriage_returns_change_no_colour() -> None:
    text = "a 1 # x\nb 2 # y\n"
    assert colours("/etc/a.conf", text.replace("\n", "\r\n")) == colours("/etc/a.conf", text)


def test_each_path_has_a_language() -> None:
    names = {path: language_of(path) for path in PATHS}
    assert len(set(names.values())) == len(PATHS)
    assert language_of("/etc/kea/kea-dhcp4.conf") == "json"
    assert language_of("/etc/systemd/system/a.service") == "ini"
    assert language_of("/etc/motd.txt") == ""
    preload()


@pytest.mark.parametrize(
    "text", ["a\n" * 10_001, "a" * 1001, "a b\n" * 300_000], ids=["lines", "one line", "characters"]
)
def test_what_is_too_large_stays_plain(text: str) -> None:
    assert colours("/etc/a.conf", text) == ()


def test_a_page_that_took_too_long_goes_on_without_colour() -> None:
    kept = Highlighter()
    text = "key value\n" * 50
    assert kept.lines("/etc/a.conf", text, "blob", Allowance(Stopped(0.3), 1.0)) == ()
    found = kept.lines("/etc/a.conf", text, "blob", Allowance(Stopped(0.0), 1.0))
    assert len(found) == 51
    assert kept.lines("/etc/a.conf", "", "blob", Allowance(Stopped(9.0), 1.0)) == found, "remembered by its content"
    assert kept.lines("/etc/a.yaml", text, "blob", Allowance(Stopped(9.0), 1.0)) == (), "of another language"


def test_one_line_may_not_take_longer_than_a_page() -> None:
    line = "m{" * 400
    assert Highlighter().lines("/etc/a.pl", line, "", Allowance(Stopped(0.01))) == ()
    assert Highlighter().lines("/etc/a.pl", line, "", Allowance(Stopped(0.0))) != ()


def test_what_is_remembered_has_an_end() -> None:
    kept = Highlighter()
    allowance = Allowance(Stopped(0.0))
    text = ("k" * 900 + "\n") * 1000
    for number in range(12):
        kept.lines("/etc/a.conf", text, str(number), allowance)
    late = Allowance(Stopped(9.0))
    assert kept.lines("/etc/a.conf", text, "0", late) == ()
    assert kept.lines("/etc/a.conf", text, "11", late) != ()
    assert 12 * len(text) > highlight.KEPT_CHARACTERS


PARTS = [
    '"',
    "'",
    "\\",
    "{",
    "[",
    "(",
    "<",
    " ",
    "a",
    "-",
    ": ",
    '"a ',
    "- ",
    "$(",
    "#",
    "a=",
    "&",
    "a.",
    "1",
    ";",
    "/*",
]
SHAPES: dict[str, Callable[[str], str]] = {
    "long lines": lambda part: (part * (900 // len(part)) + "\n") * 200,
    "many lines": lambda part: (part + "\n") * 3000,
}


@pytest.mark.timeout(30)  # an expression that hurts takes minutes: how long exactly says more about the machine
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_text_made_to_hurt_ends_soon(path: str, shape: str) -> None:
    for part in PARTS:
        colours(path, SHAPES[shape](part), 0.02)
