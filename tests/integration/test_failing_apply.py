"""What stands in the way of an apply on the backup: told by name, and nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from tests.integration.faults import ended, equal, followed, running, sound, untouched
from tests.integration.pair import Node, Pair, listing
from tests.support.wait import until

MEBIBYTE = 1 << 20

Hook: TypeAlias = Callable[[str, str], None]
"""Name and text of a hook."""


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Pair]:
    with running() as pair:
        yield pair
        sound(pair.fw1, pair.fw2)


@pytest.fixture
def lab(running_lab: Pair) -> Iterator[Pair]:
    """The pair, as it was before afterwards: the next sync mends whatever the test has broken."""
    yield running_lab
    for node in (running_lab.fw1, running_lab.fw2):
        shutil.rmtree(node.file("/etc/proxy"))
    running_lab.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    equal(running_lab, "--force", "drift")


def refused(pair: Pair, *words: str, options: tuple[str, ...] = ()) -> None:
    """A sync that the backup refuses, forced or not."""
    with untouched(pair.fw2, new_tag=True):
        ended(pair.fw1.ask("sync", *options), *words)
        again = pair.fw1.ask("sync", *options, "--force", "drift", "--force", "lock-out", "--force", "commands")
        ended(again, *words)
    assert pair.fw2.status()["sync"]["state"] == "failed"


# -- links


def test_a_link_where_the_tag_has_a_directory_is_drift_and_is_replaced_not_followed(lab: Pair) -> None:
    fw1, fw2 = lab.fw1, lab.fw2
    fw1.write("/etc/proxy/sub/file", "one\n")
    lab.synced()
    elsewhere = fw2.root / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(fw2.file("/etc/proxy/sub"))
    fw2.file("/etc/proxy/sub").symlink_to(elsewhere)
    fw1.write("/etc/proxy/sub/file", "two\n")
    ended(fw1.ask("sync"), "/etc/proxy/sub", status=4, result="refused", guards=("drift",))
    lab.synced("--force", "drift")
    assert fw2.file("/etc/proxy/sub/file").read_text() == "two\n"
    assert not fw2.file("/etc/proxy/sub").is_symlink()
    assert list(elsewhere.iterdir()) == [], "the link was not followed"
    assert fw2.git("cat-file", "-p", "main~1:etc/proxy/sub") == str(elsewhere), "the history has the link"
    elsewhere.rmdir()


def test_a_link_above_an_area_is_never_followed(lab: Pair) -> None:
    fw1, fw2 = lab.fw1, lab.fw2
    fw2.file("/etc").rename(fw2.root / "real")
    fw2.file("/etc").symlink_to("real")
    fw1.write("/etc/proxy/main.conf", "listen 81\n")
    try:
        refused(lab, "/etc/proxy", "/etc on the way to it is a link, which is never followed")
        assert (fw2.root / "real/proxy/main.conf").read_text() != "listen 81\n"
    finally:
        fw2.file("/etc").unlink()
        (fw2.root / "real").rename(fw2.file("/etc"))


def test_targets_of_links_are_content(lab: Pair) -> None:
    targets = ["/etc/shadow", "../../../../../etc/passwd", "nowhere", "a\tb\n", "x" * 3000, os.fsdecode(b"\xff")]
    for number, target in enumerate(targets):
        lab.fw1.file(f"/etc/proxy/link{number}").symlink_to(target)
    lab.synced()
    assert [os.readlink(lab.fw2.file(f"/etc/proxy/link{number}")) for number in range(len(targets))] == targets


# -- what this node does not take


def test_a_setuid_file_is_refused(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/tool", "#!/bin/sh\n", mode=0o4755)
    refused(lab, "/etc/proxy/tool", "setuid", "take it off on the master")


def test_a_path_outside_allow_is_refused(lab: Pair) -> None:
    cluster = lab.fw1.etc / "cluster.yaml"
    before = cluster.read_text()
    cluster.write_text(before + "  data:\n    paths: [/srv/data]\n")
    lab.fw1.write("/srv/data/file", "x\n")
    try:
        refused(lab, "/srv/data", "node.yaml of this node allows /etc only")
        assert not lab.fw2.file("/srv").exists()
    finally:
        cluster.write_text(before)
        shutil.rmtree(lab.fw1.file("/srv"))


# -- what the history cannot hold


def bind(node: Node, path: str) -> None:
    """A socket; its address is too long for bind but by its folder."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(node.file(path).parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{here}/{node.file(path).name}")
        finally:
            os.close(here)


def sparse(node: Node, path: str, size: int) -> None:
    with node.file(path).open("wb") as file:
        file.truncate(size)


def left_out(node: Node) -> dict[str, str]:
    return {one["path"]: one["reason"] for one in node.status()["left_out"]}


