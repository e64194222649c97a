from __future__ import annotations

from dataclasses import fields

import pytest

from syncsrv.control.shapes import SyncRequest
from syncsrv.control.shapes_history import DiffRequest, LogRequest, Slice
from syncsrv.control.shapes_services import ServicesRequest
from syncsrv.control.verbs import VERBS, Door
from syncsrv.web.api.table import OPERATIONS, Operation, is_many, without_none

ONLY_FOR_THE_PAGE = {
    "web-setup": "how the web process starts",
    "login": "gives a cookie; a program has a token",
    "logout": "takes the cookie",
}


def operation(name: str) -> Operation:
    return next(one for one in OPERATIONS if one.name == name)


def test_everything_that_web_may_ask_has_an_operation() -> None:
    asked = {one.verb for one in OPERATIONS} - {""}
    may_be_asked = {name for name, verb in VERBS.items() if Door.WEB in verb.doors}
    assert may_be_asked - asked == set(ONLY_FOR_THE_PAGE)


def test_names_and_addresses_are_told_apart() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_every_field_of_the_request_comes_from_somewhere_and_from_one_place(one: Operation) -> None:
    sent = [part.name for part in fields(one.sent)]
    assert len(sent) == len(set(sent))
    named = {part.name for part in fields(one.request)}
    flat = {name for name in named if name != "part"} | ({x.name for x in fields(Slice)} if "part" in named else set())
    assert set(sent) | set(one.in_path) | set(one.fixed) == flat
    assert not set(sent) & {*one.in_path, *one.fixed}


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.verb], ids=lambda one: one.name)
def test_nobody_may_ask_who_may_not_ask_the_verb(one: Operation) -> None:
    assert one.power == (VERBS[one.verb].power or "viewer")


def test_a_request_is_built_from_path_row_and_what_was_sent() -> None:
    diff = operation("get-changes")
    sent = diff.sent(revs=("a",), offset=5, paths=("/x",))
    assert diff.build({}, sent) == DiffRequest(revs=("a",), part=Slice(offset=5, paths=("/x",)))
    services = operation("get-services")
    assert services.build({}, services.sent(node="fw2")) == ServicesRequest("fw2", "status", ())
    logs = operation("get-service-logs")
    assert logs.build({}, logs.sent(names=("nginx",))) == ServicesRequest("", "log", ("nginx",))
    assert operation("sync").build({}, operation("sync").sent(reason="r")) == SyncRequest(reason="r")


def test_a_field_that_must_be_sent_has_no_default() -> None:
    with pytest.raises(TypeError):
        operation("act-on-services").sent()


def test_types_of_a_query() -> None:
    assert without_none(str | None) is str
    assert without_none(str | int | None) == str | int | None
    assert is_many(tuple[str, ...])
    assert not is_many(str)
    assert operation("get-history").build({}, operation("get-history").sent()) == LogRequest()
