"""What a tree, or whoever may write a managed directory, could try: nothing of it gets written, or written through."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.disk.file_errors import (
    AttributesError,
    ChangedError,
    ForbiddenEntryError,
    LinkInPathError,
    MissingDirectoryError,
    UnsafePathError,
)
from syncsrv.disk.files import LiveFiles
from syncsrv.plan.tree import Kind, Owner
from tests.disk.kit import (
    DAEMON_READS,
    DAEMON_WRITES,
    AtStep,
    Hook,
    files_at,
    needs_root,
    put,
    temp_of,
)
from tests.support.trees import Blobs, build, file, folder, link, scan


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755, 0o7777, 0o10644, -1])
def test_setuid_and_setgid_files_are_never_written(files: LiveFiles, root: Path, blobs: Blobs, mode: int) -> None:
    with pytest.raises(ForbiddenEntryError, match="cannot write /f"):
        files.prepare(b"f", file(blobs, b"x", mode), temp_of(b"f"))
    assert scan(root) == {}


def test_a_setgid_directory_is_carried_and_a_setuid_one_is_not(files: LiveFiles, root: Path) -> None:
    put(files, b"d", folder(0o2750))
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o2750
    with pytest.raises(ForbiddenEntryError, match="setuid"):
        files.set_metadata(b"d", folder(0o4755), folder(0o2750))


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as the kernel keeps it."""


@pytest.mark.parametrize(
    "attribute",
    [
        ("security.capability", CAPABILITY),
        ("security.selinux", b"x"),
        ("trusted.overlay.opaque", b"y"),
        ("system.posix_acl_default", DAEMON_WRITES),
        ("system.posix_acl_access", DAEMON_READS[:-8]),
        ("user.a\0b", b""),
        ("user.", b""),
        ("user.\ud800", b""),
    ],
)
def test_capabilities_and_labels_are_never_written(
    files: LiveFiles, root: Path, blobs: Blobs, attribute: tuple[str, bytes]
) -> None:
    with pytest.raises(ForbiddenEntryError, match=r"cannot write /f: .* attribute"):
        files.prepare(b"f", replace(file(blobs, b"x"), xattrs=(attribute,)), temp_of(b"f"))
    assert not (root / "f").exists()


