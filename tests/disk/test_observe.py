"""Reading one live path: Git's ids, bounded memory, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.disk.file_errors import ChangedError, RootError
from syncsrv.disk.observe import blob_id, differences
from syncsrv.disk.reader import LiveReader
from syncsrv.plan.tree import Entry, Kind, Owner
from tests.support.trees import Blobs, build, file, folder, link


def git_id(path: Path) -> str:
    done = subprocess.run(["git", "hash-object", "--no-filters", str(path)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "data", [b"", b"x", b"line\r\n", bytes(range(256)), b"m" * (1024 * 1024), b"m" * (1024 * 1024 + 1)]
)
def test_ids_are_those_of_git(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f").write_bytes(data)
    entry = LiveReader(tmp_path).observe(b"f")
    assert entry is not None
    assert entry.blob == git_id(tmp_path / "f") == blob_id(data)


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    files = LiveReader(tmp_path)
    tracemalloc.start()
    try:
        entry = files.observe(b"f")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert entry is not None
    assert entry.blob == git_id(tmp_path / "f")
    assert peak < 4 * 1024 * 1024


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    files = LiveReader(tmp_path)
    assert [files.observe(path) for path in (b"x", b"x/y", b"f/y", b"n" * 255)] == [None] * 4


def test_each_kind(tmp_path: Path) -> None:
    blobs = Blobs()
    tree = {
        b"f": replace(file(blobs, b"data", 0o640), xattrs=(("user.a", b"1"),)),
        b"d": folder(0o1770),
        b"l": link(blobs, b"nowhere\xff"),
    }
    build(tmp_path, tree, blobs)
    files = LiveReader(tmp_path)
    assert {path: files.observe(path) for path in tree} == {
        path: files.as_here(path, one) for path, one in tree.items()
    }


def test_a_file_that_never_holds_still_is_an_error_not_a_guess(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    stop = threading.Event()

    def scribble() -> None:
        with (tmp_path / "f").open("r+b") as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(b"x")
                stream.flush()

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        with pytest.raises(ChangedError, match="it keeps changing while it is read"):
            LiveReader(tmp_path).observe(b"f")
    finally:
        stop.set()
        writer.join()


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RootError, match=r"cannot open .*/gone: No such file or directory"):
        LiveReader(tmp_path / "gone").observe(b"f")


def test_the_root_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"x")
    (tmp_path / "alias").symlink_to("real")
    assert LiveReader(tmp_path / "alias").observe(b"f") is not None


BASE = Entry(Kind.FILE, 0o644, Owner("root", 0), Owner("root", 0), "a" * 40)


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (None, BASE, "it has appeared"),
        (BASE, None, "it has gone"),
        (BASE, replace(BASE, kind=Kind.LINK), "it is a link now, not a file"),
        (BASE, replace(BASE, blob="b" * 40), "its content changed"),
        (replace(BASE, kind=Kind.LINK), replace(BASE, kind=Kind.LINK, blob="b" * 40), "its target changed"),
        (
            BASE,
            replace(BASE, mode=0o600, user=Owner("bob", 7), group=Owner("", 7)),
            "its mode is 0600, not 0644, it belongs to bob, not root, its group is #7, not root",
        ),
        (BASE, BASE, "it was replaced by an equal one"),
    ],
)
def test_differences_in_words(expected: Entry | None, found: Entry | None, said: str) -> None:
    assert differences(expected, found) == said


@given(st.binary(max_size=200))
def test_a_blob_id_depends_on_every_byte(data: bytes) -> None:
    assert blob_id(data) != blob_id(data + b"\0")


def test_reading_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    before = os.lstat(tmp_path / "f")
    LiveReader(tmp_path).observe(b"f")
    after = os.lstat(tmp_path / "f")
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
