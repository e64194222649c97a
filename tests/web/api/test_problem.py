from __future__ import annotations

import json

import pytest
from werkzeug.exceptions import BadRequest, HTTPException, ImATeapot, MethodNotAllowed, NotFound, RequestEntityTooLarge

from syncsrv.errors import RefusedError, SyncsrvError, UsageError
from syncsrv.web.api.problem import MEDIA_TYPE, CsrfError, Problem, is_for_programs, of_bug, of_error, of_http, respond


def test_an_error_says_what_the_command_line_says() -> None:
    error = RefusedError("cannot sync fw2: it drifted", "look at it", ("drift", "older"))
    assert of_error(error, 409) == Problem(
        type="urn:syncsrv:problem:refused",
        title="Conflict",
        status=409,
        detail="cannot sync fw2: it drifted",
        code="refused",
        remedy="look at it",
        guards=("drift", "older"),
    )
    assert of_error(UsageError("cannot x y: z"), 400).guards == ()


@pytest.mark.parametrize("error", [BadRequest("<b>secret</b>"), NotFound("secret"), RequestEntityTooLarge("secret")])
def test_what_the_framework_refuses_does_not_repeat_what_was_sent(error: HTTPException) -> None:
    found = of_http(error)
    assert found.status == error.code
    assert "secret" not in found.detail + found.remedy
    assert found.detail.startswith("cannot ")


def test_each_kind_of_refusal_has_a_code() -> None:
    assert of_http(MethodNotAllowed(["GET"])).code == "method-not-allowed"
    assert of_http(ImATeapot()).code == "failed"
    assert of_bug("abc").detail.endswith("(request abc)")
    assert CsrfError().remedy


def test_a_response_is_a_problem_document_with_its_challenge() -> None:
    response = respond(of_error(SyncsrvError("cannot x y: nobody is logged in"), 401))
    assert (response.status_code, response.mimetype) == (401, MEDIA_TYPE)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert set(json.loads(response.get_data())) == {"type", "title", "status", "detail", "code", "remedy", "guards"}
    limited = respond(of_error(SyncsrvError("cannot x y: slowly"), 429), {"Retry-After": "3"})
    assert limited.headers["Retry-After"] == "3"
    assert "WWW-Authenticate" not in limited.headers


def test_programs_and_people_are_told_apart_by_address() -> None:
    assert all(is_for_programs(path) for path in ("/api/v1/status", "/api/nothing", "/metrics", "/healthz"))
    assert not any(is_for_programs(path) for path in ("/", "/apiary", "/metrics/x", "/login"))
