"""What stands in the way: edits during the apply, sockets, mount points, full and read-only disks."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsrv.disk.file_errors import (
    BusyError,
    ChangedError,
    DirectoryNotEmptyError,
    MissingDirectoryError,
    NoSpaceError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
    SpecialFileError,
    from_os,
)
from syncsrv.disk.files import LiveFiles
from tests.disk.kit import (
    Hook,
    files_at,
    mounted,
    needs_root,
    put,
    temp_of,
)
from tests.support.trees import Blobs, build, file, folder, plain, scan


def _become(path: Path, make: Callable[[], object]) -> None:
    path.unlink()
    make()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda path: path.write_bytes(b"OLD"), "its content changed"),
    "mode": (lambda path: path.chmod(0o600), "its mode is 0600, not 0644"),
    "attribute": (lambda path: os.setxattr(path, "user.x", b"1"), "its ACL or extended attributes changed"),
    "gone": (lambda path: path.unlink(), "it has gone"),
    "directory": (lambda path: _become(path, path.mkdir), "it is a directory now, not a file"),
    "link": (lambda path: _become(path, lambda: path.symlink_to("x")), "it is a link now, not a file"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_changed_meanwhile_is_neither_overwritten_nor_deleted(
    files: LiveFiles, root: Path, blobs: Blobs, name: str
) -> None:
    change, said = CHANGES[name]
    old = file(blobs, b"old")
    build(root, {b"f": old}, blobs)
    files.prepare(b"f", file(blobs, b"new"), temp_of(b"f"))
    files.settle()
    change(root / "f")
    theirs = scan(root)
    acts: list[Callable[[], object]] = [
        lambda: files.commit_temp(b"f", temp_of(b"f"), old),
        lambda: files.remove(b"f", old),
    ]
    for act in acts:
        with pytest.raises(ChangedError, match=rf"cannot \w+ /f: it was changed during the apply \({said}\)"):
            act()
    assert scan(root) == theirs


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("attempt", ["commit", "remove"])
def test_a_change_between_the_look_and_the_rename_is_seen_too(
    root: Path, blobs: Blobs, name: str, attempt: str
) -> None:
    change, _ = CHANGES[name]
    old = file(blobs, b"old")
    build(root, {b"f": old}, blobs)
    files = files_at(root, blobs, Hook("path.seen", lambda: change(root / "f")))
    files.prepare(b"f", file(blobs, b"new"), temp_of(b"f"))
    acts: dict[str, Callable[[], object]] = {
        "commit": lambda: files.commit_temp(b"f", temp_of(b"f"), old),
        "remove": lambda: files.remove(b"f", old),
    }
    with pytest.raises(ChangedError, match="while it was looked at"):
        acts[attempt]()
    assert files.observe(b"f") not in (old, file(blobs, b"new"))
    assert (name == "gone") is not os.path.lexists(root / "f")


@needs_root
def test_an_owner_changed_meanwhile_is_seen(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    build(root, {b"f": file(blobs, b"old")}, blobs)
    os.chown(root / "f", 1, 1)
    with pytest.raises(ChangedError, match="it belongs to daemon, not root, its group is daemon, not root"):
        files.remove(b"f", file(blobs, b"old"))


@pytest.mark.parametrize("when", ["before", "path.seen"])
def test_a_file_that_appeared_meanwhile_is_not_overwritten(root: Path, blobs: Blobs, when: str) -> None:
    files = files_at(root, blobs, Hook(when, lambda: (root / "f").write_text("theirs")))
    files.prepare(b"f", file(blobs, b"ours"), temp_of(b"f"))
    if when == "before":
        (root / "f").write_text("theirs")
    with pytest.raises(ChangedError):
        files.commit_temp(b"f", temp_of(b"f"), None)
    assert (root / "f").read_text() == "theirs"


def test_a_directory_changed_meanwhile_is_left_alone(files: LiveFiles, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d").chmod(0o711)
    with pytest.raises(ChangedError, match="its mode is 0711, not 0755"):
        files.set_metadata(b"d", folder(0o700), folder(0o755))
    with pytest.raises(ChangedError, match="its mode is 0711, not 0755"):
        files.remove(b"d", folder(0o755))


def test_a_directory_swapped_after_the_look_is_left_alone(root: Path, blobs: Blobs) -> None:
    (root / "d").mkdir(mode=0o755)

    def swap() -> None:
        (root / "d").rename(root / "e")
        (root / "d").mkdir(mode=0o755)

    files = files_at(root, blobs, Hook("path.seen", swap))
    with pytest.raises(ChangedError, match="replaced by another directory"):
        files.set_metadata(b"d", folder(0o700), folder(0o755))
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


def test_an_equal_file_in_its_place_is_no_change(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    old = file(blobs, b"old")
    build(root, {b"f": old}, blobs)
    (root / "f").rename(root / "g")
    build(root, {b"f": old}, blobs)
    put(files, b"f", file(blobs, b"new"), old)
    assert (root / "f").read_bytes() == b"new"


def test_a_directory_that_holds_something_is_not_removed_and_that_is_named(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    build(root, {b"d": folder()} | {b"d/f%d" % number: file(blobs, b"") for number in range(9)}, blobs)
    with pytest.raises(
        DirectoryNotEmptyError, match="cannot remove the directory /d: it holds f0, f1, f2, f3, f4, "
    ) as caught:
        files.remove(b"d", folder())
    assert caught.value.holding == (b"f0", b"f1", b"f2", b"f3", b"f4")


def test_a_file_in_the_way_is_named(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    build(root, {b"f": file(blobs, b"")}, blobs)
    with pytest.raises(NotDirectoryError, match=r"cannot reach .*: /f is not a directory"):
        files.prepare(b"f/x", file(blobs, b""), temp_of(b"f/x"))
    with pytest.raises(MissingDirectoryError, match="the directory /d does not exist"):
        files.prepare(b"d/e/x", file(blobs, b""), temp_of(b"d/e/x"))
    assert files.observe(b"f/x") is None
    assert files.observe(b"d/e/x") is None


def test_sockets_and_fifos_are_named_never_opened_and_never_replaced(
    files: LiveFiles, short_tmp: Path, blobs: Blobs
) -> None:
    files = files_at(short_tmp, blobs)
    os.mkfifo(short_tmp / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_tmp / "socket"))
        for name, what in ((b"fifo", "FIFO"), (b"socket", "socket")):
            with pytest.raises(SpecialFileError, match=f"it is a {what}"):
                files.observe(name)
            files.prepare(name, file(blobs, b"x"), temp_of(name))
            for expected in (None, file(blobs, b"x")):
                with pytest.raises(SpecialFileError):
                    files.commit_temp(name, temp_of(name), expected)
            files.discard(temp_of(name))
    assert stat.S_ISFIFO(os.lstat(short_tmp / "fifo").st_mode)


@needs_root
def test_a_device_is_named(files: LiveFiles, root: Path) -> None:
    os.mknod(root / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(SpecialFileError, match="character device"):
        files.observe(b"null")


@needs_root
def test_a_mount_point_is_named_and_left(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    old = file(blobs, b"old")
    build(root, {b"f": old, b"g": old, b"d": folder()}, blobs)
    with mounted(root / "f", "--bind", str(root / "g")), mounted(root / "d", "-t", "tmpfs", "-o", "mode=755", "none"):
        with pytest.raises(BusyError, match="mount point"):
            put(files, b"f", file(blobs, b"new"), old)
        with pytest.raises(BusyError, match="mount point"):
            files.remove(b"d", folder())
    assert (root / "f").read_bytes() == b"old"


@needs_root
def test_an_immutable_file_is_left_and_the_remedy_says_where_to_look(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    old = file(blobs, b"old")
    build(root, {b"f": old}, blobs)
    subprocess.run(["chattr", "+i", str(root / "f")], check=True)
    try:
        with pytest.raises(NotPermittedError, match=r"cannot write /f: not permitted; .*lsattr"):
            put(files, b"f", file(blobs, b"new"), old)
        with pytest.raises(NotPermittedError, match="cannot remove /f"):
            files.remove(b"f", old)
    finally:
        subprocess.run(["chattr", "-i", str(root / "f")], check=True)
    assert (root / "f").read_bytes() == b"old"


@needs_root
@pytest.mark.parametrize("limit", ["size=64k", "nr_inodes=4"])
def test_a_full_disk_is_found_before_anything_live_changes(root: Path, blobs: Blobs, limit: str) -> None:
    with mounted(root, "-t", "tmpfs", "-o", limit, "none"):
        old = file(blobs, b"old")
        build(root, {b"f": old}, blobs)
        files = files_at(root, blobs)
        files.prepare(b"f", file(blobs, b"n" * 30_000), temp_of(b"f", 0))
        files.prepare(b"f", file(blobs, b"n" * 20_000), temp_of(b"f", 1))
        with pytest.raises(NoSpaceError, match="no space left on its filesystem"):
            files.prepare(b"f", file(blobs, b"n" * 30_000), temp_of(b"f", 2))
        for number in range(8):
            files.discard(temp_of(b"f", number))
        assert scan(root) == plain({b"f": old})


@needs_root
def test_a_read_only_filesystem_is_named(root: Path, blobs: Blobs) -> None:
    with mounted(root, "-t", "tmpfs", "-o", "ro", "none"), pytest.raises(ReadOnlyError, match="mounted read-only"):
        files_at(root, blobs).prepare(b"f", file(blobs, b"x"), temp_of(b"f"))


def test_a_quota_is_said_to_be_one() -> None:
    error = from_os(OSError(errno.EDQUOT, "Disk quota exceeded"), b"f", "write", privileged=True)
    assert isinstance(error, NoSpaceError)
    assert "quota" in error.message
