"""The demo's own reading of a disk must see every difference, for nothing else would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsrv.demo.tree import differences, snapshot, summary


def make(top: Path) -> Path:
    (top / "etc/empty").mkdir(parents=True)
    (top / "etc/a.conf").write_bytes(b"one\n")
    (top / "etc/link").symlink_to("a.conf")
    for path, mode in (("etc", 0o755), ("etc/empty", 0o755), ("etc/a.conf", 0o644)):
        (top / path).chmod(mode)
    return top


def other_content(top: Path) -> None:
    (top / "etc/a.conf").write_bytes(b"two\n")


def other_mode(top: Path) -> None:
    (top / "etc/a.conf").chmod(0o640)


def other_directory_mode(top: Path) -> None:
    (top / "etc/empty").chmod(0o700)


def no_file(top: Path) -> None:
    (top / "etc/a.conf").unlink()


def no_empty_directory(top: Path) -> None:
    (top / "etc/empty").rmdir()


def one_more(top: Path) -> None:
    (top / "etc/b").touch()


def file_for_directory(top: Path) -> None:
    (top / "etc/empty").rmdir()
    (top / "etc/empty").touch()


def fifo_for_file(top: Path) -> None:
    (top / "etc/a.conf").unlink()
    os.mkfifo(top / "etc/a.conf")


def other_target(top: Path) -> None:
    (top / "etc/link").unlink()
    (top / "etc/link").symlink_to("b")


@pytest.mark.parametrize(
    "change, said",
    [
        (other_content, "etc/a.conf: has another content"),
        (other_mode, "etc/a.conf: has mode 0640, not 0644"),
        (other_directory_mode, "etc/empty: has mode 0700, not 0755"),
        (no_file, "etc/a.conf: is missing"),
        (no_empty_directory, "etc/empty: is missing"),
        (one_more, "etc/b: should not be there"),
        (file_for_directory, "etc/empty: is a file where a directory should be"),
        (fifo_for_file, "etc/a.conf: is something else where a file should be"),
        (other_target, "etc/link: has another target"),
    ],
)
def test_each_kind_of_difference_is_seen_and_named(tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    wanted, seen = make(tmp_path / "a"), make(tmp_path / "b")
    assert differences(snapshot(wanted), snapshot(seen)) == []
    change(seen)
    assert differences(snapshot(wanted), snapshot(seen)) == [said]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file away")
def test_another_owner_is_a_difference(tmp_path: Path) -> None:
    wanted, seen = make(tmp_path / "a"), make(tmp_path / "b")
    os.chown(seen / "etc/link", 65534, 65534, follow_symlinks=False)
    assert differences(snapshot(wanted), snapshot(seen)) == ["etc/link: belongs to 65534:65534, not to 0:0"]


def test_a_link_to_a_directory_is_a_link_and_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path / "a")
    (tmp_path / "a/etc/loop").symlink_to(tmp_path)
    found = snapshot(tmp_path / "a")
    assert found["etc/loop"].kind == "link"
    assert not any(path.startswith("etc/loop/") for path in found)


def test_the_summary_counts_what_is_there(tmp_path: Path) -> None:
    assert summary(snapshot(make(tmp_path / "a"))) == "1 file, 1 link, 2 directories (1 of them empty)"
