"""The lines at the end of a message that programs read: ``Format: 1``, ``Via: watch``, ``Node: fw1``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

FORMAT = "1"
"""Of tags and commits; a reader refuses a tag of a format that it does not know."""

FORMAT_KEY, VIA, NODE, AREAS, REQUESTED_BY, TAG = "Format", "Via", "Node", "Areas", "Requested-By", "Tag"

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,63}): (.*)\Z")


def compose(subject: str, body: str, trailers: Mapping[str, str]) -> str:
    """A message: subject, body where there is one, and a last paragraph of trailers.

    Newlines in the subject and in trailers become spaces; trailers without a value are left out.
    """
    lines = [f"{key}: {_one_line(value)}" for key, value in trailers.items() if _one_line(value)]
    paragraphs = [_one_line(subject) or "(no reason given)", _clean(body).strip("\n"), "\n".join(lines)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def split(message: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Subject, body and trailers of a message; the trailers are a last paragraph in which every line is one."""
    text = message.strip("\n")
    subject, _, rest = text.partition("\n")
    body = rest.strip("\n")
    before, _, last = body.rpartition("\n\n")
    matches = [_LINE.match(line) for line in last.split("\n")]
    found = tuple((match[1], match[2].strip()) for match in matches if match)
    if len(found) != len(matches):
        return subject, body, ()
    return subject, before.strip("\n"), found


def names(value: str) -> tuple[str, ...]:
    """The names in ``proxy, dns``."""
    return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)


def _one_line(text: str) -> str:
    return " ".join(_clean(text).split())


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\0", "")
