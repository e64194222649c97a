"""kill -9 in the middle: the disk is wholly the old or wholly the new afterwards, and status says which."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.integration.faults import equal, running, sound
from tests.integration.pair import ENVIRONMENT, PROGRAM, Node, Pair, listing
from tests.support.wait import until

COUNT, FOLDERS = 800, 20


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Pair]:
    with running(prepare=lambda pair: fill(pair.fw1, "first")) as pair:
        yield pair


@pytest.fixture
def lab(running_lab: Pair) -> Iterator[Pair]:
    """Two sound nodes that are equal, before and after."""
    yield running_lab
    for node in (running_lab.fw1, running_lab.fw2):
        sound(node)
        if node.ask("status").status == 0:
            node.stop()  # a new serve: the old one waits longer each time before it starts core again
        node.start()
    until(running_lab.reachable, deadline_s=20, what="the nodes to hear each other")
    equal(running_lab)


def path_of(number: int) -> str:
    """In the order in which an apply writes them."""
    per_folder = COUNT // FOLDERS
    return f"/etc/proxy/many/{number // per_folder:02}/{number % per_folder:03}"


def fill(node: Node, word: str) -> None:
    for number in range(COUNT):
        file = node.file(path_of(number))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{word} {number}\n")


def is_new(node: Node, number: int) -> bool:
    return node.file(path_of(number)).read_text().startswith("next")


def journal(node: Node) -> str:
    try:
        return (node.state / "journal.json").read_text()
    except FileNotFoundError:
        return ""


def prepared(node: Node) -> bool:
    return bool(journal(node))


def temporaries(node: Node) -> bool:
    return any(name.startswith(".syncsrv-") for name in os.listdir(node.file("/etc/proxy/many/00")))


def first(node: Node) -> bool:
    return is_new(node, 0)


def third(node: Node) -> bool:
    return is_new(node, COUNT // 3)


def last(node: Node) -> bool:
    return is_new(node, COUNT - 1)


def applied(node: Node) -> bool:
    return '"phase": "applied"' in journal(node)


def synchronizing(node: Node) -> subprocess.Popen[str]:
    argv = [*PROGRAM, "--config", str(node.etc), "sync", "--json"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def kill_core_when(node: Node, moment: Callable[[Node], bool]) -> None:
    """Polls without a pause: the moments are milliseconds long."""
    (core,) = node.pids("core")
    while not moment(node):
        pass
    os.kill(core, signal.SIGKILL)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("moment", [prepared, temporaries, first, third, last, applied])
def test_the_backups_core_in_the_middle_of_an_apply(lab: Pair, moment: Callable[[Node], bool]) -> None:
    fw1, fw2 = lab.fw1, lab.fw2
    fill(fw1, "next")
    fw1.do("commit")
    old, new, tag = listing(fw2.root), listing(fw1.root), fw2.status()["sync"]["applied_tag"]
    command = synchronizing(fw1)
    kill_core_when(fw2, moment)
    until(lambda: fw2.ask("status").status == 0, deadline_s=30, what="core to be there again")
    disk, sync = listing(fw2.root), fw2.status()["sync"]
    assert disk in (old, new), f"neither the old nor the new: {sync}"
    answer = json.loads(command.communicate(timeout=60)[0])
    result = answer["nodes"]["fw2"]
    if disk == new:
        assert (sync["state"], sync["applied_tag"]) == ("in_sync", answer["tag"])
        assert (command.returncode, result["result"]) == (0, "done")
    else:
        assert sync["applied_tag"] == tag
        assert sync["state"] == ("rolled_back" if moment in (first, third, last) else "failed")
        assert (command.returncode, result["result"]) == (1, "failed")
        assert "core ended" in result["reason"]
        assert (sync["reason"], sync["remedy"]) == (result["reason"], result["remedy"])
        assert result["remedy"]
    assert sync["last"]["job"] in fw2.git("log", "-1", "--format=%B", "refs/syncsrv/audit"), "there is a receipt"
    assert (disk == new) is (moment is applied)
    assert "after a crash" in fw2.log.read_text()


@pytest.mark.timeout(90)
def test_all_of_the_backup_as_by_a_power_cut(lab: Pair) -> None:
    fill(lab.fw1, "next")
    lab.fw1.do("commit")
    before = listing(lab.fw2.root)
    command = synchronizing(lab.fw1)
    while not third(lab.fw2):
        pass
    lab.fw2.kill()
    assert listing(lab.fw2.root) != before
    lab.fw2.start()
    assert listing(lab.fw2.root) == before
    assert lab.fw2.status()["sync"]["state"] == "rolled_back"
    command.communicate(timeout=60)


def test_the_masters_core_while_the_backup_applies(lab: Pair) -> None:
    fill(lab.fw1, "next")
    lab.fw1.do("commit")
    (core,) = lab.fw1.pids("core")
    command = synchronizing(lab.fw1)
    while not prepared(lab.fw2):
        pass
    os.kill(core, signal.SIGKILL)
    error = json.loads(command.communicate(timeout=60)[0])["error"]
    assert (command.returncode, error["code"]) == (1, "core-away")
    assert error["remedy"]
    until(lambda: lab.fw2.status()["sync"]["state"] == "in_sync", deadline_s=30, what="the backup to finish by itself")
    assert listing(lab.fw1.root) == listing(lab.fw2.root)
    until(lambda: lab.fw1.ask("status").status == 0, deadline_s=30, what="core to be there again")


def test_the_masters_core_while_it_commits_many_files(lab: Pair) -> None:
    head = lab.fw1.git("rev-parse", "main")
    packs = lab.fw1.repository / "objects" / "pack"
    before = set(packs.iterdir())
    (core,) = lab.fw1.pids("core")
    fill(lab.fw1, "next")
    argv = [*PROGRAM, "--config", str(lab.fw1.etc), "commit"]
    command = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    while set(packs.iterdir()) == before:
        pass
    os.kill(core, signal.SIGKILL)
    command.wait(60)
    lab.fw1.git("fsck", "--strict")
    until(lambda: lab.fw1.ask("status").status == 0, deadline_s=30, what="core to be there again")
    until(lambda: lab.fw1.git("rev-parse", "main") != head, deadline_s=30, what="the files to be committed")
    assert lab.fw1.git("show", f"main:{path_of(COUNT - 1)[1:]}") == f"next {COUNT - 1}\n"
    assert [path for path in packs.iterdir() if path.name.startswith("tmp_")] == []
