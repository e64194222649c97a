"""Objects piece by piece: whole, wherever and however they lie; and never silently something else."""

from __future__ import annotations

import contextlib
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.store.files import DamagedObjectError, MissingObjectError
from syncsrv.store.gitformat import MalformedObjectError
from syncsrv.store.repack import repack
from syncsrv.store.repo import Store
from syncsrv.store.stream import HEAD
from tests.store import stock
from tests.store.test_exchange import commit_files

SIZES = (0, 1, HEAD - 1, HEAD, HEAD + 1, 70_000, 3_000_000)


def content(size: int) -> bytes:
    """Text that compresses, so that one read of the file makes many pieces."""
    return (b"a line of a file that goes on\n" * (size // 30 + 1))[:size]


def same(store: Store, blob: str, data: bytes) -> None:
    found = store.open_blob(blob)
    assert (found.size, store.blob_size(blob), found.is_whole) == (len(data), len(data), len(found.head) == len(data))
    assert data.startswith(found.head)
    assert len(found.head) >= min(HEAD, len(data))
    assert b"".join(found.pieces()) == data
    assert b"".join(found.pieces()) == data, "and once more"


@pytest.mark.parametrize("how", ["waiting", "loose", "pack", "stock"])
def test_every_size_comes_as_it_was_wherever_it_lies(store: Store, how: str) -> None:
    contents = [content(size) for size in SIZES]
    with store.writer():
        blobs = [store.put_blob(data) for data in contents]
        if how == "waiting":
            for blob, data in zip(blobs, contents, strict=True):
                same(store, blob, data)
        commit_files(store, {b"f%d" % n: data for n, data in enumerate(contents)})
    if how == "pack":
        repack(store)
    if how == "stock":
        stock.git(store.path, "repack", "-adq")
    for blob, data in zip(blobs, contents, strict=True):
        same(store, blob, data)


def test_a_delta_is_as_long_as_what_it_makes(store: Store) -> None:
    first = b"".join(b"line %d of many\n" % n for n in range(20_000))
    second = first + b"one more\n"
    a = commit_files(store, {b"f": first})
    commit_files(store, {b"f": second}, a, step=1)
    blobs = [store.put_blob(first), store.put_blob(second)]
    stock.git(store.path, "repack", "-adfq", "--depth=10")
    said = stock.git(store.path, "cat-file", "--batch-check=%(deltabase)", "--batch-all-objects")
    assert any(line != b"0" * 40 for line in said.split()), "there is a delta to look at"
    for blob, data in zip(blobs, (first, second), strict=True):
        same(store, blob, data)


def test_a_large_one_is_never_in_memory_as_a_whole(store: Store) -> None:
    data = content(1_000_000) * 30
    blob = store.put_blob(data)
    size = len(data)
    del data
    tracemalloc.start()
    try:
        assert sum(map(len, store.open_blob(blob).pieces())) == size
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_what_is_missing_or_no_blob_is_said(store: Store) -> None:
    commit = commit_files(store, {b"a": b"1"})
    with pytest.raises(MalformedObjectError, match="a commit where a blob belongs"):
        store.open_blob(commit)
    for bad in ("1" * 40, "../../etc/passwd", ""):
        with pytest.raises(MissingObjectError):
            store.open_blob(bad)
        with pytest.raises(MissingObjectError):
            store.blob_size(bad)


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1), how=st.sampled_from(["cut", "flip", "other", "not git"]), size=st.sampled_from(SIZES[1:6]))
def test_a_spoilt_file_is_never_taken_for_its_object(
    tmp_path_factory: pytest.TempPathFactory, at: float, how: str, size: int
) -> None:
    store = Store.create(tmp_path_factory.mktemp("spoilt") / "config.git")
    data = content(size)
    blob = store.put_blob(data)
    path = store.path / "objects" / blob[:2] / blob[2:]
    packed = path.read_bytes()
    place = int(at * (len(packed) - 1))
    path.chmod(0o600)
    path.write_bytes(
        {
            "cut": packed[:place],
            "flip": packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :],
            "other": zlib.compress(b"blob %d\0" % size + b"x" * size),
            "not git": zlib.compress(b"nothing of Git's"),
        }[how]
    )
    found = None
    with contextlib.suppress(DamagedObjectError):
        found = b"".join(store.open_blob(blob).pieces())
    assert found in (None, data), "either it is told, or the flip is in what nobody needs"
    store.close()


def test_a_file_that_is_damaged_further_on_is_told_at_the_end(store: Store) -> None:
    data = content(3_000_000)
    blob = store.put_blob(data)
    path = store.path / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(zlib.compress(b"blob %d\0" % len(data) + data[:-1] + b"?", 1))
    pieces = store.open_blob(blob).pieces()
    with pytest.raises(DamagedObjectError, match="not what its id says"):
        list(pieces)


def test_a_repack_between_the_head_and_the_rest_is_no_matter(store: Store) -> None:
    data = content(3_000_000)
    commit_files(store, {b"big": data})
    found = store.open_blob(store.put_blob(data))
    stock.git(store.path, "repack", "-adq")
    assert b"".join(found.pieces()) == data
