"""Syntax colour: three kinds (key, string, comment), the ones that the stylesheet has. The only module with pygments.

A file is read as a whole, since strings and comments run over lines, and then told line by line as lengths; the text
itself never passes through here into a page, so nothing here can forget to escape it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import ClassVar, TypeAlias

from pygments.lexer import Lexer, RegexLexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, String, Text, _TokenType, is_token_subtype

from syncsrv.clock import Clock

Runs: TypeAlias = tuple[tuple[int, str], ...]
"""One line as lengths with their class: k (key), s (string), c (comment) or none; may end before the line does."""

MOST_LINES = 10_000
MOST_CHARACTERS = 1024 * 1024
LONGEST_LINE = 1000
"""Characters above which a file stays plain: several of the lexers take the square of a line's length."""
KEPT_CHARACTERS = 8 * 1024 * 1024
"""Of texts whose colours are remembered."""

DIRECTIVES = "directives"

_LEXERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nginx", ("*/nginx/*", "*/nginx*.conf")),
    ("json", ("*.json", "*.jsonc", "*/kea/*", "*/kea-*.conf")),
    ("yaml", ("*.yaml", "*.yml")),
    ("toml", ("*.toml",)),
    ("apache", ("*/apache2/*", "*/httpd/*", "*/.htaccess")),
    ("python", ("*.py",)),
    ("perl", ("*.pl", "*.pm")),
    ("lua", ("*.lua",)),
    ("css", ("*.css",)),
    ("xml", ("*.xml", "*.html", "*.htm", "*.svg", "*.xsl")),
    ("zone", ("*.zone", "*/db.*", "*/zones/*")),
    ("vcl", ("*.vcl",)),
    ("bash", ("*.sh", "*.bash", "*/init.d/*", "*/default/*", "*/profile", "*/.bashrc", "*/.profile", "*.env")),
    ("bash", ("*/if-up.d/*", "*/if-down.d/*", "*/cron.daily/*", "*/cron.hourly/*", "*/cron.weekly/*")),
    ("ini", ("*.ini", "*.service", "*.socket", "*.timer", "*.mount", "*.target", "*.path", "*.slice", "*.desktop")),
    ("ini", ("*.network", "*.netdev", "*.link", "*.cnf", "*.repo", "*.nmconnection", "*/supervisor/*", "*/systemd/*")),
    ("", ("*.txt", "*.md", "*.pem", "*.crt", "*.key", "*.csv", "*.log", "*.pub")),
    (DIRECTIVES, ("*",)),
)
"""The first whose pattern fits a path; the files of haproxy, unbound, BIND, sshd, nftables and their like are all a
word and what it is given."""

_CLASSES: tuple[tuple[_TokenType, str], ...] = (
    (Comment.Preproc, "k"),
    (Comment, "c"),
    (String, "s"),
    (Keyword, "k"),
    (Name.Tag, "k"),
    (Name.Attribute, "k"),
    (Name.Builtin, "k"),
    (Name.Function, "k"),
    (Name.Class, "k"),
    (Name.Decorator, "k"),
)


class Directives(RegexLexer):
    """A word at the begin of a statement, then what it is given; what most daemons' files look like."""

    tokens: ClassVar = {
        "root": [
            (r"[\s{}();]+", Text),
            (r"(?:#|!|//).*", Comment),
            (r"/\*", Comment, "comment"),
            (r"\[[^\]\n]*\]", Keyword),
            (r"[\w.@:%/*+-]+", Keyword, "given"),
            (r".", Text, "given"),
        ],
        "given": [
            (r"\n", Text, "#pop"),
            (r"[;{}]", Text, "#pop"),
            (r"[ \t]+#.*", Comment),
            (r"[ \t]+//.*", Comment),
            (r'"(?:[^"\\\n]|\\.)*"', String),
            (r"'[^'\n]*'", String),
            (r"[^\s;{}\"']+", Text),
            (r".", Text),
        ],
        "comment": [(r"[^*]+", Comment), (r"\*/", Comment, "#pop"), (r"\*", Comment)],
    }


class Allowance:
    """How long the colours of one page may take together; text that comes later stays plain."""

    def __init__(self, clock: Clock, seconds: float = 1.0) -> None:
        self._clock = clock
        self._until_at = clock.monotonic() + seconds

    def over(self) -> bool:
        return self._clock.monotonic() >= self._until_at


class Highlighter:
    """Colours of whole files, remembered by the id of their content; for any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[Runs, ...]] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}
        self._size = 0
        self._lock = threading.Lock()

    def lines(self, path: str, text: str, blob: str, allowance: Allowance) -> tuple[Runs, ...]:
        """The colours of each line, from the first; nothing for what is too large, has too long lines or no language.

        Args:
            path: says which language it is.
            text: the whole file.
            blob: the id of its content.
            allowance: what is not done by its end is not done, and tried again the next time.
        """
        language = language_of(path)
        if not language or not _fits(text):
            return ()
        key = (blob, language)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if allowance.over():
            return ()
        found = _read(_lexer(language), text, allowance)
        if blob and found:
            self._keep(key, found, len(text))
        return found

    def _keep(self, key: tuple[str, str], found: tuple[Runs, ...], size: int) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key], self._sizes[key] = found, size
            self._size += size
            while self._size > KEPT_CHARACTERS:
                oldest, _ = self._kept.popitem(last=False)
                self._size -= self._sizes.pop(oldest)


def language_of(path: str) -> str:
    """The name of the lexer for a path; empty for text without a language."""
    return next(name for name, patterns in _LEXERS if any(fnmatchcase(path, pattern) for pattern in patterns))


def preload() -> None:
    """Load every lexer and what it loads when first used: afterwards nothing here opens a file."""
    for name, _ in _LEXERS:
        if name:
            for _ in _lexer(name).get_tokens("# a = 'b'\n<a b=\"c\">{ d: 1; }</a>\n[e]\n"):
                pass


@cache
def _lexer(name: str) -> Lexer:
    return Directives() if name == DIRECTIVES else get_lexer_by_name(name)


def _fits(text: str) -> bool:
    if len(text) > MOST_CHARACTERS:
        return False
    lines = text.split("\n")
    return len(lines) <= MOST_LINES and max(map(len, lines)) <= LONGEST_LINE


def _read(lexer: Lexer, text: str, allowance: Allowance) -> tuple[Runs, ...]:
    done: list[Runs] = []
    line: list[tuple[int, str]] = []
    for css, value in _tokens(lexer, text.replace("\r\n", "\n")):
        if allowance.over():  # asked at each token: one may be found only after the whole rest was read in vain
            return ()
        first, *rest = value.split("\n")
        if first:
            line.append((len(first), css))
        for part in rest:
            done.append(_joined(line))
            line = [(len(part), css)] if part else []
    return (*done, _joined(line))


def _tokens(lexer: Lexer, text: str) -> Iterator[tuple[str, str]]:
    at = 0
    for place, kind, value in lexer.get_tokens_unprocessed(text):
        if place != at:  # a lexer that repeats or leaves out text cannot be followed
            return
        at += len(value)
        yield _class(kind), value


@cache
def _class(kind: _TokenType) -> str:
    return next((css for one, css in _CLASSES if is_token_subtype(kind, one)), "")


def _joined(line: list[tuple[int, str]]) -> Runs:
    joined: list[tuple[int, str]] = []
    for length, css in line:
        if joined and joined[-1][1] == css:
            joined[-1] = (joined[-1][0] + length, css)
        else:
            joined.append((length, css))
    return tuple(joined)
