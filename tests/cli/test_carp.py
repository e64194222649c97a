"""``carp`` under serve, and as a unit of its own: when it runs, what it outlives, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pair import ENVIRONMENT, PROGRAM, Node, make_node
from tests.support.lab import VIP, Lab, lab
from tests.support.netns import needs_lab
from tests.support.systemd import systemd
from tests.support.wait import until

pytestmark = needs_lab

VIPS = "\nvips:\n  - {vhid: 1, interface: lan, addresses: [10.99.0.100/24], password: secret, advbase: 1}\n"


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab(["a"]) as made:
        yield made


@pytest.fixture
def node(net: Lab, short_tmp: Path) -> Iterator[Node]:
    """A node in the namespace of ``a``, with a virtual address."""
    node = make_node(short_tmp, "a", "master")
    node.prefix = tuple(net.spaces.prefix("a"))
    path = node.etc / "node.yaml"
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("interfaces:"))
    path.write_text(text + "\ninterfaces: {lan: eth0}\ncarp: {advskew: 0}\n")
    configure(node, VIPS)
    yield node
    node.kill()


def configure(node: Node, vips: str) -> None:
    (node.etc / "cluster.yaml").write_text(f"cluster: edge\nareas: {{}}\n{vips}")


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_it_outlives_core_and_a_new_serve_finds_it_gone(node: Node, net: Lab) -> None:
    node.start()
    until(net["a"].holds, what="the address")
    carps = node.pids("carp")
    assert len(carps) == 2  # guardian and agent
    (core,) = node.pids("core")
    os.kill(core, signal.SIGKILL)
    until(lambda: node.pids("core") not in ([], [core]), what="another core")
    node.await_up()
    assert node.pids("carp") == carps
    process = node.process
    assert process is not None
    process.kill()
    until(lambda: gone(carps), what="carp to end with serve")
    assert not net["a"].holds()
    assert "-> INIT: the carp process ends" in node.log.read_text()


def test_it_runs_before_core_does_and_ends_with_serve(node: Node, net: Lab) -> None:
    node.start()
    until(net["a"].holds, what="the address, so that there are settings")
    assert node.stop() == 0
    assert not net["a"].holds()
    (node.state / "journal.json").write_text("{")  # core does not start with that
    node.start(wait=False)
    process = node.process
    assert process is not None
    assert process.wait(60) == 1
    assert node.log.read_text().count("guarding 1 virtual addresses") == 2


def test_it_comes_and_goes_with_the_addresses(node: Node, net: Lab) -> None:
    configure(node, "")
    node.start()
    assert node.pids("carp") == []
    configure(node, VIPS)
    node.await_up()
    process = node.process
    assert process is not None
    process.send_signal(signal.SIGHUP)
    until(net["a"].holds, 20, what="the address")
    configure(node, "")
    process.send_signal(signal.SIGHUP)
    until(lambda: node.pids("carp") == [], what="carp to end")
    assert not net["a"].holds()
    assert "carp ended" not in node.log.read_text()


def test_as_a_unit_of_its_own_it_needs_no_core(node: Node, net: Lab) -> None:
    node.start()
    until(net["a"].holds, what="the address, so that there are settings")
    assert node.stop() == 0
    with node.log.open("ab") as log:
        unit = subprocess.Popen(
            [*node.prefix, *PROGRAM, "--config", str(node.etc), "carp"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT,
        )  # fmt: skip
    try:
        until(net["a"].holds, what="the address")
        assert Path(f"/proc/{unit.pid}/cmdline").read_bytes().endswith(b"\0carp\0")
        unit.terminate()
        assert unit.wait(10) == 0
        assert VIP not in net["a"].addresses()
    finally:
        unit.kill()
        unit.wait()


def test_under_systemd_it_waits_for_addresses_and_says_that_it_works(node: Node, net: Lab, short_tmp: Path) -> None:
    configure(node, "")
    with systemd(short_tmp) as told, node.log.open("ab") as log:
        core = subprocess.Popen(
            [*node.prefix, *PROGRAM, "--config", str(node.etc), "core"], stderr=log, env=ENVIRONMENT
        )
        unit = subprocess.Popen(
            [*node.prefix, *PROGRAM, "carp", "--state-dir", str(node.state), "--wait"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**ENVIRONMENT, **told.environment},
        )  # fmt: skip
        try:
            told.await_word("READY=1")
            assert told.status == "STATUS=waits: no virtual address is configured"
            told.await_word("WATCHDOG=1")
            until(node.is_up, 60, "core to answer")
            configure(node, VIPS)
            core.send_signal(signal.SIGHUP)
            told.await_word("READY=1")
            assert told.status.startswith("STATUS=guards the agent ")
            until(net["a"].holds, what="the address")
            told.await_word("WATCHDOG=1")
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{unit.pid}/environ").read_bytes()
            unit.terminate()
            told.await_word("STOPPING=1")
            assert unit.wait(10) == 0
        finally:
            for child in (unit, core):
                child.kill()
                child.wait()
