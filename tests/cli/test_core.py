"""``core`` as a unit of its own, and under who supervises it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsrv.cli.core import SUPERVISED
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


def test_by_itself_it_ends_at_sigterm_and_not_with_its_standard_input(
    node: Node, core: subprocess.Popen[bytes]
) -> None:
    assert core.stdin is not None
    core.stdin.close()
    assert node.ask("status").status == 0
    core.send_signal(signal.SIGHUP)
    until(lambda: "the configuration was read again" in node.log.read_text(), what="SIGHUP to be obeyed")
    core.terminate()
    assert core.wait(30) == 0
    assert not (node.home / "run/core.sock").exists()


def test_supervised_it_ends_with_who_supervises_it(node: Node) -> None:
    child = start(node, "core", **{SUPERVISED: "1"})
    until(lambda: node.ask("status").status == 0, 60, "core to answer")
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(30) == 0


def test_what_it_makes_is_its_owners_alone(node: Node, core: subprocess.Popen[bytes]) -> None:
    for path in [node.home / "run/core.sock", *node.state.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_core_is_refused(node: Node, core: subprocess.Popen[bytes]) -> None:
    second = node.ask("core")
    assert (second.status, second.data["error"]["code"]) == (2, "running")
    assert core.poll() is None


def test_systemd_is_told_how_it_does(node: Node, short_tmp: Path) -> None:
    with systemd(short_tmp) as told:
        core = start(node, "core", **told.environment)
        try:
            told.await_word("READY=1", 60)
            assert told.status == "STATUS=master fw1"
            assert node.ask("status").status == 0
            told.await_word("WATCHDOG=1")
            core.send_signal(signal.SIGHUP)
            told.await_word("RELOADING=1")
            told.await_word("READY=1")
            told.await_word("WATCHDOG=1")
            core.terminate()
            told.await_word("STOPPING=1")
            assert core.wait(30) == 0
        finally:
            core.kill()
            core.communicate()


def test_under_serve_it_leaves_systemd_to_serve(node: Node, short_tmp: Path) -> None:
    with systemd(short_tmp) as told:
        core = start(node, "core", **{SUPERVISED: "1"}, **told.environment)
        try:
            until(lambda: node.ask("status").status == 0, 60, "core to answer")
            assert told.heard("READY=1") == 0
        finally:
            core.kill()
            core.communicate()


def test_under_systemd_one_that_cannot_start_says_why_and_does_not_end_in_a_hurry(node: Node, short_tmp: Path) -> None:
    (node.state / "journal.json").write_text("{")
    with systemd(short_tmp) as told:
        core = start(node, "core", **told.environment)
        try:
            until(lambda: told.heard("READY=1") == 0 and "cannot start: cannot read the journal" in told.status, 60)
            assert core.poll() is None
            core.terminate()
            assert core.wait(4) == 1
        finally:
            core.kill()
            core.communicate()
