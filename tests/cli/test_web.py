"""``web`` as a unit of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import ENVIRONMENT, PROGRAM, Node, make_node
from tests.integration.visitor import page_up
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


def test_the_page_as_a_unit_of_its_own_ends_when_core_does(node: Node, core: subprocess.Popen[bytes]) -> None:
    web = start(node, "web")
    try:
        assert page_up(node).get("/login").status == 200
        assert web.poll() is None
        core.terminate()
        core.wait(30)
        assert web.wait(30) == 0
    finally:
        web.kill()
        web.communicate()


def test_a_page_without_a_core_says_so(node: Node) -> None:
    web = start(node, "web")
    assert web.wait(30) == 1
    web.communicate()
    said = node.log.read_text()
    assert "Traceback" not in said
    assert "cannot ask core at" in said
    assert "web.sock" in said


def test_under_systemd_it_waits_for_core_and_says_that_it_works(node: Node, short_tmp: Path) -> None:
    with systemd(short_tmp) as told:
        web = start(node, "web", **told.environment)
        core = None
        try:
            told.await_word("STATUS=waits for core")
            core = start(node, "core")
            told.await_word("READY=1", 60)
            assert told.status == f"STATUS=the page is at 127.0.0.1:{node.web}"
            assert page_up(node).get("/login").status == 200
            told.await_word("WATCHDOG=1")
            core.kill()
            assert web.wait(30) == 0
        finally:
            for child in (web, core):
                if child is not None:
                    child.kill()
                    child.communicate()
