"""What a client sent, read strictly: a field that is not known, given twice or of another type is refused by name.

No value is ever repeated in a message: it may be a password.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, get_type_hints

from syncsrv.control import codec
from syncsrv.web.api.problem import BadBodyError
from syncsrv.web.api.table import Operation, is_many, without_none

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


def from_query(operation: Operation, query: Mapping[str, Sequence[str]]) -> object:
    """The fields that came in a query.

    Args:
        operation: whose.
        query: each name with everything that was given for it.

    Raises:
        BadRequestError: with the problems, by field.
    """
    kinds = get_type_hints(operation.sent)
    twice = [name for name, given in query.items() if len(given) > 1 and not is_many(kinds.get(name, str))]
    if twice:
        problems = tuple(f"field {name[:64]} is given more than once" for name in twice[:5])
        raise codec.BadRequestError(operation.name, problems, tuple(twice))
    values = {name: _typed(without_none(kinds.get(name, str)), given) for name, given in query.items()}
    return codec.decode_request(operation.name, operation.sent, values)


def no_query(operation: Operation, names: Sequence[str]) -> None:
    """Refuse a query where there is none: it would be taken for what the body says.

    Raises:
        BadRequestError: it names the fields.
    """
    if names:
        problems = tuple(f"field {name[:64]} stands in the query, where nothing is read" for name in names[:5])
        raise codec.BadRequestError(operation.name, problems, tuple(names))


def from_body(operation: Operation, body: bytes) -> object:
    """The fields that came in a body.

    Raises:
        BadBodyError: it is no JSON object, or one of which two readers could make different things.
        BadRequestError: with the problems, by field.
    """
    if not body and not fields(operation.sent):
        return operation.sent()
    try:
        return codec.decode_request(operation.name, operation.sent, _parse(body))
    except RecursionError:  # what parses at the limit is written again some calls deeper
        raise BadBodyError("it is nested too deeply") from None


def _typed(kind: Any, given: Sequence[str]) -> object:
    """Text as what it stands for; where it stands for nothing, as text, which is then refused as that."""
    if is_many(kind):
        return list(given)
    text = given[0]
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and _INTEGER.fullmatch(text):
        return int(text)
    if kind is float and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _parse(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise BadBodyError(f"it is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BadBodyError(f"it is not JSON (line {error.lineno}, column {error.colno})") from None
    except ValueError:  # Python's own limit on digits, which json does not translate
        raise BadBodyError("it holds a number of too many digits") from None
    if not isinstance(found, dict):
        raise BadBodyError("it is JSON, but no object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadBodyError("it holds a name twice in one object")
    return found


def _no_constant(_: str) -> NoReturn:
    raise BadBodyError("it holds NaN or an infinity, which JSON does not know")


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise BadBodyError("it holds a number that is too large")
    return found
