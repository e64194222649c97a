"""The one writer of managed files: exact, atomic, never through a link, never over somebody else's work."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.disk.file_errors import (
    ChangedError,
    FileError,
    ForbiddenEntryError,
    NotPermittedError,
    UnknownOwnerError,
    UnsafePathError,
)
from syncsrv.disk.files import LiveFiles
from syncsrv.errors import DamagedError
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from tests.disk.kit import (
    DAEMON_READS,
    DAEMON_WRITES,
    as_another_user,
    files_at,
    needs_root,
    put,
    temp_of,
)
from tests.support.trees import ME, MY_GROUP, Blobs, build, file, folder, link, plain, scan


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
