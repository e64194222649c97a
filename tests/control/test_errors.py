"""Errors travel as what they are: same code, same words, same data; and nothing else gets through with them."""

from __future__ import annotations

from typing import Any

import pytest

from syncsrv.control.errors import LONGEST_RETRY_S, NotLoggedInError, SlowDownError, error_body, rebuild_error
from syncsrv.errors import DamagedError, DeniedError, RefusedError, SyncsrvError, UnreachableError, UsageError


@pytest.mark.parametrize(
    "error",
    [
        SyncsrvError("cannot do it", "do another"),
        UsageError("cannot do it"),
        UnreachableError("cannot reach fw2"),
        DeniedError("cannot do it"),
        DamagedError("cannot read it"),
        NotLoggedInError("cannot do it: nobody is logged in", "log in"),
    ],
)
def test_an_error_arrives_as_its_own_kind(error: SyncsrvError) -> None:
    found = rebuild_error(error_body(error))
    assert type(found) is type(error)
    assert (found.message, found.remedy) == (error.message, error.remedy)


def test_guards_and_seconds_arrive() -> None:
    refused = rebuild_error(error_body(RefusedError("cannot", "force", ("drift",))))
    assert isinstance(refused, RefusedError)
    assert refused.guards == ("drift",)
    slow = rebuild_error(error_body(SlowDownError("cannot", "try again in 7 s", 7.0)))
    assert isinstance(slow, SlowDownError)
    assert (slow.retry_s, slow.remedy) == (7.0, "try again in 7 s")


@pytest.mark.parametrize(
    "retry_s", [None, "7", -1, 0, float("nan"), float("inf"), LONGEST_RETRY_S + 1, [7], {"a": 1}, True]
)
def test_seconds_that_are_none_become_one(retry_s: Any) -> None:
    found = rebuild_error({"code": "slow-down", "exit_status": 1, "message": "x", "retry_s": retry_s})
    assert isinstance(found, SlowDownError)
    assert found.retry_s == 1.0