def test_special_files_of_the_master_are_reported_and_not_opened(lab: Pair) -> None:
    os.mkfifo(lab.fw1.file("/etc/proxy/fifo"))  # who opens it waits for ever
    bind(lab.fw1, "/etc/proxy/socket")
    lab.fw1.write("/etc/proxy/beside", "x\n")
    assert lab.synced()["result"] == "done"
    assert left_out(lab.fw1) == {"/etc/proxy/fifo": "fifo", "/etc/proxy/socket": "socket"}
    assert sorted(os.listdir(lab.fw2.file("/etc/proxy"))) == ["beside", "main.conf"]


def test_a_file_over_the_limit_stops_the_sync_by_its_name(lab: Pair) -> None:
    sparse(lab.fw1, "/etc/proxy/dump", 100 * MEBIBYTE)
    lab.fw1.write("/etc/proxy/beside", "y\n")
    commit = lab.fw1.ask("commit")
    assert (commit.status, commit.data["error"]["code"]) == (1, "not-recorded")
    with untouched(lab.fw2):
        ended(lab.fw1.ask("sync"), "/etc/proxy/dump", str(100 * MEBIBYTE), "limit")
    assert lab.fw1.git("show", "main:etc/proxy/beside") == "y\n", "everything else is in the history"
    assert left_out(lab.fw1) == {"/etc/proxy/dump": "too-large"}


def test_what_the_backup_could_not_give_back_is_not_overwritten(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/mine", "a file\n")
    os.mkfifo(lab.fw2.file("/etc/proxy/mine"))
    refused(lab, "cannot write /etc/proxy/mine", "a FIFO")


def test_what_the_backup_could_not_give_back_is_not_deleted(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/main.conf", "listen 82\n")
    sparse(lab.fw2, "/etc/proxy/dump", 100 * MEBIBYTE)
    refused(lab, "/etc/proxy/dump", "cannot be saved before it goes")


def test_a_socket_beside_what_is_written_stays(lab: Pair) -> None:
    bind(lab.fw2, "/etc/proxy/socket")
    lab.fw1.write("/etc/proxy/main.conf", "listen 90\n")
    assert lab.synced()["result"] == "done"
    assert lab.fw2.file("/etc/proxy/socket").is_socket()


# -- what changes meanwhile


@pytest.fixture
def hook(lab: Pair) -> Iterator[Hook]:
    """Writes a hook of the backup; it is gone afterwards."""
    folder = lab.fw2.etc / "hooks"

    def write(name: str, text: str) -> None:
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    yield write
    shutil.rmtree(folder)


def test_what_somebody_edits_after_the_plan_is_not_overwritten(lab: Pair, hook: Hook) -> None:
    edited = lab.fw2.file("/etc/proxy/main.conf")
    hook("pre-apply", f"echo 'an urgent edit' > {edited}")
    lab.fw1.write("/etc/proxy/main.conf", "listen 92\n")
    ended(lab.fw1.ask("sync"), "cannot apply: /etc/proxy/main.conf changed on this node meanwhile")
    assert edited.read_text() == "an urgent edit\n"
    sync = lab.fw2.status()["sync"]
    assert sync["drift"] == ["/etc/proxy/main.conf"]
    assert lab.fw2.git("show", "main:etc/proxy/main.conf") == "an urgent edit\n"


def test_a_hook_that_refuses_is_told_in_its_own_words(lab: Pair, hook: Hook) -> None:
    hook("pre-apply", "echo not during the fair; exit 1")
    lab.fw1.write("/etc/proxy/main.conf", "listen 93\n")
    with untouched(lab.fw2, new_tag=True):
        ended(lab.fw1.ask("sync"), "pre-apply", "exited with 1", "not during the fair")


def test_what_a_hook_changes_afterwards_is_drift(lab: Pair, hook: Hook) -> None:
    hook("post-apply", f"echo 'by the hook' > {lab.fw2.file('/etc/proxy/main.conf')}; exit 3")
    lab.fw1.write("/etc/proxy/main.conf", "listen 94\n")
    found = lab.synced()
    assert "/etc/proxy/main.conf" in found["reason"]
    assert {step["name"]: step["result"] for step in found["steps"]}["post-apply hook"] == "warning"
    until(lambda: lab.fw2.status()["sync"]["state"] == "drifted", what="the drift to be seen")


# -- two at once


def test_two_syncs_at_once_both_end_properly(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/main.conf", "listen 91\n")
    jobs = [lab.fw1.do("sync", "--no-wait", "--reason", f"number {one}")["job"] for one in range(4)]
    jobs.append(lab.fw2.do("sync", "--no-wait")["job"])
    results = [followed(lab.fw1 if job in jobs[:4] else lab.fw2, job)["fw2"] for job in jobs]
    assert sorted(one["result"] for one in results) == ["done", *["unchanged"] * 4], [one["reason"] for one in results]
    assert listing(lab.fw1.root) == listing(lab.fw2.root)
