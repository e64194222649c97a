"""``serve``: starts core, door and web, starts again what ends, and takes all down with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import Node, make_node
from tests.support.wait import until


@pytest.fixture
def node(short_tmp: Path) -> Iterator[Node]:
    node = make_node(short_tmp, "fw1", "master")
    yield node
    node.kill()


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_what_ends_is_started_again_and_all_ends_with_serve(node: Node) -> None:
    node.start()
    (door,) = until(lambda: node.pids("door"), what="the door")
    os.kill(door, signal.SIGKILL)
    until(lambda: node.pids("door") not in ([], [door]), what="another door")
    (core,) = node.pids("core")
    os.kill(core, signal.SIGKILL)
    until(lambda: node.pids("core") not in ([], [core]), what="another core")
    node.await_up()
    assert f"serve: core ended with {-signal.SIGKILL}; it is started again" in node.log.read_text()
    second = node.ask("serve")
    assert (second.status, second.data["error"]["code"]) == (2, "running")
    until(lambda: node.pids("door"), what="a door for the new core")
    (web,) = until(lambda: node.pids("web"), what="web")
    os.kill(web, signal.SIGKILL)
    until(lambda: node.pids("web") not in ([], [web]), what="another web")
    children = [pid for word in ("core", "door", "web") for pid in node.pids(word)]
    assert node.stop() == 0
    assert gone(children)
    assert not (node.home / "run/core.sock").exists()


def test_sighup_reads_the_configuration_again_and_a_wrong_one_changes_nothing(node: Node) -> None:
    node.start()
    process = node.process
    assert process is not None
    text = (node.etc / "node.yaml").read_text()
    (node.etc / "node.yaml").write_text(text + "\nrole: [\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: "node.yaml" in node.log.read_text(), what="the complaint about it")
    assert node.ask("status").status == 0
    (node.etc / "node.yaml").write_text(text + "\ncommands: pinned\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: "the configuration was read again" in node.log.read_text(), what="the good one to be in force")
    assert node.stop() == 0


def test_when_serve_is_killed_all_end_by_themselves(node: Node) -> None:
    node.start()
    process = node.process
    assert process is not None
    until(lambda: node.pids("door") and node.pids("web"), what="door and web")
    children = [pid for word in ("core", "door", "web") for pid in node.pids(word)]
    process.kill()
    until(lambda: gone(children), 30, "core, door and web to end")


def test_told_to_end_while_core_starts_it_ends_as_told(node: Node) -> None:
    node.start(wait=False)
    until(lambda: node.pids("core"), what="core to be started")
    assert node.stop() == 0
    assert "did not start" not in node.log.read_text()


def test_a_core_that_cannot_start_ends_serve_with_its_status(node: Node) -> None:
    (node.state / "journal.json").write_text("{")
    node.start(wait=False)
    process = node.process
    assert process is not None
    assert process.wait(60) == 1
    log = node.log.read_text()
    assert "cannot read the journal" in log
    assert "serve: core ended with 1" in log
    assert "Traceback" not in log


def test_a_configuration_that_is_wrong_starts_nothing(node: Node) -> None:
    (node.etc / "cluster.yaml").write_text("cluster: edge\nareaz: {}\n")
    answer = node.ask("serve")
    assert answer.status == 2
    assert "areaz" in answer.text
    assert not (node.home / "run/core.sock").exists()
