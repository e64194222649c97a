"""A parent that has signals blocked hands that on to what it starts; ours end all the same when they are told to."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.failover.carpkit import CarpNode
from tests.integration.pair import ENVIRONMENT, PROGRAM, Node, make_node
from tests.support.lab import lab
from tests.support.netns import needs_lab
from tests.support.wait import until


@contextmanager
def sigterm_blocked() -> Iterator[None]:
    """As a parent of ours may have it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(node: Node, word: str) -> subprocess.Popen[bytes]:
    with node.log.open("ab") as log, sigterm_blocked():
        return subprocess.Popen(
            [*PROGRAM, "--config", str(node.etc), word],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
        )


def blocks(pid: int) -> int:
    """The signals that a process has blocked, as a mask."""
    (found,) = re.findall(r"(?m)^SigBlk:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())
    return int(found, 16)


@pytest.fixture
def node(short_tmp: Path) -> Node:
    return make_node(short_tmp, "fw1", "master")


def test_the_parts_started_apart_end_when_they_are_told_to(node: Node) -> None:
    children = [start(node, "core")]
    try:
        until(lambda: node.is_up(), 60, "core to answer")
        children += [start(node, "door"), start(node, "web")]
        until(lambda: not any(blocks(child.pid) for child in children), what="all to let signals through")
        for child in reversed(children):
            child.terminate()
            child.wait(30)
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_serve_ends_when_it_is_told_to(node: Node) -> None:
    with sigterm_blocked():
        node.start()
    try:
        assert node.stop() == 0
    finally:
        node.kill()


@needs_lab
def test_the_carp_process_ends_when_it_is_told_to(short_tmp: Path) -> None:
    with lab() as net:
        carp = CarpNode(net, "a", short_tmp)
        try:
            with sigterm_blocked():
                carp.start()
            assert blocks(carp.agent_pid) == 0
            carp.signal(signal.SIGTERM)
            assert carp.wait() == 0
        finally:
            carp.end()
