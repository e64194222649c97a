"""The OpenAPI 3.1 document, made from the table and the dataclasses that its operations send and answer."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import fields
from http import HTTPStatus
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue

from syncsrv.control import codec
from syncsrv.control.dispatch import may
from syncsrv.control.shapes_page import FileReply
from syncsrv.web.api.problem import MEDIA_TYPE, Problem
from syncsrv.web.api.table import PREFIX, Operation, is_many, without_none

Json = dict[str, Any]

ABOUT = """\
Everything that the page does, answered by the same verbs as the command line.

Who asks is said by a token (`Authorization: Bearer TOKEN`; an admin makes one with `syncsrv user token NAME` or
`POST /users/{name}/tokens`) or by the page's cookie, which then needs its CSRF token in the header `X-CSRFToken` for
everything but GET. A token counts only where no cookie was sent. Each operation names the least role that may ask it.

What cannot be answered is a problem document (RFC 9457). A program decides by its `code`, the word that the command
line uses too; new codes may come. What is answered may get new fields; what is sent may hold no other fields than
those below. Times are RFC 3339 in UTC, durations end in `_s` and are seconds. A path that is not UTF-8 is shown with
`\\xNN` for each byte that is none. A started job answers 202 with its address; ask there for its steps and its end.
"""

_WHY = {
    400: "The request makes no sense as asked: malformed, or it names what cannot be.",
    401: "Nobody is logged in: no token or cookie, or one that has ended.",
    403: "The role does not allow it.",
    404: "It names something that there is not.",
    409: "Refused as things stand: `guards` names those that fired, or the plan is another one by now.",
    413: "The body, or the answer, is too large.",
    415: "The body is not application/json.",
    429: "Too much was asked; the header says when to come again.",
    500: "It failed, or a fault of ours; `detail` then names the request in the log.",
    502: "A peer could not be asked.",
    503: "Core is not there or too busy.",
}
_HEADERS = {
    401: {"WWW-Authenticate": "The scheme that is taken."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait, where that is known."},
}
_FILE_HEADERS = {
    "Syncsrv-Commit": "The commit that the revision stands for.",
    "Syncsrv-Kind": "file, link (its target is answered) or directory (nothing is).",
    "Syncsrv-Mode": "Its mode, in octal digits.",
    "Syncsrv-Owner": "Owner and group by name, percent-encoded.",
    "Syncsrv-Blob": "The id of its content.",
}


class _Schemas(GenerateJsonSchema):
    """Requests may hold no other fields; answers hold every field."""

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dataclass_schema(schema)
        if self.mode == "validation":
            made["additionalProperties"] = False
        made.pop("description", None)
        told = _told(schema["cls"])
        return {**made, "description": told} if told else made

    def field_is_required(self, field: Any, total: bool) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def as_json(operations: Sequence[Operation], cookie: str) -> bytes:
    """The document.

    Args:
        operations: the table.
        cookie: the name of the page's cookie.
    """
    return json.dumps(document(operations, cookie), indent=1).encode()


def document(operations: Sequence[Operation], cookie: str) -> Json:
    """The document, as an object."""
    inputs: list[tuple[str, JsonSchemaMode, Any]] = []

    def want(key: str, mode: JsonSchemaMode, shape: type) -> None:
        inputs.append((key, mode, codec.adapter(shape).core_schema))

    want("problem", "serialization", Problem)
    for one in operations:
        if one.has_body:
            want(one.name, "validation", one.sent)
        if not one.streams:
            want(one.name, "serialization", one.answer)
    schemas, defined = _Schemas(ref_template="#/components/schemas/{model}").generate_definitions(inputs)
    paths: Json = {}
    for one in operations:
        body = schemas.get((one.name, "validation"))
        answer = schemas.get((one.name, "serialization"))
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, body, answer)
    paths["/openapi.json"] = {"get": _of_itself()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "syncsrv", "version": "1", "description": ABOUT, "license": {"name": "BSD-2-Clause"}},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}, {"cookie": []}],
        "tags": [{"name": role, "description": f"For {role}s."} for role in ("viewer", "operator", "admin")],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": defined,
            "responses": {f"Problem{status}": _refusal(status, schemas) for status in _WHY},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }


def _operation(one: Operation, body: Json | None, answer: Json | None) -> Json:
    made: Json = {
        "operationId": one.name,
        "tags": [one.power],
        "summary": one.about.rstrip("."),
        "description": _sentences(one),
        "responses": {
            str(one.status): _success(one, answer),
            **{str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in _refusals(one)},
        },
    }
    parameters = [_in_path(one, name) for name in one.in_path]
    if one.method in ("GET", "DELETE"):
        parameters += _in_query(one)
    if parameters:
        made["parameters"] = parameters
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def _sentences(one: Operation) -> str:
    told = _told(one.request) if fields(one.sent) else ""
    return f"{one.about} Least role: {one.power}." + (f"\n\n{told}" if told else "")


def _told(shape: type) -> str:
    """What a dataclass's docstring says; nothing where nobody wrote one and dataclass made its own."""
    told = inspect.cleandoc(shape.__doc__ or "")
    return "" if re.match(r"\w+\(", told) else told


def _in_path(one: Operation, name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(one: Operation) -> list[Json]:
    kinds = get_type_hints(one.sent, include_extras=True)
    schema = TypeAdapter(one.sent).json_schema()
    needed = schema.get("required", [])
    made = []
    for name, kind in kinds.items():
        its = TypeAdapter(without_none(kind)).json_schema()
        default = schema["properties"][name].get("default")
        if default is not None:
            its["default"] = default
        made.append({"name": name, "in": "query", "required": name in needed, "schema": its})
        if is_many(kind):
            made[-1] |= {"style": "form", "explode": True}
    return made


def _success(one: Operation, answer: Json | None) -> Json:
    made: Json = {"description": HTTPStatus(one.status).phrase}
    if answer is not None:
        made["content"] = {"application/json": {"schema": answer}}
    else:
        made["content"] = {"application/octet-stream": {}}
        made["headers"] = {name: _header(about) for name, about in _FILE_HEADERS.items()}
    if one.status == HTTPStatus.ACCEPTED:
        made["headers"] = {"Location": _header("The address of the job.")}
    return made


def _header(about: str, required: bool = True) -> Json:
    return {"description": about, "required": required, "schema": {"type": "string"}}


def _refusals(one: Operation) -> list[int]:
    """With which statuses an operation may be refused."""
    found = {400, 401, 403, 404, 413, 429, 500, 502, 503}
    if may(one.power, "operator"):
        found.add(409)
    if one.method in ("POST", "PUT"):
        found.add(415)
    return sorted(found)


def _refusal(status: int, schemas: Any) -> Json:
    made: Json = {
        "description": _WHY[status],
        "content": {MEDIA_TYPE: {"schema": schemas[("problem", "serialization")]}},
    }
    if status in _HEADERS:
        made["headers"] = {
            name: _header(about, required=status != HTTPStatus.SERVICE_UNAVAILABLE)
            for name, about in _HEADERS[status].items()
        }
    return made


def _of_itself() -> Json:
    return {
        "operationId": "get-document",
        "summary": "This document",
        "description": "It holds no data of the node, so nobody has to say who they are.",
        "security": [],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}},
    }


def file_headers(reply: FileReply) -> dict[str, str]:
    """What is told of a file beside its bytes."""
    values = (reply.commit, reply.kind, reply.mode, reply.owner, reply.blob)
    return dict(zip(_FILE_HEADERS, values, strict=True))
