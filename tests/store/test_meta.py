from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.plan.tree import ROOT, Entry, Kind, Owner
from syncsrv.store import meta
from tests.store.strategies import entries, names


def test_the_lines_are_those_of_the_contract() -> None:
    www = Owner("www-data", 33)
    text = meta.format_lines(
        Entry(Kind.DIRECTORY, 0o750, ROOT, www),
        {
            b"plain.conf": Entry(Kind.FILE, 0o644, blob="x"),
            b"run.sh": Entry(Kind.FILE, 0o755, blob="x"),
            b"a b\xff%.key": Entry(Kind.FILE, 0o600, ROOT, Owner("", 1234), "x", (("user.a=b", b"\0z"),)),
            b"link": Entry(Kind.LINK, 0o777, Owner("odd:name", 7), ROOT, "x"),
        },
        empty=False,
    )
    assert text == (
        b".\td\t0750\troot:0\twww-data:33\n"
        b"a%20b%FF%25.key\tf\t0600\troot:0\t:1234\tuser.a%3Db=%00z\n"
        b"link\tl\t0777\todd%3Aname:7\troot:0\n"
    )
    assert text.splitlines() == sorted(text.splitlines())


def test_an_empty_directory_has_its_line_and_a_default_one_in_use_has_none() -> None:
    plain = Entry(Kind.DIRECTORY, 0o755)
    assert meta.format_lines(plain, {}, empty=True) == b".\td\t0755\troot:0\troot:0\n"
    assert meta.format_lines(plain, {}, empty=False) == b""


@given(st.dictionaries(names, entries))
def test_what_is_written_reads_back(found: dict[bytes, Entry]) -> None:
    files = {name: entry for name, entry in found.items() if entry.kind is not Kind.DIRECTORY}
    lines = meta.parse_lines(b"etc", meta.format_lines(None, files, empty=False))
    for name, entry in files.items():
        read = meta.merge(lines.get(name), entry.kind, entry.blob, executable=bool(entry.mode & 0o100))
        assert read == entry
        assert (read.user.number, read.group.number) == (entry.user.number, entry.group.number)


@given(st.binary(), st.sampled_from([b"", b":", b"="]))
def test_any_bytes_survive_the_encoding(raw: bytes, also: bytes) -> None:
    text = meta.encode(raw, also)
    assert meta.decode(text) == raw
    assert all(0x21 <= byte <= 0x7E for byte in text)
    assert not also or also not in text


@given(st.binary(max_size=200))
def test_noise_is_an_error_with_a_name_or_lines(noise: bytes) -> None:
    with contextlib.suppress(meta.BadMetadataError):
        meta.parse_lines(b"etc/x", noise)


@pytest.mark.parametrize(
    "line",
    [
        b"a",
        b"a\tf\t0644\troot:0",
        b"\tf\t0644\troot:0\troot:0",
        b"..\tf\t0644\troot:0\troot:0",
        b"x%2Fy\tf\t0644\troot:0\troot:0",
        b"x%00\tf\t0644\troot:0\troot:0",
        b"x%4\tf\t0644\troot:0\troot:0",
        b"a\tx\t0644\troot:0\troot:0",
        b"a\td\t0755\troot:0\troot:0",
        b".\tf\t0755\troot:0\troot:0",
        b"a\tf\t644\troot:0\troot:0",
        b"a\tf\t0948\troot:0\troot:0",
        b"a\tf\t0644\troot\troot:0",
        b"a\tf\t0644\troot:-1\troot:0",
        b"a\tf\t0644\troot:4294967295\troot:0",
        b"a\tf\t0644\ta:b:1\troot:0",
        b"a\tf\t0644\troot:0\troot:0\tuser.x",
        b"a\tf\t0644\troot:0\troot:0\t=x",
        b"a\tf\t0644\troot:0\troot:0\tu=1\tu=2",
        b"a\tf\t0644\troot:0\troot:0\na\tf\t0644\troot:0\troot:0",
    ],
)
def test_malformed_lines_have_a_name(line: bytes) -> None:
    with pytest.raises(meta.BadMetadataError, match=r"\.syncsrv/meta/\+etc/entries: line") as caught:
        meta.parse_lines(b"etc", line)
    assert caught.value.remedy


def test_lines_that_people_write_are_read() -> None:
    found = meta.parse_lines(b"etc", "ä ö.conf\tf\t0600\troot:0\troot:0\n\nb%c3%a4\tf\t0640\troot:0\tadm:4".encode())
    assert set(found) == {"ä ö.conf".encode(), "bä".encode()}


@pytest.mark.parametrize(
    "line, executable, wanted",
    [
        (0o640, True, 0o750),
        (0o644, True, 0o755),
        (0o200, True, 0o300),
        (0o750, False, 0o640),
        (0o755, True, 0o755),
        (0o654, False, 0o654),
        (0o4711, False, 0o4600),
    ],
)
def test_for_x_the_bit_of_git_decides(line: int, executable: bool, wanted: int) -> None:
    assert meta.merge(Entry(Kind.FILE, line), Kind.FILE, "b", executable=executable).mode == wanted


def test_a_line_of_another_type_counts_for_nothing() -> None:
    secret = Entry(Kind.FILE, 0o600, Owner("www-data", 33))
    assert meta.merge(secret, Kind.LINK, "b", executable=False) == Entry(Kind.LINK, 0o777, blob="b")
    link = Entry(Kind.LINK, 0o777, Owner("www-data", 33))
    assert meta.merge(link, Kind.FILE, "b", executable=False) == Entry(Kind.FILE, 0o644, blob="b")
