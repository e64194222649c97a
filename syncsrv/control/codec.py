"""The table's dataclasses from and to JSON: strict, and no field that the table does not know.

pydantic by default drops unknown fields and turns "1" into 1 without a word; here both are errors. No value is ever
repeated in a message: it may be a password.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from syncsrv.errors import SyncsrvError, UsageError

PROBLEMS = 20
"""Of one request that are told."""


class BadRequestError(UsageError):
    """A request's fields do not fit its verb; ``fields`` names them."""

    code = "bad-request"

    def __init__(self, verb: str, problems: tuple[str, ...], fields: tuple[str, ...]) -> None:
        super().__init__(f'cannot do "{verb}": {"; ".join(problems)}')
        self.verb = verb
        self.fields = fields


class BadReplyError(SyncsrvError):
    """An answer does not have the shape that the table promises."""

    code = "bad-reply"

    def __init__(self, verb: str, problems: tuple[str, ...]) -> None:
        super().__init__(
            f'cannot understand the answer to "{verb}": {"; ".join(problems)}',
            "install the same version of syncsrv on both sides",
        )
        self.verb = verb


@cache
def adapter(shape: type) -> TypeAdapter[Any]:
    """The validator and serializer of a dataclass of the table; building one costs milliseconds."""
    return TypeAdapter(shape)


def decode_request(verb: str, shape: type, body: object) -> Any:
    """``body`` as an object of ``shape``.

    Raises:
        BadRequestError: with the problems, by field; of so many only the first, lest an answer be larger than its
            question.
    """
    try:
        return _decode(shape, body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=True)
        problems = [_problem(problem, shape) for problem in found[:PROBLEMS]]
        if len(found) > PROBLEMS:
            problems.append(f"and {len(found) - PROBLEMS} more like these")
        names = tuple(_field(problem) for problem in found[:PROBLEMS])
        raise BadRequestError(verb, tuple(problems), names) from None


def decode_reply(verb: str, shape: type, body: object) -> Any:
    """A reply as an object of ``shape``, for callers that have the table's types at hand.

    Raises:
        BadReplyError: it does not fit.
    """
    try:
        return _decode(shape, body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise BadReplyError(verb, tuple(_problem(problem, shape) for problem in problems[:5])) from None


def encode(shape: type, value: object) -> bytes:
    """An object of ``shape`` as JSON."""
    return adapter(shape).dump_json(value)


def to_body(shape: type, value: object) -> dict[str, Any]:
    """An object of ``shape`` as the dictionary that ``Connection.call`` takes."""
    body = adapter(shape).dump_python(value, mode="json")
    assert isinstance(body, dict)
    return body


def _decode(shape: type, body: object) -> Any:
    # Through JSON text, because strict mode takes a list for a tuple only there.
    return adapter(shape).validate_json(json.dumps(body), strict=True, extra="forbid")


def _field(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"]) or "the request"


def _problem(problem: ErrorDetails, shape: type) -> str:
    name = _field(problem)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        last = str(problem["loc"][-1])[:64]
        known = list(getattr(shape, "__dataclass_fields__", {})) if len(problem["loc"]) == 1 else []
        near = difflib.get_close_matches(last, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no field {name[:200]}{hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"field {name} is missing"
    text = problem["msg"]
    return f"field {name[:200]}: {text[:1].lower()}{text[1:]}"
