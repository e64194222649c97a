"""kill -9 in the middle: the disk is wholly the old or wholly the new afterwards, and status says which."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import pytest

from tests.integration.faults import ended, equal, running, sound
from tests.integration.pair import ENVIRONMENT, PROGRAM, Answer, Node, Pair, listing
from tests.support.wait import until

COUNT, FOLDERS = 800, 20

Moment: TypeAlias = Callable[[Node, str], bool]
"""Whether it has come on a node, to which a sync brings a word."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running(prepare=lambda pair: fill(pair.fw1, "the first")) as pair:
        yield pair


@pytest.fixture
def word(lab: Pair, request: pytest.FixtureRequest) -> Iterator[str]:
    """What the test writes into every file of the master; afterwards both nodes are sound and equal again."""
    new: str = request.node.name
    fill(lab.fw1, new)
    yield new
    for node in (lab.fw1, lab.fw2):
        sound(node)
    equal(lab)


def path_of(number: int) -> str:
    """In the order in which an apply writes them."""
    per_folder = COUNT // FOLDERS
    return f"/etc/proxy/many/{number // per_folder:02}/{number % per_folder:03}"


def fill(node: Node, word: str) -> None:
    for number in range(COUNT):
        file = node.file(path_of(number))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{word} {number}\n")


def is_new(node: Node, word: str, number: int) -> bool:
    return node.file(path_of(number)).read_text().startswith(word)


def journal(node: Node) -> str:
    try:
        return (node.state / "journal.json").read_text()
    except FileNotFoundError:
        return ""


def prepared(node: Node, word: str) -> bool:
    return bool(journal(node))


def temporaries(node: Node, word: str) -> bool:
    return any(name.startswith(".syncsrv-") for name in os.listdir(node.file("/etc/proxy/many/00")))


def first(node: Node, word: str) -> bool:
    return is_new(node, word, 0)


def third(node: Node, word: str) -> bool:
    return is_new(node, word, COUNT // 3)


def last(node: Node, word: str) -> bool:
    return is_new(node, word, COUNT - 1)


def applied(node: Node, word: str) -> bool:
    return '"applied"' in journal(node)


def synchronizing(node: Node) -> subprocess.Popen[str]:
    argv = [*PROGRAM, "--config", str(node.etc), "sync", "--json"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def kill_core_when(node: Node, moment: Callable[[], bool]) -> None:
    (core,) = node.pids("core")
    catch(moment)
    os.kill(core, signal.SIGKILL)


def catch(moment: Callable[[], bool], deadline_s: float = 40) -> None:
    """Asks without a pause: the moments are milliseconds long."""
    ends_at = time.monotonic() + deadline_s
    while not moment():
        assert time.monotonic() < ends_at, "the moment did not come"


@pytest.mark.timeout(90)
@pytest.mark.sample(2)
@pytest.mark.parametrize("moment", [prepared, temporaries, first, third, last, applied])
def test_the_backups_core_in_the_middle_of_an_apply(lab: Pair, word: str, moment: Moment) -> None:
    fw1, fw2 = lab.fw1, lab.fw2
    fw1.do("commit")
    old, new, tag = listing(fw2.root), listing(fw1.root), fw2.status()["sync"]["applied_tag"]
    command = synchronizing(fw1)
    kill_core_when(fw2, partial(moment, fw2, word))
    fw2.await_up()
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
    fw2.stop()  # a new serve: the old one would wait longer each time before it starts core again
    fw2.start()


def test_an_edit_in_the_middle_stops_the_apply_and_stays(lab: Pair, word: str) -> None:
    lab.fw1.do("commit")
    before = listing(lab.fw2.root)
    command = synchronizing(lab.fw1)
    catch(partial(temporaries, lab.fw2, word))
    edited = path_of(COUNT - 1)
    lab.fw2.write(edited, "an urgent edit\n")
    answer = json.loads(command.communicate(timeout=60)[0])
    ended(Answer(command.returncode, answer, ""), edited, "put back")
    assert listing(lab.fw2.root) == {**before, edited[1:]: ("file", 0o644, "an urgent edit\n")}
    sync = lab.fw2.status()["sync"]
    assert (sync["state"], sync["drift"]) == ("diverged", [edited]), "drifted, and the new is pending"
    lab.synced("--force", "drift")


@pytest.mark.timeout(90)
def test_all_of_the_backup_as_by_a_power_cut(lab: Pair, word: str) -> None:
    lab.fw1.do("commit")
    before = listing(lab.fw2.root)
    command = synchronizing(lab.fw1)
    catch(partial(third, lab.fw2, word))
    lab.fw2.kill()
    assert listing(lab.fw2.root) != before
    lab.fw2.start()
    assert listing(lab.fw2.root) == before
    assert lab.fw2.status()["sync"]["state"] == "rolled_back"
    command.communicate(timeout=60)


def test_the_masters_core_while_the_backup_applies(lab: Pair, word: str) -> None:
    lab.fw1.do("commit")
    (core,) = lab.fw1.pids("core")
    command = synchronizing(lab.fw1)
    catch(partial(prepared, lab.fw2, word))
    os.kill(core, signal.SIGKILL)
    error = json.loads(command.communicate(timeout=60)[0])["error"]
    assert (command.returncode, error["code"]) == (1, "core-away")
    assert error["remedy"]
    until(lambda: lab.fw2.status()["sync"]["state"] == "in_sync", deadline_s=30, what="the backup to finish by itself")
    assert listing(lab.fw1.root) == listing(lab.fw2.root)
    lab.fw1.await_up()


def test_the_masters_core_while_it_commits_many_files(lab: Pair) -> None:
    head, packs = lab.fw1.git("rev-parse", "main"), lab.fw1.repository / "objects" / "pack"
    before = set(packs.iterdir())
    fill(lab.fw1, "never committed before")
    argv = [*PROGRAM, "--config", str(lab.fw1.etc), "commit"]
    command = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    kill_core_when(lab.fw1, lambda: set(packs.iterdir()) != before)
    command.wait(60)
    lab.fw1.git("fsck", "--strict")
    lab.fw1.await_up()
    until(lambda: lab.fw1.git("rev-parse", "main") != head, deadline_s=30, what="the files to be committed")
    assert lab.fw1.git("show", f"main:{path_of(COUNT - 1)[1:]}") == f"never committed before {COUNT - 1}\n"
    assert [path for path in packs.iterdir() if path.name.startswith("tmp_")] == []
    sound(lab.fw1)
