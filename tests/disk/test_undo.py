"""What an undo does beyond the plain case: people who edit meanwhile, full disks, a damaged store."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.disk.file_errors import DirectoryNotEmptyError, FileError, NoSpaceError, NotPermittedError
from syncsrv.disk.operations import plan_operations
from syncsrv.disk.undo import UndoReport, undo
from syncsrv.disk.write import write_all
from syncsrv.errors import DamagedError
from syncsrv.plan.tree import Entry, Owner
from tests.disk.kit import DAEMON_READS, DAEMON_WRITES, JOB, AtStep, Hook, files_at, mounted, needs_root
from tests.support.trees import Blobs, build, file, folder, link, plain, scan


class Killed(BaseException):
    """Stands for the end of the process."""


def die() -> None:
    raise Killed


class Run:
    """One apply and its undo."""

    def __init__(self, root: Path, blobs: Blobs, pre: dict[bytes, Entry], wanted: dict[bytes, Entry]) -> None:
        self.root, self.blobs, self.pre, self.wanted = root, blobs, pre, wanted
        build(root, pre, blobs)
        missing = files_at(root, blobs).missing_parents(wanted)
        self.operations = plan_operations(pre, wanted, JOB, missing)

    def write(self) -> Run:
        write_all(files_at(self.root, self.blobs), self.operations, self.pre, self.wanted)
        return self

    def undo(self) -> UndoReport:
        return undo(files_at(self.root, self.blobs), JOB, self.operations, self.pre, self.wanted)


def test_a_file_that_somebody_edited_after_the_apply_is_left_and_told(root: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"old a"), b"b": file(blobs, b"old b")}
    run = Run(
        root, blobs, pre, {b"a": file(blobs, b"new a"), b"b": file(blobs, b"new b"), b"c": file(blobs, b"c")}
    ).write()
    (root / "a").write_bytes(b"a person's")
    (root / "c").chmod(0o600)
    report = run.undo()
    assert {one.path: one.how for one in report.edited} == {b"a": "its content changed", b"c": "it has appeared"}
    assert (report.restored, report.failed) == ((b"b",), ())
    assert (root / "a").read_bytes() == b"a person's"
    assert (root / "b").read_bytes() == b"old b"
    assert (root / "c").exists()
    assert run.undo().restored == ()


def test_a_file_that_was_deleted_or_made_meanwhile_is_left_so(root: Path, blobs: Blobs) -> None:
    pre = {b"edited": file(blobs, b"old"), b"removed": file(blobs, b"gone")}
    run = Run(root, blobs, pre, {b"edited": file(blobs, b"new")}).write()
    (root / "edited").unlink()
    (root / "removed").write_bytes(b"made anew")
    report = run.undo()
    assert {one.path: one.how for one in report.edited} == {b"edited": "it has gone", b"removed": "its content changed"}
    assert scan(root).keys() == {b"removed"}


def test_a_new_directory_in_which_somebody_works_stays_with_their_file(root: Path, blobs: Blobs) -> None:
    run = Run(root, blobs, {}, {b"d": folder(), b"d/ours": file(blobs, b"x")}).write()
    (root / "d" / "theirs").write_text("y")
    report = run.undo()
    assert [(one.path, one.how) for one in report.edited] == [
        (b"d", "cannot remove the directory /d: it holds theirs, which is not under management")
    ]
    assert report.failed == ()
    assert scan(root).keys() == {b"d", b"d/theirs"}


def test_a_file_that_cannot_come_back_because_its_place_is_a_busy_directory(root: Path, blobs: Blobs) -> None:
    run = Run(root, blobs, {b"x": file(blobs, b"was")}, {b"x": folder(), b"x/ours": file(blobs, b"o")}).write()
    (root / "x" / "theirs").write_text("y")
    report = run.undo()
    assert [one.path for one in report.edited] == [b"x"]
    assert scan(root).keys() == {b"x", b"x/theirs"}


def test_what_was_below_a_path_that_somebody_took_is_told_one_by_one(root: Path, blobs: Blobs) -> None:
    pre = {b"d": folder(), b"d/a": file(blobs, b"a"), b"z": file(blobs, b"z")}
    run = Run(root, blobs, pre, {b"d": file(blobs, b"a file"), b"z": file(blobs, b"zz")}).write()
    (root / "d").write_bytes(b"a person's")
    report = run.undo()
    assert [one.path for one in report.edited] == [b"d", b"d/a"]
    assert report.restored == (b"z",)
    assert (root / "d").read_bytes() == b"a person's"


def test_a_directory_that_became_a_link_is_not_followed(root: Path, tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"d": folder(), b"d/victim": file(blobs, b"old"), b"d/gone": file(blobs, b"gone")}
    run = Run(
        root, blobs, pre, {b"d": folder(), b"d/victim": file(blobs, b"new"), b"d/fresh": file(blobs, b"f")}
    ).write()
    outside = tmp_path / "outside"
    (root / "d").rename(outside)
    (root / "d").symlink_to(outside)
    before = scan(outside)
    report = run.undo()
    assert {one.path for one in report.edited} == {b"d/victim", b"d/gone"}
    assert scan(outside) == before


def test_a_fifo_in_the_place_is_left(root: Path, blobs: Blobs) -> None:
    run = Run(root, blobs, {b"f": file(blobs, b"old")}, {b"f": file(blobs, b"new")}).write()
    (root / "f").unlink()
    os.mkfifo(root / "f")
    assert [(one.path, one.how) for one in run.undo().edited] == [(b"f", "it is a FIFO now")]


def test_an_edit_while_the_undo_runs_is_left(root: Path, blobs: Blobs) -> None:
    run = Run(root, blobs, {b"f": file(blobs, b"old")}, {b"f": file(blobs, b"new")}).write()
    files = files_at(root, blobs, Hook("temp.made", lambda: (root / "f").write_bytes(b"theirs")))
    report = undo(files, JOB, run.operations, run.pre, run.wanted)
    assert [(one.path, one.how) for one in report.edited] == [(b"f", "its content changed")]
    assert (root / "f").read_bytes() == b"theirs"
    assert scan(root).keys() == {b"f"}, "no temporary stays"


def test_parents_of_an_area_that_were_made_go_again_unless_somebody_uses_them(root: Path, blobs: Blobs) -> None:
    wanted = {b"srv/app/conf": folder(), b"srv/app/conf/f": file(blobs, b"x")}
    run = Run(root, blobs, {}, wanted).write()
    assert scan(root).keys() == {b"srv", b"srv/app", b"srv/app/conf", b"srv/app/conf/f"}
    report = run.undo()
    assert (report.edited, report.failed) == ((), ())
    assert scan(root) == {}
    run.write()
    (root / "srv" / "app" / "theirs").write_text("x")
    assert [one.path for one in run.undo().edited] == [b"srv", b"srv/app"]
    assert scan(root).keys() == {b"srv", b"srv/app", b"srv/app/theirs"}


def test_one_damaged_content_does_not_keep_the_others_from_coming_back(root: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"old a"), b"b": file(blobs, b"old b")}
    run = Run(root, blobs, pre, {b"a": file(blobs, b"new a"), b"b": file(blobs, b"new b")}).write()
    kept = blobs[pre[b"a"].blob]
    blobs[pre[b"a"].blob] = b"rotten"
    report = run.undo()
    assert [type(error) for error in report.failed] == [DamagedError]
    assert report.restored == (b"b",)
    assert (root / "a").read_bytes() == b"new a"
    blobs[pre[b"a"].blob] = kept
    assert run.undo() == UndoReport((b"a",), (), ())
    assert scan(root) == plain(pre)


@needs_root
def test_a_disk_that_fills_up_before_the_undo_is_an_error_that_the_next_one_mends(root: Path, blobs: Blobs) -> None:
    with mounted(root, "-t", "tmpfs", "-o", "size=128k,mode=755", "none"):
        pre = {b"f": file(blobs, b"o" * 50_000), b"g": file(blobs, b"small")}
        run = Run(root, blobs, pre, {b"f": file(blobs, b"n"), b"g": file(blobs, b"n")}).write()
        (root / "filler").write_bytes(b"x" * 100_000)
        report = run.undo()
        assert [type(error) for error in report.failed] == [NoSpaceError]
        assert report.restored == (b"g",)
        assert (root / "f").read_bytes() == b"n"
        (root / "filler").unlink()
        assert run.undo() == UndoReport((b"f",), (), ())
        assert scan(root) == plain(pre)


@needs_root
def test_a_full_disk_while_applying_leaves_the_pre_image_after_the_undo(root: Path, blobs: Blobs) -> None:
    with mounted(root, "-t", "tmpfs", "-o", "size=256k,mode=755", "none"):
        pre = {b"f": file(blobs, b"o" * 50_000), b"x": file(blobs, b"x")}
        wanted = {b"f": file(blobs, b"n" * 50_000), b"g": folder(), b"g/big": file(blobs, b"b" * 300_000)}
        run = Run(root, blobs, pre, wanted)
        with pytest.raises(NoSpaceError):
            run.write()
        assert scan(root).items() >= plain(pre).items(), "nothing live has changed"
        assert run.undo().failed == ()
        assert scan(root) == plain(pre)


@needs_root
def test_an_immutable_file_stops_the_apply_and_is_undone(root: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a"), b"b": file(blobs, b"b"), b"c": file(blobs, b"c")}
    run = Run(root, blobs, pre, {b"a": file(blobs, b"A"), b"b": file(blobs, b"B"), b"c": file(blobs, b"C")})
    subprocess.run(["chattr", "+i", str(root / "b")], check=True)
    try:
        with pytest.raises(NotPermittedError, match="cannot write /b"):
            run.write()
        assert (root / "a").read_bytes() == b"A"
        assert run.undo() == UndoReport((b"a",), (), ())
    finally:
        subprocess.run(["chattr", "-i", str(root / "b")], check=True)
    assert scan(root) == plain(pre)


@needs_root
def test_a_mount_point_inside_a_directory_that_goes_is_found_and_what_went_before_comes_back(
    root: Path, blobs: Blobs
) -> None:
    pre = {b"d": folder(), b"d/m": folder(), b"e": file(blobs, b"e")}
    run = Run(root, blobs, pre, {})
    with mounted(root / "d" / "m", "-t", "tmpfs", "-o", "mode=755", "none"):
        (root / "d" / "m" / "in").write_text("x")
        run.pre = {**pre, b"d/m/in": file(blobs, b"x")}
        run.operations = plan_operations(run.pre, {}, JOB)
        with pytest.raises(FileError, match="cannot remove /d/m: it is a mount point"):
            run.write()
        assert not (root / "d" / "m" / "in").exists()
        assert run.undo().failed == ()
        assert scan(root) == plain(run.pre)


def test_a_setuid_file_of_this_node_comes_back_setuid(root: Path, blobs: Blobs) -> None:
    pre = {b"tool": file(blobs, b"x", 0o4755)}
    run = Run(root, blobs, pre, {}).write()
    assert run.undo() == UndoReport((b"tool",), (), ())
    assert scan(root) == plain(pre)


@needs_root
def test_a_file_whose_owner_was_deleted_meanwhile_comes_back_with_the_number(root: Path, blobs: Blobs) -> None:
    read_then = Owner("left-the-company", 23456)
    pre = {b"f": file(blobs, b"old", user=read_then), b"g": file(blobs, b"same", user=read_then)}
    run = Run(root, blobs, pre, {b"f": file(blobs, b"new"), b"g": file(blobs, b"same", 0o600)}).write()
    assert run.undo() == UndoReport((b"f", b"g"), (), ())
    assert scan(root) == plain(pre)
    assert run.undo() == UndoReport((), (), ())


def test_a_directory_half_changed_in_its_attributes_is_put_back(root: Path, blobs: Blobs) -> None:
    acls = (("system.posix_acl_access", DAEMON_WRITES), ("system.posix_acl_default", DAEMON_READS))
    pre = {b"d": replace(folder(0o775), xattrs=(*acls, ("user.a", b"1"), ("user.b", b"1")))}
    owner = Owner("", 12345) if os.geteuid() == 0 else Owner("", os.geteuid())
    wanted = {b"d": replace(folder(0o2750, owner), xattrs=(("user.a", b"2"), ("user.c", b"1")))}
    for before, after in ((pre, wanted), (wanted, pre)):
        for entry in before.values():
            steps: list[str] = []
            run = Run(_fresh(root), blobs, {b"d": entry}, {b"d": after[b"d"]})
            write_all(files_at(run.root, blobs, steps.append), run.operations, run.pre, run.wanted)
            assert scan(run.root) == plain(run.wanted)
        for at in range(len(steps)):
            run = Run(_fresh(root), blobs, before, after)
            with suppress(Killed):
                write_all(files_at(run.root, blobs, AtStep(at, die)), run.operations, before, after)
            report = run.undo()
            assert (report.edited, report.failed) == ((), ()), steps[at]
            assert scan(run.root) == plain(before), steps[at]


def _fresh(root: Path) -> Path:
    path = root / str(len(os.listdir(root)))
    path.mkdir()
    return path


def test_a_directory_that_a_person_changed_keeps_their_mode(root: Path, blobs: Blobs) -> None:
    run = Run(root, blobs, {b"d": folder(0o755)}, {b"d": folder(0o700)}).write()
    (root / "d").chmod(0o711)
    assert [(one.path, one.how) for one in run.undo().edited] == [(b"d", "its mode is 0711, not 0755")]


def test_links_come_back_as_links(root: Path, blobs: Blobs) -> None:
    pre = {b"l": link(blobs, b"/etc/shadow"), b"m": link(blobs, b"a")}
    run = Run(root, blobs, pre, {b"l": link(blobs, b"b")}).write()
    assert run.undo().failed == ()
    assert scan(root) == plain(pre)


def test_nothing_written_is_nothing_undone(root: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a"), b"d": folder()}
    run = Run(root, blobs, pre, {b"a": file(blobs, b"b")})
    assert run.undo() == UndoReport((), (), ())
    assert scan(root) == plain(pre)


def test_an_excluded_file_in_a_directory_that_goes_stops_the_apply_and_is_kept(root: Path, blobs: Blobs) -> None:
    pre = {b"d": folder(), b"d/managed": file(blobs, b"x")}
    run = Run(root, blobs, pre, {})
    (root / "d" / "excluded.bak").write_text("y")
    with pytest.raises(DirectoryNotEmptyError, match=r"it holds excluded\.bak"):
        run.write()
    assert run.undo().failed == ()
    (root / "d" / "excluded.bak").unlink()
    assert scan(root) == plain(pre)
