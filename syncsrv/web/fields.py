"""The header of a request, without what two readers could understand differently. No I/O but the reading."""

from __future__ import annotations

import re
from typing import Protocol

FIELDS = 100
_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^`|~-]+")
_ONCE = (b"Content-Length", b"Transfer-Encoding", b"Host")


class Lines(Protocol):
    """What is read from."""

    def readline(self) -> bytes:
        """A line with its end; empty at the end of all."""


def read_fields(lines: Lines, headers: dict[bytes, bytes]) -> None:
    """Header lines up to the empty one, into ``headers``; the server makes the reason of a ValueError its 400.

    Raises:
        ValueError: one of them can be understood in two ways.
    """
    for _ in range(FIELDS):
        line = lines.readline()
        if line == b"\r\n":
            break
        name, colon, value = line.partition(b":")
        if not line.endswith(b"\r\n") or not colon or not _NAME.fullmatch(name.replace(b"_", b"-")):
            raise ValueError("cannot answer: a header line is none\n")
        value = value.strip(b" \t\r\n")
        if b"_" in name:  # WSGI could not tell it from the one with a hyphen
            continue
        name = name.title()
        if any(byte in value for byte in (0, 10, 13)):
            raise ValueError("cannot answer: a header has characters that none may have\n")
        if name in headers and name in _ONCE:
            raise ValueError(f"cannot answer: there are two headers {name.decode()}\n")
        if name in headers:
            value = headers[name] + (b"; " if name == b"Cookie" else b", ") + value
        headers[name] = value
    else:
        raise ValueError(f"cannot answer: there are more than {FIELDS} headers\n")
    if b"Content-Length" in headers:
        if b"Transfer-Encoding" in headers:
            raise ValueError("cannot answer: there are both Content-Length and Transfer-Encoding\n")
        if not re.fullmatch(rb"[0-9]{1,12}", headers[b"Content-Length"]):
            raise ValueError("cannot answer: the Content-Length is no number\n")
