"""syncfs(2): the call is made, and its errors are ours to see."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from syncsrv.disk.files import MANY, LiveFiles
from syncsrv.disk.observe import blob_id
from syncsrv.disk.operations import plan_operations
from syncsrv.disk.syncfs import sync_filesystem
from syncsrv.disk.write import write_all
from syncsrv.plan.tree import Entry, Kind, Owner


def test_a_directory_names_its_file_system_and_a_closed_descriptor_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    sync_filesystem(handle)
    os.close(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_filesystem(handle)


def test_many_files_are_synced_with_their_file_system_and_few_one_by_one(tmp_path: Path) -> None:
    for count, synced in ((MANY + 1, "filesystem.synced"), (2, "temp.synced")):
        root = tmp_path / str(count)
        root.mkdir()
        data = b"content\n"
        entry = Entry(Kind.FILE, 0o644, user(os.geteuid()), group(os.getegid()), blob_id(data))
        wanted = {b"file-%d" % number: entry for number in range(count)}
        steps: list[str] = []
        files = LiveFiles(root, {entry.blob: data}.__getitem__, checkpoint=steps.append)
        write_all(files, plan_operations({}, wanted, "job"), {}, wanted)
        assert sorted(os.listdir(root)) == sorted(os.fsdecode(path) for path in wanted)
        assert {"filesystem.synced", "temp.synced"} & set(steps) == {synced}
        assert steps.index(synced) < steps.index("temp.renamed"), "durable before the first live path changes"


def user(uid: int) -> Owner:
    return Owner(pwd.getpwuid(uid).pw_name, uid)


def group(gid: int) -> Owner:
    return Owner(grp.getgrgid(gid).gr_name, gid)
