"""Each end that agent and guardian can have, alone and together: nobody keeps an address, the peer serves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.failover.settings import FILE
from tests.failover.carpkit import QUICK, CarpNode, carp_nodes, serve, stop
from tests.support.lab import VIP, VIP6, Lab, lab
from tests.support.netns import needs_lab
from tests.support.wait import until

pytestmark = needs_lab


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def pair(net: Lab, short_tmp: Path) -> Iterator[tuple[CarpNode, CarpNode]]:
    with carp_nodes(net, short_tmp) as nodes:
        yield nodes


def gone(pid: int) -> bool:
    """Ended; a zombie of a process that the test itself stands for is as good."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_an_agent_that_is_killed_is_stood_in_for_within_100_ms(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    agent = a.agent_pid
    a.signal(signal.SIGKILL, agent)
    vip = b.await_state("MASTER")
    assert vip.reason == f"a ({a.node.address}) said farewell"
    pattern = r"was ended by SIGKILL; its guardian has (.+) in ([\d.]+) ms"
    ((done, took_ms),) = until(lambda: re.findall(pattern, a.text()), what="what the guardian did")
    assert done == "said farewell for vhid 1 on eth0, removed 10.99.0.100/24 from eth0, removed fd99::100/64 from eth0"
    assert float(took_ms) < 100
    a.await_report(lambda report: report.pid != agent and report.guardian_pid == a.pid)
    a.await_state("MASTER")  # begins as BACKUP, and takes over from the worse one as one that is well
    assert "vhid 1 on eth0: BACKUP -> MASTER: advskew 10 is better than 20 of b" in a.text()
    b.await_state("BACKUP")


@pytest.mark.parametrize("advbase", [0, 1])
def test_an_agent_that_hangs_is_killed_after_the_time_that_a_peer_would_wait(
    net: Lab, short_tmp: Path, advbase: int
) -> None:
    with carp_nodes(net, short_tmp, vips=(replace(QUICK, advbase=advbase),)) as nodes:
        a, b = serve(nodes)
        agent = a.agent_pid
        stop([agent])
        b.await_state("MASTER")
        until(lambda: "it is killed" in a.text(), what="the guardian's patience to end")
        (said,) = re.findall(r"the agent was silent for ([\d.]+) s; it is killed", a.text())
        assert float(said) >= (0.5, 3.0)[advbase]
        until(lambda: a.lab.holders() == {"b"}, what="b to be the only holder")
        a.await_report(lambda report: report.pid != agent)


def test_with_both_stopped_the_kernel_removes_the_addresses_and_they_do_not_come_back(
    pair: tuple[CarpNode, CarpNode],
) -> None:
    a, b = serve(pair)
    agent = a.agent_pid
    stop([a.pid, agent])
    b.await_state("MASTER")
    until(lambda: a.lab.holders() == {"b"} and a.lab.holders(VIP6) == {"b"}, 9, what="the lifetime to end")
    b.apply(replace(b.settings, advskew=5))  # else the one that comes back takes over again, as it should
    a.signal(signal.SIGCONT)
    a.signal(signal.SIGCONT, agent)
    a.await_state("BACKUP")
    assert not a.node.holds()
    assert "put back" not in a.text()
    assert a.agent_pid == agent  # a guardian that was stopped itself does not blame its agent


def test_told_to_end_it_hands_over_first(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    agent = a.agent_pid
    a.signal(signal.SIGTERM)
    assert a.wait() == 0
    assert gone(agent)
    assert b.await_state("MASTER").reason == f"a ({a.node.address}) said farewell"
    assert a.lab.holders() == {"b"}
    assert f"MASTER -> INIT: the carp process ends; b ({b.node.address}) took over" in a.text()
    assert "its guardian has" not in a.text()


def test_it_ends_with_whoever_started_it(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    assert a.process is not None
    assert a.process.stdin is not None
    a.process.stdin.close()
    assert a.wait() == 0
    assert b.await_state("MASTER").reason == f"a ({a.node.address}) said farewell"
    assert a.lab.holders() == {"b"}


def test_an_agent_whose_guardian_is_killed_hands_over_and_ends(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    agent = a.agent_pid
    a.signal(signal.SIGKILL)
    until(lambda: gone(agent), what="the agent to end")
    assert b.await_state("MASTER").reason == f"a ({a.node.address}) said farewell"
    assert a.lab.holders() == {"b"}


def test_nothing_to_serve_is_no_failure(pair: tuple[CarpNode, CarpNode]) -> None:
    a, b = serve(pair)
    a.apply(replace(a.settings, vips=()))
    assert a.wait() == 0
    b.await_state("MASTER")
    assert a.lab.holders() == {"b"}
    assert a.start().wait() == 0
    assert "there is nothing to do" in a.text()


def test_sighup_means_nothing_to_it(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    a.start().await_state("MASTER")
    agent = a.agent_pid
    a.signal(signal.SIGHUP)
    a.signal(signal.SIGHUP, agent)
    assert a.await_state("MASTER").transitions == 2
    assert a.agent_pid == agent


def test_an_agent_that_cannot_start_is_tried_again_and_again(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    a.start().await_state("MASTER")
    (a.state_dir / FILE).write_text("{}")
    a.signal(signal.SIGKILL, a.agent_pid)
    until(lambda: a.text().count("cannot use the failover settings: format: is missing") > 1, what="two tries")
    assert a.node.addresses() & {VIP, VIP6} == set()
    a.write(a.settings)
    a.await_state("MASTER")
    a.signal(signal.SIGTERM)
    assert a.wait() == 0


def test_two_guardians_of_one_node_are_one_too_many(pair: tuple[CarpNode, CarpNode]) -> None:
    a, _ = pair
    a.start().await_state("MASTER")
    argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(a.state_dir), "carp"]
    done = a.lab.spaces.run("a", argv)
    assert done.returncode == 2
    assert "cannot start carp: another one holds" in done.stderr
    assert a.await_state("MASTER").transitions == 2


def test_settings_that_are_wrong_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "carp").mkdir()
    (tmp_path / FILE).write_text('{"format": 1}')
    argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(tmp_path), "carp"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot use the failover settings: node: is missing; `syncsrv check` says" in done.stderr


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        (["--reuid=65534", "--clear-groups"], "it does not run as root"),
        (["--bounding-set=-net_raw", "--inh-caps=-all"], "CAP_NET_RAW is missing"),
        (["--bounding-set=-net_raw,-net_admin"], "CAP_NET_ADMIN and CAP_NET_RAW are missing"),
    ],
)
def test_without_the_rights_for_it_it_says_so(short_tmp: Path, net: Lab, prefix: list[str], why: str) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    with carp_nodes(net, short_tmp) as (a, _):
        a.write(a.settings)
        for path in (short_tmp, a.state_dir, a.state_dir / "carp", a.state_dir / FILE):
            os.chmod(path, 0o755)
        argv = [sys.executable, "-Es", "-m", "syncsrv.failover.guardian", "--state-dir", str(a.state_dir), "carp"]
        done = subprocess.run([setpriv, *prefix, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot guard virtual addresses: {why}; start it as root" in done.stderr
    assert "Traceback" not in done.stderr
