from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from syncsrv.control.shapes import NodeResult, Status
from syncsrv.control.verbs import VERBS
from syncsrv.web.api.openapi import as_json, document, file_headers
from syncsrv.web.api.problem import Problem
from syncsrv.web.api.table import OPERATIONS, Operation

DOCUMENT = document(OPERATIONS, "__Host-syncsrv-fw1")
SCHEMAS = DOCUMENT["components"]["schemas"]


def of(one: Operation) -> Any:
    return DOCUMENT["paths"][one.path][one.method.lower()]


def test_it_is_a_document_of_openapi_3_1() -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    assert json.loads(as_json(OPERATIONS, "__Host-syncsrv-fw1")) == DOCUMENT


def test_what_is_wrong_with_a_document_would_be_found() -> None:
    broken = {**DOCUMENT, "paths": {"/x": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_every_reference_leads_somewhere_and_every_shape_is_used() -> None:
    named = {text.removeprefix("#/components/schemas/") for text in references(DOCUMENT) if "/schemas/" in text}
    assert named == set(SCHEMAS)
    answers = {text.rsplit("/", 1)[1] for text in references(DOCUMENT) if "/responses/" in text}
    assert answers <= set(DOCUMENT["components"]["responses"])


def references(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(found.get("$ref"), str):
            yield found["$ref"]
        for value in found.values():
            yield from references(value)
    elif isinstance(found, list):
        for value in found:
            yield from references(value)


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_an_operation_says_what_it_takes_and_who_may(one: Operation) -> None:
    described = of(one)
    assert described["operationId"] == one.name
    assert described["tags"] == [one.power]
    named = [parameter["name"] for parameter in described.get("parameters", [])]
    if one.has_body:
        name = described["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        assert set(SCHEMAS[name].get("properties", {})) == {part.name for part in fields(one.sent)}
        assert SCHEMAS[name]["additionalProperties"] is False
        assert named == list(one.in_path)
    else:
        assert named == [*one.in_path, *(part.name for part in fields(one.sent))]
        assert "requestBody" not in described
    assert {"401", "403", "500", "503"} <= set(described["responses"])


def test_answers_hold_every_field() -> None:
    assert set(SCHEMAS["Status"]["required"]) == {one.name for one in fields(Status)}
    assert set(SCHEMAS["NodeResult"]["required"]) == {one.name for one in fields(NodeResult)}
    assert set(SCHEMAS["Problem"]["required"]) == {one.name for one in fields(Problem)}


def test_what_a_query_may_hold_is_what_a_client_can_write() -> None:
    for one in OPERATIONS:
        for parameter in of(one).get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), (one.name, parameter["name"])


def test_a_session_id_is_nowhere_answered() -> None:
    assert set(SCHEMAS["Me"]["properties"]) == {"person", "role", "ends_at", "idle_s"}
    assert "Session" not in SCHEMAS


def test_no_description_is_a_signature() -> None:
    assert "Request(" not in json.dumps(DOCUMENT)
    assert "'str'" not in json.dumps(DOCUMENT)


def test_who_asks_is_said_by_a_token_or_by_the_cookie_of_this_node() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["token"] == {"type": "http", "scheme": "bearer"}
    assert schemes["cookie"] == {"type": "apiKey", "in": "cookie", "name": "__Host-syncsrv-fw1"}
    assert DOCUMENT["security"] == [{"token": []}, {"cookie": []}]
    assert DOCUMENT["paths"]["/openapi.json"]["get"]["security"] == []


def test_what_is_told_of_a_file_is_described() -> None:
    described = of(next(one for one in OPERATIONS if one.streams))["responses"]["200"]["headers"]
    reply = VERBS["file"].reply("c" * 40, "/etc/x", "file", "0644", "root:root", 3, "b" * 40)
    assert file_headers(reply) == {
        "Syncsrv-Commit": "c" * 40,
        "Syncsrv-Kind": "file",
        "Syncsrv-Mode": "0644",
        "Syncsrv-Owner": "root:root",
        "Syncsrv-Blob": "b" * 40,
    }
    assert set(described) == set(file_headers(reply))
