"""Changes one value in a YAML text; every other byte, comments and layout included, stays.

Positions come from yamltext, so what can be edited is what can be read. The result is read again before it is
returned: an edit that would say anything but what was asked for is refused instead.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from syncsrv.config.document import Document, KeyPath, resolve_plain
from syncsrv.config.values import SecretRef
from syncsrv.config.yamltext import parse
from syncsrv.errors import SyncsrvError

Value: TypeAlias = Mapping[str, Any] | Sequence[Any] | SecretRef | str | float | None
"""Plain data: mappings, lists, scalars, SecretRef."""

_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.@+-]*", re.ASCII)


class EditError(SyncsrvError):
    """A value cannot be changed in place."""

    code = "edit"

    def __init__(self, path: KeyPath, why: str) -> None:
        self.path = path
        dotted = ".".join(map(str, path)) or "the whole text"
        super().__init__(f"cannot change {dotted}: {why}", "edit the file by hand, then run `syncsrv check`")


def set_value(text: str, path: KeyPath, value: Value) -> str:
    """Set the value at a path; what is missing on the way is added, a list's length as index appends to it.

    A mapping given for a mapping is set key by key, so that comments inside it live.

    Args:
        text: YAML that can be read without flaws.
        path: keys and list indexes.
        value: plain data.

    Raises:
        EditError: the text is not well, an alias or a scalar stands in the way, or the result would not say this.
    """
    document = _read(text, path)
    expected = _with(document.data, path, value, path)
    return _sure(_set(text, document, path, value), path, expected)


def delete(text: str, path: KeyPath) -> str:
    """Remove the key or list item at a path, with its value and the comment on its line.

    Raises:
        EditError: it is not there, or as set_value.
    """
    document = _read(text, path)
    if not path or path not in document.spots:
        raise EditError(path, "it is not there, or an alias stands for it")
    container = _at(document.data, path[:-1])
    if isinstance(container, dict):
        rest: Any = {key: one for key, one in container.items() if key != path[-1]}
    else:
        rest = [one for index, one in enumerate(container) if index != path[-1]]
    expected = _with(document.data, path[:-1], rest, path)
    shorter = _remove(text, document, path) if rest else _replace(text, document, path[:-1], rest)
    return _sure(shorter, path, expected)


def flow(value: Value) -> str:
    """A value on one line, as it can stand anywhere in a YAML text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
        case SecretRef():
            return f"!secret {value.secret}"
        case str():
            return _text(value)
        case Mapping():
            return "{" + ", ".join(f"{_text(key)}: {flow(one)}" for key, one in value.items()) + "}"
        case _:
            return "[" + ", ".join(map(flow, value)) + "]"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and isinstance(resolve_plain(text), str):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)


def _block(key: str, value: Value, indent: int, newline: str) -> str:
    """``key: value``; over several lines where the value holds mappings."""
    if isinstance(value, Mapping) and any(isinstance(one, Mapping) and one for one in value.values()):
        lines = [_block(inner, one, indent + 2, newline) for inner, one in value.items()]
        return f"{_text(key)}:" + "".join(f"{newline}{' ' * (indent + 2)}{line}" for line in lines)
    return f"{_text(key)}: {flow(value)}"


def _set(text: str, document: Document, path: KeyPath, value: Value) -> str:
    held = path
    while held and held not in document.spots:
        held = held[:-1]
    if held == path and document.spots:
        before = _at(document.data, path)
        if isinstance(value, Mapping) and value and isinstance(before, dict) and before:
            return _merge(text, path, before, value)
        return _replace(text, document, path, value)
    if document.spots and document.spots[held].alias:
        raise EditError(path, "an alias stands for it")
    missing = path[len(held) :]
    if not missing:
        return _ended(text) + flow(value) + "\n"
    for key in reversed(missing[1:]):
        value = {str(key): value}
    return _insert(text, document, held, missing[0], value)