def test_attributes_that_the_filesystem_has_no_room_for_are_not_taken_for_a_full_disk(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    for xattrs in ((("user." + "n" * 300, b""),), (("user.a", b"v" * 70_000),)):
        with pytest.raises(AttributesError, match="its filesystem has no room for it"):
            files.prepare(b"f", replace(file(blobs, b"x"), xattrs=xattrs), temp_of(b"f"))
        files.discard(temp_of(b"f"))
    assert scan(root) == {}


@needs_root
def test_what_this_node_had_is_put_back_as_it_was_even_setuid(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    ours = replace(file(blobs, b"x", 0o4755, Owner("daemon", 1)), xattrs=(("security.capability", CAPABILITY),))
    put(files, b"f", ours, restoring=True)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o4755
    assert os.getxattr(root / "f", "security.capability") == CAPABILITY
    assert files.is_now(b"f", ours)


@pytest.mark.parametrize("path", [b"../outside/x", b"/etc/x", b"a/../b", b"", b"a//b", b"a\0b", b"n" * 256, b"a/."])
def test_unsafe_paths_are_refused_by_every_method(files: LiveFiles, blobs: Blobs, path: bytes) -> None:
    entry = file(blobs, b"x")
    acts: list[Callable[[], object]] = [
        lambda: files.observe(path),
        lambda: files.prepare(path, entry, temp_of(b"x")),
        lambda: files.commit_temp(path, temp_of(b"x"), None),
        lambda: files.set_metadata(path, folder(), folder()),
        lambda: files.remove(path, entry),
    ]
    for act in acts:
        with pytest.raises(UnsafePathError):
            act()


@pytest.mark.parametrize(
    "temp", [b"f", b"etc/passwd", b".syncsrv-a/b-1.tmp", b"../.syncsrv-a-1.tmp", b".syncsrv-a-1.tmp/x"]
)
def test_only_our_own_names_are_taken_for_temporaries(files: LiveFiles, root: Path, blobs: Blobs, temp: bytes) -> None:
    build(root, {b"f": file(blobs, b"x")}, blobs)
    with pytest.raises(UnsafePathError):
        files.prepare(b"g", file(blobs, b"x"), temp)
    with pytest.raises(UnsafePathError):
        files.discard(temp)
    assert set(scan(root)) == {b"f"}


def _each_way_through(files: LiveFiles, blobs: Blobs) -> list[Callable[[], object]]:
    return [
        lambda: files.observe(b"d/sub/victim"),
        lambda: files.prepare(b"d/sub/victim", file(blobs, b"evil"), temp_of(b"d/sub/victim")),
        lambda: files.prepare(b"d/sub/l", link(blobs, b"evil"), temp_of(b"d/sub/l")),
        lambda: files.prepare(b"d/sub/d", folder(), temp_of(b"d/sub/d")),
        lambda: files.set_metadata(b"d/sub/victim", folder(), folder()),
        lambda: files.remove(b"d/sub/victim", file(blobs, b"untouched")),
    ]


@pytest.mark.parametrize(("component", "behind"), [("d", "outside"), ("d/sub", "../outside"), ("d", ".")])
def test_nothing_goes_through_a_link(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs, component: str, behind: str
) -> None:
    (outside / "sub").mkdir()
    (outside / "sub" / "victim").write_text("untouched")
    if component == "d/sub":
        (root / "d").mkdir()
    (root / component).symlink_to(outside if behind != "." else root)
    before = scan(root), scan(outside)
    for act in _each_way_through(files, blobs):
        with pytest.raises(LinkInPathError, match=f"/{component} is a link") as caught:
            act()
        assert caught.value.component == component.encode()
    files.discard(temp_of(b"d/sub/victim"))
    assert (scan(root), scan(outside)) == before


def test_a_directory_that_becomes_a_link_after_the_temporary_is_made(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs
) -> None:
    (root / "d").mkdir()
    files.prepare(b"d/victim", file(blobs, b"evil"), temp_of(b"d/victim"))
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to(outside)
    with pytest.raises(LinkInPathError):
        files.commit_temp(b"d/victim", temp_of(b"d/victim"), None)
    assert (outside / "victim").read_text() == "untouched"


def test_a_target_that_is_a_link_is_replaced_itself(files: LiveFiles, root: Path, outside: Path, blobs: Blobs) -> None:
    old = link(blobs, os.fsencode(outside / "victim"))
    build(root, {b"f": old}, blobs)
    put(files, b"f", file(blobs, b"new"), old)
    assert (outside / "victim").read_text() == "untouched"
    assert not (root / "f").is_symlink()


@pytest.mark.parametrize("kind", list(Kind))
def test_a_directory_swapped_for_a_link_at_any_step_never_leads_out(
    root: Path, outside: Path, blobs: Blobs, kind: Kind
) -> None:
    """Whoever may write a managed directory must not be able to aim our writes."""
    entry = {Kind.FILE: file(blobs, b"x"), Kind.LINK: link(blobs, b"x"), Kind.DIRECTORY: folder()}[kind]
    steps: list[str] = []
    before = scan(outside)
    (root / "d").mkdir()
    put(files_at(root, blobs, steps.append), b"d/victim", entry)
    for at in range(len(steps)):
        here = root / str(at)
        (here / "d").mkdir(parents=True)

        def swap(here: Path = here) -> None:
            (here / "d").rename(here / "kept")
            (here / "d").symlink_to(outside)

        with suppress(LinkInPathError):
            put(files_at(here, blobs, AtStep(at, swap)), b"d/victim", entry)
        assert (here / "d").is_symlink()
        assert scan(outside) == before, steps[at]


def test_a_directory_swapped_for_a_link_all_the_time_never_leads_out(root: Path, outside: Path, blobs: Blobs) -> None:
    """The same between our steps, wherever that is; each round wins or loses the race."""
    (root / "d").mkdir()
    (root / "l").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "d", root / "kept")
            os.rename(root / "l", root / "d")
            os.rename(root / "d", root / "l")
            os.rename(root / "kept", root / "d")
            for _ in range(200):
                os.lstat(root / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = {"written": 0, "refused": 0}
    files = files_at(root, blobs)
    try:
        for number in range(20_000):
            try:
                put(files, b"d/f%d" % number, file(blobs, b"x"), number=number)
                outcomes["written"] += 1
            except (LinkInPathError, MissingDirectoryError, ChangedError):
                outcomes["refused"] += 1
            if min(outcomes.values()) >= 10:
                break
    finally:
        stop.set()
        swapper.join()
    assert min(outcomes.values()) >= 10, outcomes
    assert set(scan(outside)) == {b"victim"}


def test_a_link_planted_under_the_name_of_the_temporary_is_not_written_through(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs
) -> None:
    for entry in (file(blobs, b"evil"), link(blobs, b"evil"), folder()):
        planted = root / os.fsdecode(temp_of(b"f"))
        planted.symlink_to(outside / "victim")
        with pytest.raises(ChangedError, match="something stands under the name of its temporary"):
            files.prepare(b"f", entry, temp_of(b"f"))
        planted.unlink()
    assert (outside / "victim").read_text() == "untouched"


@needs_root
@pytest.mark.parametrize("kind", [Kind.LINK, Kind.DIRECTORY])
def test_something_put_in_the_place_of_a_fresh_temporary_is_not_given_away(
    root: Path, outside: Path, blobs: Blobs, kind: Kind
) -> None:
    """In a directory that another user may write, a hard link could stand where our link was a moment ago."""
    fresh = root / os.fsdecode(temp_of(b"x"))

    def swap() -> None:
        if kind is Kind.LINK:
            fresh.unlink()
            os.link(outside / "victim", fresh)
        else:
            fresh.rmdir()
            fresh.mkdir()
            os.chown(fresh, 1, 1)

    files = files_at(root, blobs, Hook("temp.made", swap))
    entry = folder() if kind is Kind.DIRECTORY else link(blobs, b"y")
    with pytest.raises(ChangedError, match="temporary file was replaced"):
        files.prepare(b"x", replace(entry, user=Owner("daemon", 1)), temp_of(b"x"))
    assert (outside / "victim").stat().st_uid == 0


def test_a_temporary_that_was_replaced_is_not_put_in_place(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    files.prepare(b"f", file(blobs, b"ours"), temp_of(b"f"))
    theirs = root / "theirs"
    theirs.write_text("theirs")
    theirs.rename(root / os.fsdecode(temp_of(b"f")))
    with pytest.raises(ChangedError, match="temporary file was replaced"):
        files.commit_temp(b"f", temp_of(b"f"), None)
    (root / os.fsdecode(temp_of(b"f"))).unlink()
    with pytest.raises(ChangedError, match="temporary file was replaced"):
        files.commit_temp(b"f", temp_of(b"f"), None)
