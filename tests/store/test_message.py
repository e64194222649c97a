from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.plan.tree import Entry, Kind, Owner
from syncsrv.store import trailers
from syncsrv.store.message import compose, summary
from tests.store.strategies import BLOBS, CONTENTS, trees

TEXTS = {
    "a": b"one\ntwo\nthree\n",
    "b": b"one\n2\n3\nthree\nfour\n",
    "bin": b"\0\1",
    "link": b"../new\xff",
    "long": b"".join(b"%d\n" % n for n in range(3000)),
    "gnol": b"".join(b"%d\n" % n for n in range(9000, 6000, -1)),
}


def file(blob: str = "a", mode: int = 0o644, user: Owner = Owner("root", 0)) -> Entry:  # noqa: B008 - it is frozen
    return Entry(Kind.FILE, mode, user, blob=blob)


FOLDER = Entry(Kind.DIRECTORY, 0o755)
BASE = {
    b"etc/nginx": FOLDER,
    b"etc/nginx/a.conf": file(),
    b"etc/nginx/sites/b.conf": file(),
    b"etc/hosts": file(),
    b"etc/link": Entry(Kind.LINK, 0o777, blob="a"),
}


@pytest.mark.parametrize(
    "changes, line",
    [
        ({b"etc/nginx/a.conf": file("b")}, "etc/nginx: a.conf changed (+3 -1)"),
        ({b"etc/nginx/a.conf": file("bin")}, "etc/nginx: a.conf changed (binary)"),
        ({b"etc/nginx/c.conf": file()}, "etc/nginx: c.conf added"),
        ({b"etc/nginx/a.conf": None}, "etc/nginx: a.conf removed"),
        ({b"etc/nginx/a.conf": file(mode=0o600)}, "etc/nginx: a.conf mode 0644 to 0600"),
        (
            {b"etc/nginx/a.conf": file(mode=0o600, user=Owner("", 7))},
            "etc/nginx: a.conf mode 0644 to 0600, owner root:root to #7:root",
        ),
        ({b"etc/link": Entry(Kind.LINK, 0o777, blob="link")}, r"etc: link points to ../new\xff"),
        ({b"etc/link": file()}, "etc: link became a file"),
        ({b"etc/hosts": Entry(Kind.FILE, 0o644, blob="a", xattrs=(("user.a", b""),))}, "etc: hosts attributes changed"),
        (
            {b"etc/nginx/a.conf": file("b"), b"etc/nginx/sites/b.conf": None},
            "etc/nginx: a.conf changed (+3 -1), sites/b.conf removed",
        ),
        ({b"etc/nginx/x": FOLDER}, "etc/nginx: x added"),
        ({b"etc/nginx/x": FOLDER, b"etc/nginx/x/y": file()}, "etc/nginx/x: y added"),
        ({b"top": file()}, "top added"),
        ({b"top": file(), b"etc/hosts": None}, "etc/hosts removed, top added"),
        ({b"etc/nginx/%d" % n: file() for n in range(12)}, "etc/nginx: 12 files added"),
        ({b"etc/nginx/%d" % n: FOLDER for n in range(4)}, "etc/nginx: 4 directories added"),
        (
            {b"etc/nginx/a.conf": file("b"), b"etc/hosts": None, b"etc/nginx/sites/b.conf": None, b"etc/n": file()},
            "etc: 1 file changed, 1 added, 2 removed",
        ),
        ({b"etc/" + b"n" * 200: file()}, "etc: 1 file added"),
        ({b"etc/a\nb\x1b[0m\xff": file()}, r"etc: a\nb\x1b[0m\xff added"),
        ({b"etc/hosts": file()}, "nothing changed"),
        ({}, "nothing changed"),
    ],
)
def test_the_line_says_what_happened(changes: dict[bytes, Entry | None], line: str) -> None:
    assert summary(BASE, changes, TEXTS.__getitem__) == line


def test_what_is_too_long_to_compare_stays_without_numbers() -> None:
    assert summary({b"f": file("long")}, {b"f": file("gnol")}, TEXTS.__getitem__) == "f changed"


@given(trees, trees)
def test_any_change_has_one_short_printable_line(a: dict[bytes, Entry], b: dict[bytes, Entry]) -> None:
    blobs = dict(zip(BLOBS, CONTENTS, strict=True))
    line = summary(a, {path: b.get(path) for path in a.keys() | b.keys()}, blobs.__getitem__)
    assert line
    assert line.isprintable()
    assert len(line) <= 300


def test_a_message_ends_in_its_trailers() -> None:
    text = compose("Why\n\nbecause\nof it", via="cli", node="fw1", areas=["proxy", "dns"], requested_by="alice")
    assert text == ("Why\n\nbecause\nof it\n\nFormat: 1\nVia: cli\nNode: fw1\nAreas: proxy, dns\nRequested-By: alice\n")
    assert compose("x", via="sync", node="fw2", areas=[], tag="sync/000001").endswith("Node: fw2\nTag: sync/000001\n")


def test_a_person_s_words_cannot_pass_for_trailers() -> None:
    evil = "Fix\n\nNode: evil\nVia: push"
    subject, body, found = trailers.split(compose(evil, via="cli", node="fw1\nNode: evil", areas=[]))
    assert (subject, body) == ("Fix", "Node: evil\nVia: push")
    assert dict(found) == {"Format": "1", "Via": "cli", "Node": "fw1 Node: evil"}


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["Node", "Via", "Areas"]), st.text(), min_size=1))
def test_whatever_the_words_the_trailers_read_back(subject: str, body: str, values: dict[str, str]) -> None:
    message = trailers.compose(subject, body, {"Format": "1", **values})
    found = trailers.split(message)[2]
    wanted = {key: " ".join(value.replace("\0", "").split()) for key, value in values.items()}
    assert dict(found) == {"Format": "1"} | {key: value for key, value in wanted.items() if value}


@pytest.mark.parametrize(
    "message, wanted",
    [
        ("", ("", "", ())),
        ("only a subject\n", ("only a subject", "", ())),
        ("Key: value\n", ("Key: value", "", ())),
        ("s\n\nKey: value\n", ("s", "", (("Key", "value"),))),
        ("s\n\nKey: value\nno trailer\n", ("s", "Key: value\nno trailer", ())),
        ("s\n\nbody\n\nA: 1\nB: 2\n\n", ("s", "body", (("A", "1"), ("B", "2")))),
        ("s\nbody at once\n\nA: 1\n", ("s", "body at once", (("A", "1"),))),
    ],
)
def test_messages_that_others_wrote_are_read(
    message: str, wanted: tuple[str, str, tuple[tuple[str, str], ...]]
) -> None:
    assert trailers.split(message) == wanted
