"""The sequence of an apply: contents first, one step at a time, stoppable, undone by who called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncsrv.disk.file_errors import ChangedError, LinkInPathError, UnknownOwnerError
from syncsrv.disk.files import LiveFiles
from syncsrv.disk.operations import plan_operations
from syncsrv.disk.undo import undo
from syncsrv.disk.write import write_all
from syncsrv.errors import SyncsrvError
from syncsrv.plan.tree import CLUSTER_PATH, Entry, Kind, Owner
from tests.disk.kit import JOB, Hook, files_at
from tests.support.trees import Blobs, build, file, folder, link, plain, scan


class AbortedError(SyncsrvError):
    """Somebody pressed Abort."""


def test_progress_counts_contents_and_paths_and_contents_come_first(tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a"), b"b": file(blobs, b"b")}
    wanted = {b"a": file(blobs, b"A"), b"c": folder()}
    build(tmp_path, pre, blobs)
    seen: list[tuple[int, int, int]] = []

    def progress(done: int, total: int) -> None:
        live = sum(plain(pre).get(path) == entry for path, entry in scan(tmp_path).items())
        seen.append((done, total, live))

    write_all(files_at(tmp_path, blobs), plan_operations(pre, wanted, JOB), pre, wanted, progress)
    assert seen == [(0, 5, 2), (1, 5, 2), (2, 5, 2), (3, 5, 1), (4, 5, 1), (5, 5, 0)]


def test_contents_are_durable_before_the_first_rename_and_names_before_it_returns(tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a"), b"b": file(blobs, b"b"), b"d": folder()}
    wanted = {b"a": file(blobs, b"A"), b"d": folder(), b"d/e": folder(), b"d/e/f": file(blobs, b"f")}
    build(tmp_path, pre, blobs)
    steps: list[str] = []
    write_all(files_at(tmp_path, blobs, steps.append), plan_operations(pre, wanted, JOB), pre, wanted)
    first = steps.index("temp.renamed")
    last = max(number for number, step in enumerate(steps) if step in {"temp.renamed", "path.removed"})
    assert [step for step in steps[:first] if step.endswith(".synced")] == ["temp.synced"] * 3 + [
        "directory.synced"
    ] * 2
    assert steps[last + 1 :] == ["directory.synced"] * 3
    assert "temp.synced" not in steps[first:]


def test_a_writer_forgets_the_job_before(tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a")}
    build(tmp_path, pre, blobs)
    files = files_at(tmp_path, blobs)
    bad = {b"a": file(blobs, b"A"), b"b": file(blobs, b"b", user=Owner("no-such-user", 7))}
    operations = plan_operations(pre, bad, "first")
    with pytest.raises(UnknownOwnerError):
        write_all(files, operations, pre, bad)
    assert undo(files_at(tmp_path, blobs), "first", operations, pre, bad).failed == ()
    good = {b"a": file(blobs, b"A")}
    write_all(files, plan_operations(pre, good, JOB), pre, good)
    assert scan(tmp_path) == plain(good)


@pytest.mark.parametrize("at", range(5))
def test_an_abort_at_any_step_is_undone(tmp_path: Path, blobs: Blobs, at: int) -> None:
    pre = {b"a": file(blobs, b"a"), b"b": file(blobs, b"b")}
    wanted = {b"a": file(blobs, b"A"), b"c": folder()}
    build(tmp_path, pre, blobs)
    operations = plan_operations(pre, wanted, JOB)

    def progress(done: int, total: int) -> None:
        if done == at:
            raise AbortedError("cannot go on")

    files = files_at(tmp_path, blobs)
    with pytest.raises(AbortedError):
        write_all(files, operations, pre, wanted, progress)
    assert undo(files, JOB, operations, pre, wanted).failed == ()
    assert scan(tmp_path) == plain(pre)


def test_a_change_during_the_apply_stops_it_and_survives_the_undo(tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a"), b"b": file(blobs, b"b"), b"c": file(blobs, b"c")}
    wanted = {path: file(blobs, b"new") for path in pre}
    build(tmp_path, pre, blobs)
    operations = plan_operations(pre, wanted, JOB)
    files = files_at(tmp_path, blobs, Hook("temp.renamed", lambda: (tmp_path / "b").write_bytes(b"a person's")))
    with pytest.raises(ChangedError, match=r"cannot write /b: it was changed during the apply \(its content changed\)"):
        write_all(files, operations, pre, wanted)
    report = undo(files, JOB, operations, pre, wanted)
    assert (report.restored, [one.path for one in report.edited], report.failed) == ((b"a",), [b"b"], ())
    assert {path: (tmp_path / os.fsdecode(path)).read_bytes() for path in pre} == {
        b"a": b"a",
        b"b": b"a person's",
        b"c": b"c",
    }
    assert scan(tmp_path).keys() == pre.keys()


def test_a_link_above_the_area_is_refused_before_anything_changes(tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "etc").symlink_to(tmp_path / "elsewhere")
    files = files_at(tmp_path / "root", blobs)
    wanted = {b"etc/nginx": folder(), b"etc/nginx/a": file(blobs, b"a")}
    missing = files.missing_parents(wanted)
    assert missing == []
    with pytest.raises(LinkInPathError, match="/etc is a link here"):
        write_all(files, plan_operations({}, wanted, JOB, missing), {}, wanted)
    assert scan(tmp_path / "elsewhere") == {}


def test_a_link_that_becomes_a_deep_directory(tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    pre = {b"x": link(blobs, b"../outside")}
    build(root, pre, blobs)
    wanted = {b"x": folder(), b"x/y": folder(), b"x/y/z": file(blobs, b"z")}
    files = files_at(root, blobs)
    write_all(files, plan_operations(pre, wanted, JOB, files.missing_parents(wanted)), pre, wanted)
    assert scan(root) == plain(wanted)
    assert scan(tmp_path / "outside") == {}


def test_an_unknown_owner_is_found_before_anything_changes(tmp_path: Path, blobs: Blobs) -> None:
    pre = {b"a": file(blobs, b"a")}
    wanted = {b"a": file(blobs, b"A"), b"b": file(blobs, b"b", user=Owner("no-such-user", 7))}
    build(tmp_path, pre, blobs)
    operations = plan_operations(pre, wanted, JOB)
    files = files_at(tmp_path, blobs)
    with pytest.raises(UnknownOwnerError):
        write_all(files, operations, pre, wanted)
    assert scan(tmp_path)[b"a"] == plain(pre)[b"a"]
    undo(files, JOB, operations, pre, wanted)
    assert scan(tmp_path) == plain(pre)


def test_cluster_yaml_goes_the_same_way(tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "root").mkdir()
    live = tmp_path / "etc" / "cluster.yaml"
    live.write_bytes(b"old")
    files = LiveFiles(tmp_path / "root", blobs.read, cluster_file=live)
    pre = {CLUSTER_PATH: Entry(Kind.FILE, 0o644, blob=blobs.put(b"old"))}
    wanted = {CLUSTER_PATH: Entry(Kind.FILE, 0o644, blob=blobs.put(b"new"))}
    operations = plan_operations(pre, wanted, JOB, files.missing_parents(wanted))
    write_all(files, operations, pre, wanted)
    assert live.read_bytes() == b"new"
    assert undo(files, JOB, operations, pre, wanted).restored == (CLUSTER_PATH,)
    assert live.read_bytes() == b"old"
    assert os.listdir(tmp_path / "etc") == ["cluster.yaml"]
