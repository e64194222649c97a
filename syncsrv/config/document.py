"""What a text says and where it says it: plain data, places, and what could not be read. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top."""

_SHOWN = 60
"""Characters of a key, a tag or a value that a message repeats."""

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
"""Values in a document, those that an alias repeats counted each time."""
MAX_FLAWS = 50

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_UNFIT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not take as a character, undecodable bytes among it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text: line and column from 1, ``index`` in characters from 0."""

    line: int
    column: int
    index: int


TOP = Mark(1, 1, 0)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one value stands.

    Attributes:
        key: start of its key, or None for the top and for list items.
        key_end: end of its key.
        start: first character of the value, its tag or anchor included.
        end: one past its last character; for a block collection the end of its last item.
        flow: whether it is written in brackets or braces.
        collection: whether it is a mapping or a sequence.
        alias: whether an ``*alias`` stands here.
    """

    key: Mark | None
    key_end: Mark | None
    start: Mark
    end: Mark
    flow: bool = False
    collection: bool = False
    alias: bool = False


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something the reader cannot take: a sentence beginning with ``cannot``, and where."""

    mark: Mark
    path: KeyPath
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says.

    Attributes:
        data: plain dicts, lists and scalars, and SecretRef; None for an empty text.
        spots: the place of each value by its path; what an alias repeats has only the alias's place.
        flaws: what could not be read.
        unread: what is missing from ``data`` because of a flaw elsewhere; the empty path where the whole text is.
    """

    data: Any
    spots: Mapping[KeyPath, Spot]
    flaws: tuple[Flaw, ...] = ()
    unread: frozenset[KeyPath] = frozenset()

    def value_at(self, path: KeyPath) -> Mark:
        """Where a value begins: its key where nothing is written, what is around it where it is not there."""
        spot = self._nearest(path)
        if spot.key is not None and spot.start == spot.end and not spot.collection:
            return spot.key
        return spot.start

    def key_at(self, path: KeyPath) -> Mark:
        """Where a value's key begins; a list item and the top have none and answer for themselves."""
        spot = self._nearest(path)
        return spot.key or spot.start

    def _nearest(self, path: KeyPath) -> Spot:
        while path and path not in self.spots:
            path = path[:-1]
        return self.spots.get(path, Spot(None, None, TOP, TOP))


def resolve_plain(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) <= 40:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text) and len(text) <= 40:
        return float(text)
    return text


def depth(value: Any) -> int:
    """How deep a finished value is nested; MAX_DEPTH bounds the recursion."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def dotted(path: KeyPath) -> str:
    """A path as messages show it: ``areas.proxy.paths.0``."""
    return ".".join(shortened(str(part)) for part in path)


def shortened(text: str) -> str:
    """A text that a message can repeat, however long it is."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def decoded(source: bytes | str) -> tuple[str, list[Flaw]]:
    """The text of a file, and the first place on each line where it is none; such places read as U+FFFD."""
    text = source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")
    flaws: list[Flaw] = []
    index = 0
    while len(flaws) < MAX_FLAWS and (found := _UNFIT.search(text, index)):
        code = ord(found[0])
        byte = f"byte 0x{code - 0xDC00:02x}, which is not UTF-8"
        what = byte if 0xDC80 <= code <= 0xDCFF else f"character U+{code:04X}"
        flaws.append(Flaw(_mark_at(text, found.start()), (), f"cannot hold the {what}"))
        index = text.find("\n", found.start())
        if index < 0:
            break
    return (_UNFIT.sub("\ufffd", text) if flaws else text), flaws


def _mark_at(text: str, index: int) -> Mark:
    line = text.count("\n", 0, index) + 1
    return Mark(line, index - (text.rfind("\n", 0, index) + 1) + 1, index)
