"""A document against a shape: pydantic's errors become Problems, and what is well stays usable.

So that one run shows everything, what is wrong is cut out of a copy and the rest is read again: the rules that need
several keys then run over it. Names that were cut out are known as ``unread``, so that nobody complains of them twice.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from syncsrv.config.document import Document, Flaw, KeyPath, dotted, shortened
from syncsrv.config.problem import Problem, Severity
from syncsrv.config.values import SecretRef

T = TypeVar("T")
Moved: TypeAlias = Mapping[KeyPath, tuple[int, ...]]
"""For a list that lost items: where in the text each remaining one stood."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A file as far as it could be read.

    Attributes:
        name: how Problems call the file.
        document: its text.
        value: the shape, without what was wrong; None where nothing could be made of it.
        problems: what was wrong.
        unread: paths that the file has but ``value`` has not.
        moved: for lists that lost items, where each remaining one stood.
    """

    name: str
    document: Document
    value: T | None
    problems: tuple[Problem, ...]
    unread: frozenset[KeyPath]
    moved: Moved

    def problem(
        self, written: KeyPath, message: str, severity: Severity = Severity.ERROR, *, at_key: bool = False
    ) -> Problem:
        """A Problem at a path of the text."""
        mark = self.document.key_at(written) if at_key else self.document.value_at(written)
        return Problem(self.name, mark.line, mark.column, dotted(written), _bounded(message), severity)

    def as_written(self, path: KeyPath) -> KeyPath:
        """The path in the text of what has this path in ``value``."""
        return _as_written(path, self.moved)


def read_shape(
    name: str,
    document: Document,
    shape: type[T] | Any,
    *,
    standins: Mapping[str, str] | None = None,
    secret: bool = False,
) -> Read[T]:
    """Validate a document.

    Args:
        name: the file's name in Problems.
        document: what yamltext made of it.
        shape: a pydantic model, or any type that TypeAdapter takes.
        standins: for keys without a default, what to go on with where they are wrong, to find what else is.
        secret: never show a value in a message.
    """
    adapter: TypeAdapter[T] = TypeAdapter(shape)
    data = {} if document.data is None else document.data
    problems = [
        Problem(name, flaw.mark.line, flaw.mark.column, dotted(flaw.path), _flaw_message(flaw, secret=secret))
        for flaw in document.flaws
    ]
    if () in document.unread:
        return Read(name, document, None, tuple(problems), document.unread, {})
    unread = set(document.unread)
    moved: Moved = {}
    first = True
    while True:
        try:
            value = adapter.validate_python(data)
        except ValidationError as error:
            places = {_place(data, details) for details in error.errors(include_url=False)}
            if first:
                problems += _problems(name, document, shape, data, error, secret=secret)
            first = False
            if () in places and standins and isinstance(data, dict) and not standins.keys() <= data.keys():
                unread.update((key,) for key in standins if key not in data)
                data = {**standins, **data}
                places.discard(())
            if () in places or not isinstance(data, dict):
                return Read(name, document, None, tuple(problems), frozenset({*unread, ()}), {})
            unread.update(_as_written(place, moved) for place in places)
            data, moved = _without(data, places, moved)
        else:
            return Read(name, document, value, tuple(problems), frozenset(unread), moved)


def _place(data: Any, details: ErrorDetails) -> KeyPath:
    """What has to go for an error to go: the value itself, or for a missing key what misses it."""
    path = _path(data, details)
    return path[:-1] if details["type"] == "missing" else path


def _path(data: Any, details: ErrorDetails) -> KeyPath:
    """The path that an error means: there but for a missing key, without the names of union members."""
    loc = details["loc"]
    path: list[int | str] = []
    for part in loc:
        inside = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if inside:
            data = data[part]
            path.append(part)
    if details["type"] == "missing":
        path.append(loc[-1])
    return tuple(path)


def _without(data: Any, places: set[KeyPath], moved: Moved) -> tuple[Any, Moved]:
    """A copy without these paths, and where in the text the items of its shortened lists stand."""
    now_moved: dict[KeyPath, tuple[int, ...]] = {}

    def copy(value: Any, path: KeyPath, new_path: KeyPath) -> Any:
        if isinstance(value, dict):
            kept = {key: one for key, one in value.items() if (*path, key) not in places}
            return {key: copy(one, (*path, key), (*new_path, key)) for key, one in kept.items()}
        if isinstance(value, list):
            stood = moved.get(path, tuple(range(len(value))))
            indexes = [index for index in range(len(value)) if (*path, index) not in places]
            if path in moved or len(indexes) < len(value):
                now_moved[new_path] = tuple(stood[index] for index in indexes)
            return [copy(value[index], (*path, index), (*new_path, new)) for new, index in enumerate(indexes)]
        return value

    return copy(data, (), ()), now_moved


def _as_written(path: KeyPath, moved: Moved) -> KeyPath:
    written: KeyPath = ()
    for depth, part in enumerate(path):
        stood = moved.get(path[:depth])
        written = (*written, stood[part] if stood is not None and isinstance(part, int) else part)
    return written


def _problems(
    name: str, document: Document, shape: Any, data: Any, error: ValidationError, *, secret: bool
) -> Iterator[Problem]:
    """One Problem a path: a union reports once for each member."""
    seen: set[KeyPath] = set()
    known = {flaw.path for flaw in document.flaws if flaw.path} | document.unread
    for details in error.errors(include_url=False):
        path = _path(data, details)
        if path in seen or any(path[:depth] in known for depth in range(1, len(path) + 1)):
            continue
        seen.add(path)
        at_key = details["type"] in ("extra_forbidden", "missing") or details["loc"][-1:] == ("[key]",)
        mark = document.key_at(path) if at_key else document.value_at(path)
        hidden = secret or "password" in path
        message = _message(details, path, shape, data, hidden=hidden)
        yield Problem(name, mark.line, mark.column, dotted(path), _bounded(message))


def _flaw_message(flaw: Flaw, *, secret: bool) -> str:
    """A secret that begins with ``!`` or ``*`` is a tag or an alias to YAML, and its message would show it."""
    safe = (
        "given twice",
        "nested deeper",
        "hold more than",
        "hold the",
        "bytes long",
        "a quote is not closed",
        "a tab ",
    )
    if secret and not any(words in flaw.message for words in safe):
        return "cannot be read as YAML: write the secret in quotes"
    return flaw.message


def _bounded(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"


_LONGEST = 500
"""Characters of a message: what a person wrote may be much longer."""

_SHAPES = {
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
    "dict_type": "a mapping (`key: value`)",
    "tuple_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "path_type": "a path",
    "is_instance_of": "text or `!secret NAME`",
}


def _message(details: ErrorDetails, path: KeyPath, shape: Any, data: Any, *, hidden: bool) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    given = details["input"]
    shown = "this" if hidden else show(given)
    match kind:
        case "extra_forbidden":
            return unknown(str(path[-1]), keys_of(shape, path[:-1]))
        case "missing":
            return "cannot be left out"
        case "value_error":
            return str(context["error"])
        case "enum" | "literal_error":
            choices = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
            near = difflib.get_close_matches(str(given), choices, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"cannot be {shown}: write {_either(choices)}{hint}"
        case "too_short":
            return "cannot be empty"
        case "greater_than_equal":
            return f"cannot be {shown}: at least {context['ge']:g}"
        case "greater_than":
            return f"cannot be {shown}: more than {context['gt']:g}"
        case "less_than_equal":
            return f"cannot be {shown}: at most {context['le']:g}"
    if kind in _SHAPES:
        hint = ""
        if kind in ("string_type", "is_instance_of") and isinstance(given, bool | int | float):
            hint = "; write it in quotes"
        if kind == "bool_type" and str(given).lower() in ("yes", "no", "on", "off"):
            hint = "; in YAML 1.2 yes, no, on and off are text"
        return f"cannot be {shown}: {_SHAPES[kind]} is needed here{hint}"
    return f"cannot be {shown}: {details['msg'][:1].lower()}{details['msg'][1:]}"


def show(value: Any) -> str:
    """A value in a message, short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, SecretRef):
        return "!secret"
    return f"{value:g}" if isinstance(value, float) else shortened(repr(value))


def unknown(name: str, known: list[str]) -> str:
    """The sentence for a key that means nothing, with the one that was probably meant."""
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(name.lower(), known, 1, 0.5)
    if near:
        return f"cannot be understood: there is no key {shortened(name)} here; did you mean {near[0]}?"
    return f"cannot be understood: there is no key {shortened(name)} here; the keys are {', '.join(sorted(known))}"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def keys_of(shape: Any, path: KeyPath) -> list[str]:
    """The keys that a shape knows at a path, as they are written."""
    models = list(_models(shape))
    for part in path:
        models = [inner for model in models for inner in _step(model, part)]
    return [
        info.alias or name
        for model in models
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, info in model.model_fields.items()
    ]


def _step(shape: Any, part: int | str) -> Iterator[Any]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        for name, info in shape.model_fields.items():
            if part == (info.alias or name):
                yield from _models(info.annotation)
    else:
        arguments = [argument for argument in typing.get_args(shape) if argument is not Ellipsis]
        if arguments:
            yield from _models(arguments[-1])


def _models(annotation: Any) -> Iterator[Any]:
    """Annotated and unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _models(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _models(member)
    else:
        yield annotation
