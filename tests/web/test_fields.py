from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.web.fields import FIELDS, read_fields


def read(*lines: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    read_fields(io.BytesIO(b"".join(line + b"\r\n" for line in lines) + b"\r\n"), headers)
    return headers


def test_names_have_one_spelling_and_repeated_lists_are_one() -> None:
    assert read(b"host:  a ", b"ACCEPT: x", b"accept: y", b"cookie: a=1", b"Cookie: b=2") == {
        b"Host": b"a",
        b"Accept": b"x, y",
        b"Cookie": b"a=1; b=2",
    }


def test_an_underscore_does_not_pass_for_a_hyphen() -> None:
    assert read(b"X_Real: a", b"Content_Length: 5") == {}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b" folded: a"], "a header line is none"),
        ([b"no colon"], "a header line is none"),
        ([b"Content-Length : 5"], "a header line is none"),
        ([b"\xff: a"], "a header line is none"),
        ([b"A: b\x00c"], "characters"),
        ([b"A: b\rc"], "characters"),
        ([b"Content-Length: 5", b"Content-Length: 5"], "two headers Content-Length"),
        ([b"Host: a", b"host: b"], "two headers Host"),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], "both"),
        ([b"Content-Length: -1"], "no number"),
        ([b"Content-Length: +5"], "no number"),
        ([b"Content-Length: 1_0"], "no number"),
        ([b"Content-Length:"], "no number"),
        ([b"A%d: b" % number for number in range(FIELDS)], "more than"),
    ],
)
def test_what_could_be_understood_in_two_ways_is_refused(lines: list[bytes], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(*lines)


def test_the_end_in_the_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="a header line is none"):
        read_fields(io.BytesIO(b"Host: a\r\nAcc"), {})


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_and_nothing_else(data: bytes) -> None:
    headers: dict[bytes, bytes] = {}
    try:
        read_fields(io.BytesIO(data + b"\r\n\r\n"), headers)
    except ValueError as error:
        assert str(error).startswith("cannot answer: ")  # noqa: PT017 - either way out is right
    assert all(b"\n" not in value and b"\r" not in value for value in headers.values())
