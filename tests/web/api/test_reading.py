from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.control.codec import BadRequestError
from syncsrv.web.api.problem import BadBodyError
from syncsrv.web.api.reading import from_body, from_query
from syncsrv.web.api.table import OPERATIONS, Operation

SECRET = "hunter2hunter2"


def operation(name: str) -> Operation:
    return next(one for one in OPERATIONS if one.name == name)


DIFF, LOG, JOB = operation("get-changes"), operation("get-history"), operation("get-job")
SYNC, PASSWORD, ABORT = operation("sync"), operation("set-password"), operation("abort-job")


def test_a_query_is_read_by_its_types() -> None:
    found = from_query(DIFF, {"revs": ["a", "b"], "patch": ["true"], "limit": ["7"], "target": [""]})
    assert found == DIFF.sent(revs=("a", "b"), patch=True, limit=7, target="")
    assert from_query(JOB, {"after": ["3"], "wait_s": ["2.5"]}) == JOB.sent(after=3, wait_s=2.5)
    assert from_query(LOG, {}) == LOG.sent()


@pytest.mark.parametrize(
    "query, field",
    [
        ({"limit": [SECRET]}, "limit"),
        ({"limit": ["1e3"]}, "limit"),
        ({"limit": ["0x10"]}, "limit"),
        ({"limit": [" 5"]}, "limit"),
        ({"limit": ["-1"]}, "limit"),
        ({"limit": ["9" * 5000]}, "limit"),
        ({"limit": ["٣"]}, "limit"),
        ({"limit": ["5", "5"]}, "limit"),
        ({"path": [SECRET, SECRET]}, "path"),
        ({"pat": [SECRET]}, "pat"),
        ({"": [SECRET]}, "the request"),
    ],
)
def test_what_a_query_cannot_say_is_refused_by_name_only(query: dict[str, list[str]], field: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_query(LOG, query)
    assert caught.value.fields == (field,)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "26", "1e1", ""])
def test_a_number_of_seconds_is_a_number_in_its_bounds(text: str) -> None:
    with pytest.raises(BadRequestError):
        from_query(JOB, {"wait_s": [text]})


def test_a_body_is_read_by_its_types() -> None:
    found = from_body(SYNC, b'{"nodes": ["fw2"], "confirm_within_s": 60, "plans": {"fw2": "x"}}')
    assert found == SYNC.sent(nodes=("fw2",), confirm_within_s=60.0, plans={"fw2": "x"})
    assert from_body(SYNC, b"{}") == SYNC.sent()


@pytest.mark.parametrize("body", [{"force": [1] * 5000}, {f"olx{at}": 1 for at in range(5000)}])
def test_a_refusal_is_not_larger_than_what_was_sent(body: object) -> None:
    with pytest.raises(BadRequestError, match="and 4980 more like these") as caught:
        from_body(SYNC, json.dumps(body).encode())
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("body", [b"", b"{}", b" {} "])
def test_what_takes_no_body_takes_an_empty_one(body: bytes) -> None:
    assert from_body(ABORT, body) == ABORT.sent()


BAD_BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "two": b"{}{}",
    "no object": b"[]",
    "text": b'"' + SECRET.encode() + b'"',
    "not UTF-8": b'{"password": "\xff"}',
    "UTF-16": '{"password": "x"}'.encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf{}",
    "a name twice": b'{"password": "a", "password": "b"}',
    "a name twice inside": b'{"x": {"y": 1, "y": 2}}',
    "NaN": b'{"password": NaN}',
    "infinity": b'{"password": -Infinity}',
    "a float too large": b'{"password": 1e999}',
    "too many digits": b'{"password": ' + b"1" * 5000 + b"}",
    "too deep": b'{"password": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "too deep and open": b'{"a":' * 200_000,
    "half a character": b'{"password": "\\ud800"}',
    "wrong type": b'{"password": 12345678}',
    "another field": b'{"password": "x", "role": "admin"}',
    "missing": b"{}",
    "null": b'{"password": null}',
    "path in the body": b'{"name": "admin", "password": "x"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises((BadBodyError, BadRequestError)) as caught:
        from_body(PASSWORD, body)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")])
def test_no_depth_is_one_that_is_neither_read_nor_refused(opening: bytes, closing: bytes) -> None:
    for depth in range(100, 1100):  # Python's limit lies somewhere among them, another one for each that reads
        with pytest.raises((BadBodyError, BadRequestError)):
            from_body(PASSWORD, b'{"password": ' + opening * depth + b"1" + closing * depth + b"}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=60) | JSON.map(lambda found: json.dumps(found).encode()))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for one in (SYNC, PASSWORD, ABORT):
        with contextlib.suppress(BadBodyError, BadRequestError):
            assert isinstance(from_body(one, body), one.sent)


@given(st.dictionaries(st.sampled_from(["limit", "path", "x", "node"]), st.lists(st.text(), min_size=1, max_size=2)))
def test_whatever_is_asked_is_read_or_refused(query: dict[str, list[str]]) -> None:
    with contextlib.suppress(BadRequestError):
        assert isinstance(from_query(LOG, query), LOG.sent)