def _merge(text: str, path: KeyPath, before: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    for key, one in value.items():
        if key not in before or not _same(before[key], one):
            text = set_value(text, (*path, key), one)
    for key in before:
        if key not in value:
            text = delete(text, (*path, key))
    return text


def _replace(text: str, document: Document, path: KeyPath, value: Value) -> str:
    spot = document.spots[path]
    begin, end = spot.start.index, _end(text, document, path)
    if spot.start == spot.end and not spot.collection:  # nothing is written there: the value is an empty null
        begin = end
    elif spot.key_end is not None:
        colon = _colon(text, spot.key_end.index)
        if text[colon:begin].isspace():
            begin = colon
    space = " " if begin and text[begin - 1] in ":-" else ""
    return text[:begin] + space + flow(value) + text[end:]


def _insert(text: str, document: Document, held: KeyPath, key: str | int, value: Value) -> str:
    """Add a key or a list item to what is at ``held``."""
    newline = "\r\n" if "\r\n" in text else "\n"
    container = _at(document.data, held)
    if container is None and not held:
        return f"{_ended(text)}{_block(str(key), value, 0, newline)}{newline}"
    spot = document.spots[held]
    children = _children(document, held)
    if container is None or not children:
        return _fill(text, document, held, {str(key): value} if container != [] else [value], newline)
    end = _end(text, document, children[-1])
    if spot.flow:
        piece = flow(value) if isinstance(key, int) else f"{_text(key)}: {flow(value)}"
        return f"{text[:end]}, {piece}{text[end:]}"
    indent = spot.start.column - 1
    first = document.spots[children[0]]
    if isinstance(key, int):
        piece = f"- {flow(value)}"
    else:
        indent = first.key.column - 1 if first.key else indent
        piece = _block(key, value, indent, newline)
    line_end = _line_end(text, end)
    return f"{text[:line_end]}{newline}{' ' * indent}{piece}{text[line_end:]}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _fill(text: str, document: Document, held: KeyPath, value: Value, newline: str) -> str:
    """Give a key that has nothing, ``{}`` or ``[]`` its first content: in block style where it stands in a block."""
    spot = document.spots[held]
    in_block = isinstance(value, Mapping) and not any(
        document.spots[held[:depth]].flow for depth in range(len(held)) if held[:depth] in document.spots
    )
    if not in_block or spot.key is None or spot.key_end is None or not isinstance(value, Mapping):
        return _replace(text, document, held, value)
    colon = _colon(text, spot.key_end.index)
    end = max(_end(text, document, held), colon)
    line_end = _line_end(text, end)
    indent = spot.key.column + 1
    lines = [f"{newline}{' ' * indent}{_block(key, one, indent, newline)}" for key, one in value.items()]
    return text[:colon] + text[end:line_end] + "".join(lines) + text[line_end:]


def _remove(text: str, document: Document, path: KeyPath) -> str:
    siblings = _children(document, path[:-1])
    place = siblings.index(path)
    end = _end(text, document, path)
    begin = _begin(document, path)
    if document.spots[path[:-1]].flow:
        if place:
            return text[: _end(text, document, siblings[place - 1])] + text[end:]
        return text[:begin] + text[_begin(document, siblings[1]) :]
    line = text.rfind("\n", 0, begin) + 1
    before = text[line:begin]
    if isinstance(path[-1], int):
        column = document.spots[path[:-1]].start.column - 1
        while line and (text[line : line + column].strip() or text[line + column] != "-"):
            line = text.rfind("\n", 0, line - 1) + 1
        before = text[line : line + column]
    if before.strip():
        if place + 1 == len(siblings):
            raise EditError(path, "it shares its line with what holds it")
        return text[:begin] + text[_begin(document, siblings[place + 1]) :]
    return text[:line] + text[_line_end(text, end) :].removeprefix("\r").removeprefix("\n")


def _begin(document: Document, path: KeyPath) -> int:
    spot = document.spots[path]
    return (spot.key or spot.start).index


def _end(text: str, document: Document, path: KeyPath) -> int:
    """One past the last character of a value; past the colon of a key without one."""
    spot = document.spots[path]
    children = _children(document, path)
    if spot.collection and not spot.flow and children:
        return _end(text, document, children[-1])
    if spot.start == spot.end and spot.key_end is not None and not spot.collection:
        return _colon(text, spot.key_end.index)
    return len(text[: spot.end.index].rstrip()) if text[spot.start.index] in "|>" else spot.end.index


def _colon(text: str, key_end: int) -> int:
    """One past the colon behind a key."""
    return text.index(":", key_end) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return end - 1 if text[index:end].endswith("\r") else end


def _children(document: Document, path: KeyPath) -> list[KeyPath]:
    container = _at(document.data, path)
    keys = (
        list(container) if isinstance(container, dict) else range(len(container) if isinstance(container, list) else 0)
    )
    return [(*path, key) for key in keys if (*path, key) in document.spots]


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _with(data: Any, rest: KeyPath, value: Value, path: KeyPath) -> Any:
    """The data as it shall be afterwards."""
    if not rest:
        return _plain(value)
    key = rest[0]
    if isinstance(data, list) and isinstance(key, int) and 0 <= key <= len(data):
        below = data[key] if key < len(data) else None
        return [*data[:key], _with(below, rest[1:], value, path), *data[key + 1 :]]
    if (data is None or isinstance(data, dict)) and isinstance(key, str):
        inside: dict[str, Any] = data or {}
        return {**inside, key: _with(inside.get(key), rest[1:], value, path)}
    raise EditError(path, "something else stands where a mapping or a list is needed")


def _plain(value: Value) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _read(text: str, path: KeyPath) -> Document:
    document = parse(text)
    if document.flaws:
        flaw = document.flaws[0]
        raise EditError(path, f"line {flaw.mark.line} {flaw.message}")
    return document


def _sure(text: str, path: KeyPath, expected: Any) -> str:
    after = parse(text)
    if after.flaws or not _same(after.data, expected):
        raise EditError(path, "the way in which this place is written is too special")
    return text


def _same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from true, and takes NaN for itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or repr(one) == repr(other))
