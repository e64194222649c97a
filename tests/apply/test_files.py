"""The one writer of managed files: exact, atomic, never through a link, never over somebody else's work."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.file_errors import (
    AttributesError,
    BusyError,
    ChangedError,
    DirectoryNotEmptyError,
    FileError,
    ForbiddenEntryError,
    LinkInPathError,
    MissingDirectoryError,
    NoSpaceError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
    SpecialFileError,
    UnknownOwnerError,
    UnsafePathError,
    from_os,
)
from syncsrv.apply.files import LiveFiles
from syncsrv.errors import DamagedError
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from tests.apply.kit import (
    DAEMON_READS,
    DAEMON_WRITES,
    AtStep,
    Hook,
    as_another_user,
    files_at,
    mounted,
    needs_root,
    put,
    temp_of,
)
from tests.support.trees import ME, MY_GROUP, Blobs, build, file, folder, link, plain, scan


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no write may reach."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "victim").write_text("untouched")
    return path


@pytest.fixture
def files(root: Path, blobs: Blobs) -> LiveFiles:
    return files_at(root, blobs)


# -- exactly what the entry says


@pytest.mark.parametrize("mode", [0o644, 0o600, pytest.param(0o000, marks=needs_root), 0o777, 0o1644])
def test_a_file_gets_its_content_and_mode_whatever_the_umask(
    files: LiveFiles, root: Path, blobs: Blobs, mode: int
) -> None:
    entry = file(blobs, b"content" * 100_000, mode)
    before = os.umask(0o777)
    try:
        put(files, b"f", entry)
    finally:
        os.umask(before)
    assert scan(root) == plain({b"f": entry})


@needs_root
def test_owners_are_found_by_name_and_by_number_where_there_is_no_name(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    put(files, b"f", file(blobs, b"x", user=Owner("daemon", 4711), group=Owner("", 54321)))
    put(files, b"d", folder(0o750, Owner("", 12345), Owner("daemon", 4711)))
    put(files, b"l", replace(link(blobs, b"f"), user=Owner("daemon", 4711), group=Owner("daemon", 4711)))
    status = {name: os.lstat(root / name) for name in "fdl"}
    assert [(status[name].st_uid, status[name].st_gid) for name in "fdl"] == [(1, 54321), (12345, 1), (1, 1)]
    assert files.observe(b"f") == file(blobs, b"x", user=Owner("daemon", 1), group=Owner("", 54321))


@pytest.mark.parametrize("target", [b"/etc/shadow", b"../../../outside/victim", b"nowhere", b"\xff\n", b"x" * 4095])
def test_a_link_is_carried_as_it_is_and_what_it_names_is_left_alone(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs, target: bytes
) -> None:
    before = os.lstat(outside / "victim")
    put(files, b"l", link(blobs, target))
    assert os.readlink(os.fsencode(root / "l")) == target
    assert files.observe(b"l") == files.as_here(b"l", link(blobs, target))
    assert os.lstat(outside / "victim") == before


@needs_root
def test_the_owner_of_a_link_is_not_given_to_what_it_points_to(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs
) -> None:
    put(files, b"l", replace(link(blobs, os.fsencode(outside / "victim")), user=Owner("daemon", 1)))
    assert os.lstat(root / "l").st_uid == 1
    assert (outside / "victim").stat().st_uid == 0


@pytest.mark.parametrize("target", [b"", b"a\0b", b"x" * 4096])
def test_a_link_that_no_filesystem_can_hold_is_refused(
    files: LiveFiles, root: Path, blobs: Blobs, target: bytes
) -> None:
    with pytest.raises(ForbiddenEntryError, match=r"cannot write /l: .* target"):
        files.prepare(b"l", link(blobs, target), temp_of(b"l"))
    assert scan(root) == {}


def test_attributes_are_set_exactly(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    first = replace(file(blobs, b"x", 0o400), xattrs=(("user.a", b"1"), ("user.b", b"\0")))
    put(files, b"f", first)
    assert files.is_now(b"f", first)
    second = replace(first, xattrs=(("user.b", b"2"),))
    put(files, b"f", second, first)
    assert scan(root)[b"f"].xattrs == (("user.b", b"2"),)
    directory = replace(folder(), xattrs=(("user.a", b"1"),))
    put(files, b"d", directory)
    files.set_metadata(b"d", replace(directory, xattrs=(("user.c", b""),)), directory)
    assert scan(root)[b"d"].xattrs == (("user.c", b""),)


def test_acls_are_carried_and_those_of_the_directory_are_not_inherited(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    os.setxattr(root, "system.posix_acl_default", DAEMON_WRITES)
    put(files, b"plain", file(blobs, b"x", 0o640))
    assert scan(root)[b"plain"] == plain({b"plain": file(blobs, b"x", 0o640)})[b"plain"]
    put(files, b"sub", folder(0o700))
    assert scan(root)[b"sub"] == plain({b"sub": folder(0o700)})[b"sub"]
    shared = replace(file(blobs, b"x", 0o640), xattrs=(("system.posix_acl_access", DAEMON_READS),))
    put(files, b"shared", shared)
    assert scan(root)[b"shared"] == plain({b"shared": shared})[b"shared"]
    both = (("system.posix_acl_access", DAEMON_WRITES), ("system.posix_acl_default", DAEMON_WRITES))
    open_to_daemon = replace(folder(0o775), xattrs=both)
    files.set_metadata(b"sub", open_to_daemon, folder(0o700))
    assert scan(root)[b"sub"] == plain({b"sub": open_to_daemon})[b"sub"]
    files.set_metadata(b"sub", folder(0o711), open_to_daemon)
    assert scan(root)[b"sub"] == plain({b"sub": folder(0o711)})[b"sub"]


@needs_root
def test_a_setgid_directory_above_gives_nothing_to_what_is_made_in_it(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    os.chown(root, 0, 12345)
    root.chmod(0o2775)
    wanted = {b"f": file(blobs, b"x"), b"d": folder(0o755), b"l": link(blobs, b"f")}
    for path, entry in wanted.items():
        put(files, path, entry)
    assert scan(root) == plain(wanted)


def test_names_are_bytes(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    names = [b"\xff\xfe", b"a\nb", b" ", b"-rf", b"*", b"n" * 255, "ä".encode(), b"%41", b"..."]
    for name in names:
        put(files, name, file(blobs, name))
    assert set(scan(root)) == set(names)
    assert all(files.is_now(name, file(blobs, name)) for name in names)


def test_a_hard_link_is_broken_and_its_other_name_keeps_the_old_content(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    build(root, {b"f": file(blobs, b"old")}, blobs)
    os.link(root / "f", root / "other")
    put(files, b"f", file(blobs, b"new"), file(blobs, b"old"))
    assert ((root / "f").read_bytes(), (root / "other").read_bytes()) == (b"new", b"old")


def test_a_reader_of_the_old_file_goes_on_reading_it_whole(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    build(root, {b"f": file(blobs, b"old")}, blobs)
    with (root / "f").open("rb") as stream:
        put(files, b"f", file(blobs, b"new"), file(blobs, b"old"))
        assert stream.read() == b"old"


def test_a_content_that_the_store_does_not_give_back_is_not_written(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    entry = file(blobs, b"true")
    blobs[entry.blob] = b"false"
    with pytest.raises(DamagedError, match=r"cannot write /f: its content .* is damaged"):
        files.prepare(b"f", entry, temp_of(b"f"))
    assert scan(root) == {}


# -- what is never written


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


# -- links in the way


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


# -- changed meanwhile


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


# -- what else can stand there


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


# -- without privilege


def test_another_users_file_cannot_be_made_without_root(short_tmp: Path, blobs: Blobs) -> None:
    short_tmp.chmod(0o777)
    files = files_at(short_tmp, blobs)
    entry = file(blobs, b"x", user=Owner("", 4711))
    said = as_another_user(lambda: files_at(short_tmp, blobs).prepare(b"f", entry, temp_of(b"f")))
    assert said == (
        "NotPermittedError: cannot write /f: not permitted; run syncsrv as root, or manage only files that belong to "
        "its own user"
    )
    files.discard(temp_of(b"f"))


def test_our_own_files_need_no_root(short_tmp: Path, blobs: Blobs) -> None:
    short_tmp.chmod(0o777)

    def act() -> None:
        files = files_at(short_tmp, blobs)
        us = Owner("", os.geteuid())
        ours = replace(file(blobs, b"x", 0o440, us, Owner("", os.getegid())), xattrs=(("user.a", b"1"),))
        put(files, b"f", ours)
        put(files, b"f", replace(ours, mode=0o400), ours)
        files.remove(b"f", replace(ours, mode=0o400))

    assert as_another_user(act) == "done"


def test_an_unreadable_file_is_named(short_tmp: Path, blobs: Blobs) -> None:
    (short_tmp / "f").write_text("x")
    (short_tmp / "f").chmod(0)
    short_tmp.chmod(0o755)
    if os.geteuid() == 0:
        said = as_another_user(lambda: files_at(short_tmp, blobs).observe(b"f"))
        assert said.startswith("NotPermittedError: cannot read /f: not permitted")
    else:
        with pytest.raises(NotPermittedError):
            files_at(short_tmp, blobs).observe(b"f")


def test_an_owner_that_this_node_lacks_is_named_before_a_temporary_is_made(
    files: LiveFiles, root: Path, blobs: Blobs
) -> None:
    for entry, said in (
        (file(blobs, b"x", user=Owner("no-such-user", 0)), "the user no-such-user, which does not exist"),
        (file(blobs, b"x", group=Owner("no-such-group", 0)), "the group no-such-group, which does not exist"),
    ):
        with pytest.raises(UnknownOwnerError, match=said):
            files.prepare(b"f", entry, temp_of(b"f"))
    assert scan(root) == {}


# -- cluster.yaml


def test_cluster_yaml_lives_in_the_configuration_directory_with_the_mode_it_has_there(
    root: Path, tmp_path: Path, blobs: Blobs
) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "cluster.yaml").write_bytes(b"old")
    (etc / "cluster.yaml").chmod(0o640)
    files = LiveFiles(root, blobs.read, cluster_file=etc / "cluster.yaml")
    old = Entry(Kind.FILE, 0o644, blob=blobs.put(b"old"))
    assert files.observe(CLUSTER_PATH) == old
    new = Entry(Kind.FILE, 0o600, Owner("no-such-user", 5), blob=blobs.put(b"new"))
    put(files, CLUSTER_PATH, new, old)
    assert (etc / "cluster.yaml").read_bytes() == b"new"
    assert stat.S_IMODE((etc / "cluster.yaml").stat().st_mode) == 0o640
    assert files.is_now(CLUSTER_PATH, new)
    assert scan(root) == {}
    assert os.listdir(etc) == ["cluster.yaml"]
    files.remove(CLUSTER_PATH, new)
    assert files.observe(CLUSTER_PATH) is None
    put(files, CLUSTER_PATH, new)
    assert stat.S_IMODE((etc / "cluster.yaml").stat().st_mode) == 0o644


def test_cluster_yaml_is_not_touched_where_no_place_is_given(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    with pytest.raises(UnsafePathError, match=r"cluster\.yaml is not written here"):
        put(files, CLUSTER_PATH, file(blobs, b"x"))
    with pytest.raises(ForbiddenEntryError, match="can only be a file"):
        LiveFiles(root, blobs.read, cluster_file=root / "c").prepare(
            CLUSTER_PATH, link(blobs, b"x"), temp_of(CLUSTER_PATH)
        )


# -- parents


def test_missing_parents_are_found_parents_first_and_not_behind_links(
    files: LiveFiles, root: Path, outside: Path, blobs: Blobs
) -> None:
    (root / "a").mkdir()
    (root / "l").symlink_to(outside)
    build(root, {b"f": file(blobs, b"")}, blobs)
    assert files.missing_parents([b"a/b/c/x", b"a/y", b"l/z/x", b"f/g/x", CLUSTER_PATH]) == [b"a/b", b"a/b/c", b"f/g"]
    assert files.parent_entry() == files.as_here(b"a", folder())


def test_every_error_names_its_path(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    with pytest.raises(FileError) as caught:
        files.remove(b"bin\xff\x1b[2J", file(blobs, b""))
    assert caught.value.path == b"bin\xff\x1b[2J"
    assert "/bin\\xff\\x1b[2J" in caught.value.message
    assert caught.value.message.isprintable()


def test_after_begin_nothing_of_an_earlier_job_is_left_in_memory(files: LiveFiles, root: Path, blobs: Blobs) -> None:
    files.prepare(b"f", file(blobs, b"x"), temp_of(b"f"))
    (root / os.fsdecode(temp_of(b"f"))).unlink()
    files.begin()
    files.settle()
    with pytest.raises(ChangedError, match="temporary file was replaced"):
        files.commit_temp(b"f", temp_of(b"f"), None)


def test_we_are_who_the_tests_think() -> None:
    assert (ME.number, MY_GROUP.number) == (os.geteuid(), os.getegid())
