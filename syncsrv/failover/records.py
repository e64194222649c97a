"""Frozen dataclasses to JSON and back, strictly: an unknown key, a missing one or a wrong type is an error by name.

What the process carp reads was written by core, and the other way round; pydantic, which core has for this, does not
belong into a process that must start fast and lie in locked memory.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


class NoRecordError(ValueError):
    """``where`` (a path of keys) does not hold what it should; the text says what is wrong there."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where or 'the whole'}: {why}")


def to_plain(value: object) -> Any:
    """What json.dumps takes: dataclasses and mappings as objects, tuples as lists, str and its enums as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value


def parse(data: bytes | str) -> Any:
    """JSON without its extensions: no NaN, no key twice.

    Raises:
        NoRecordError: it is none.
    """
    try:
        return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_object)
    except NoRecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise NoRecordError("", f"is no JSON: {error}") from None


def from_plain(shape: type[T], data: object, where: str = "") -> T:
    """The dataclass ``shape`` out of parsed JSON.

    Args:
        shape: the dataclass. Each of its fields must be there, also one with a default.
        data: what ``parse`` gave.
        where: the path of keys that leads to ``data``, for the message.

    Raises:
        NoRecordError: it is no such record.
    """
    hints = _hints(cast(type, shape))
    if not isinstance(data, dict):
        raise NoRecordError(where, "is no object")
    for name in data:
        if name not in hints:
            raise NoRecordError(_under(where, str(name)), "is not known")
    for name in hints:
        if name not in data:
            raise NoRecordError(_under(where, name), "is missing")
    try:
        return shape(**{name: _value(hint, data[name], _under(where, name)) for name, hint in hints.items()})
    except NoRecordError:
        raise
    except ValueError as error:  # what the record's own __post_init__ says
        raise NoRecordError(where, str(error)) from None


@functools.cache
def _hints(shape: type) -> dict[str, Any]:
    hints = typing.get_type_hints(shape)
    return {field.name: hints[field.name] for field in dataclasses.fields(shape)}


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(hint: Any, data: object, where: str) -> Any:
    """``data`` as the type ``hint``, which is one of those that our records use."""
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if kind is typing.Literal:
        if not isinstance(data, str) or data not in inner:
            raise NoRecordError(where, f"is none of {', '.join(inner)}")
        return data
    if kind is types.UnionType:  # X | None only
        (present,) = (one for one in inner if one is not types.NoneType)
        return None if data is None else _value(present, data, where)
    if kind is tuple:
        if not isinstance(data, list):
            raise NoRecordError(where, "is no list")
        return tuple(_value(inner[0], one, f"{where}[{number}]") for number, one in enumerate(data))
    if kind is Mapping:
        if not isinstance(data, dict):
            raise NoRecordError(where, "is no object")
        return {key: _value(inner[1], one, _under(where, key)) for key, one in data.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(cast(type, hint), data, where)
    return _scalar(hint, data, where)


def _scalar(hint: Any, data: object, where: str) -> Any:
    if hint is float:
        if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
            raise NoRecordError(where, "is no number")
        return float(data)
    if hint is bool or hint is int:
        if type(data) is not hint:
            raise NoRecordError(where, "is neither true nor false" if hint is bool else "is no whole number")
        return data
    if not isinstance(data, str):
        raise NoRecordError(where, "is no text")
    try:
        return hint(data)  # str itself, or an enum of texts
    except ValueError:
        raise NoRecordError(where, f"cannot be {data!r}") from None


def _no_constant(name: str) -> float:
    raise NoRecordError("", f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NoRecordError("", "a key stands in it twice")
    return found
