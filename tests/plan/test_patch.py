"""Differences as text."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsrv.plan.patch import is_binary, unified
from syncsrv.plan.tree import show_path, tree_path
from syncsrv.plan.words import counted, listed


def test_a_changed_line() -> None:
    text = unified(b"etc/a", b"one\ntwo\n", b"one\nthree\n")
    assert text.splitlines() == ["--- a/etc/a", "+++ b/etc/a", "@@ -1,2 +1,2 @@", " one", "-two", "+three"]


def test_added_removed_and_a_missing_end_of_line() -> None:
    assert unified(b"etc/a", None, b"x\n").splitlines()[:2] == ["--- /dev/null", "+++ b/etc/a"]
    assert unified(b"etc/a", b"x\n", None).splitlines()[1] == "+++ /dev/null"
    assert "\\ No newline at end of file" in unified(b"etc/a", b"x\n", b"x")


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n"]), max_size=30).map(b"".join)


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch(1)")
@settings(max_examples=25, deadline=None)
@given(LINES, LINES, st.sampled_from([b"", b"end"]))
def test_patch_takes_it_and_makes_the_new_text(old: bytes, new: bytes, end: bytes) -> None:
    new += end
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "file")
        file.write_bytes(old)
        text = unified(b"file", old, new)
        if text:
            subprocess.run(["patch", "-s", str(file)], input=text.encode() + b"\n", check=True)
        assert (file.read_bytes() if file.exists() else b"") == new


def test_what_is_equal_has_no_difference() -> None:
    assert unified(b"etc/a", b"x\n", b"x\n") == ""


def test_binary_and_undecodable_content() -> None:
    assert is_binary(b"a\0b")
    assert unified(b"etc/a", b"a\0", b"b") == ""
    assert "\\xff" in unified(b"etc/a", b"", b"\xff\n")


def test_paths_survive_being_shown() -> None:
    for path in (b"etc/a", b"etc/\xff\xfe", b"etc/a\\xff", b"etc/a\\x5cb", "etc/ü".encode(), b"a\nb"):
        show_path(path).encode()
        assert tree_path(show_path(path)) == path


def test_words() -> None:
    assert listed(["a"]) == "a"
    assert listed(str(n) for n in range(7)) == "0, 1, 2, 3, 4 and 2 more"
    assert (counted(1, "file"), counted(2, "file")) == ("1 file", "2 files")
