"""``door`` as a unit of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import ENVIRONMENT, PROGRAM, Node, make_node
from tests.support.systemd import systemd
from tests.support.wait import until


@pytest.fixture
def node(short_tmp: Path) -> Node:
    return make_node(short_tmp, "fw1", "master")


def start(node: Node, word: str, **more: str) -> subprocess.Popen[bytes]:
    with node.log.open("ab") as log:
        return subprocess.Popen(
            [*PROGRAM, "--config", str(node.etc), word],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env={**ENVIRONMENT, **more},
        )  # fmt: skip


@pytest.fixture
def core(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    child = start(node, "core")
    until(lambda: node.ask("status").status == 0, 60, "core to answer")
    yield child
    child.kill()
    child.communicate()


def turned_away(port: int) -> bool:
    """Whether somebody takes our connection and ends it, since we are no peer; a socket of core alone lets it wait."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(0.2)
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


def test_the_door_as_a_unit_of_its_own_ends_when_core_does(node: Node, core: subprocess.Popen[bytes]) -> None:
    door = start(node, "door")
    try:
        until(lambda: turned_away(node.ssh), 30, "the door to take connections")
        assert door.poll() is None
        core.terminate()
        core.wait(30)
        assert door.wait(30) is not None
    finally:
        door.kill()
        door.communicate()


def test_a_door_without_a_core_says_so(node: Node) -> None:
    door = start(node, "door")
    assert door.wait(30) != 0
    door.communicate()
    said = node.log.read_text()
    assert "Traceback" not in said
    assert "cannot" in said


def test_under_systemd_it_waits_for_core_and_says_that_it_works(node: Node, short_tmp: Path) -> None:
    with systemd(short_tmp) as told:
        door = start(node, "door", **told.environment)
        core = None
        try:
            told.await_word("STATUS=waits for core")
            core = start(node, "core")
            told.await_word("READY=1", 60)
            until(lambda: turned_away(node.ssh), 30, "the door to take connections")
            told.await_word("WATCHDOG=1")
            core.kill()
            assert door.wait(30) == 0
        finally:
            for child in (door, core):
                if child is not None:
                    child.kill()
                    child.communicate()
