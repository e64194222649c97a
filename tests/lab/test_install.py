"""``syncsrv install`` on machines with a real systemd: what runs as whom, what comes back, which addresses never move.

One story on the pair: installed, looked at, ended in every way, upgraded, rebooted, removed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import edge
from tests.support.edge import VIP, VIP6, WAN_VIP, Edge, Firewall
from tests.support.testroot import TestRoot
from tests.support.wait import until

WORDS = ("core", "door", "web", "carp")
UNITS = tuple(f"syncsrv-{word}.service" for word in WORDS)
UNIT_FILES = (*(f"etc/systemd/system/{unit}" for unit in UNITS), "etc/systemd/system/syncsrv.target")
OTHERS = ("etc/sysusers.d/syncsrv.conf", "etc/tmpfiles.d/syncsrv.conf")
NET_ADMIN, NET_RAW, SYS_ADMIN = 1 << 12, 1 << 13, 1 << 21
BACK_S = 20.0
"""Seconds in which what ended must be back, on a machine that other tests share; it takes one or two."""

BEACON = """\
  beacon:
    manager: command
    start: [start-stop-daemon, --start, --background, -m, --pidfile, /run/beacon.pid, --exec, /bin/sleep, --, "100000"]
    stop: [start-stop-daemon, --stop, --pidfile, /run/beacon.pid]
    status: [start-stop-daemon, --status, --pidfile, /run/beacon.pid]
"""
"""A daemon that core itself starts."""

PAGE = """
import ssl, urllib.request
print(urllib.request.urlopen("https://127.0.0.1:8443/healthz", context=ssl._create_unverified_context()).read())
"""

Figure = Callable[[str, str], None]


@pytest.fixture(scope="module")
def installed(testroot: TestRoot, layer: Path) -> Iterator[Edge]:
    """The pair, put under systemd by the command under test."""
    with edge.unconfigured(testroot, [layer]) as found:
        edge.configure(found, edge.CLUSTER.replace("vips:\n", BEACON + "vips:\n") + edge.STATE_SYNC)
        for node in found.nodes:
            node.run("systemctl", "enable", "--now", "nftables", "nginx", "unbound")
            steps = node.do("install")["steps"]
            assert {f"start {UNITS[0]}", "make the users syncsrv-door and syncsrv-web"} <= set(steps)
        found.settle()
        yield found


def main_pid(node: Firewall, word: str) -> int:
    """0 where it has none."""
    return int(node.run("systemctl", "show", "-p", "MainPID", "--value", f"syncsrv-{word}").stdout)


def pids(node: Firewall) -> dict[str, int]:
    return {word: main_pid(node, word) for word in WORDS}


def active(node: Firewall) -> bool:
    return node.run("systemctl", "is-active", *UNITS, check=False).stdout == "active\n" * len(UNITS)


def is_back(node: Firewall, word: str, before: int) -> bool:
    return main_pid(node, word) not in (0, before) and active(node)


def page_answers(node: Firewall) -> bool:
    return "b'ok" in node.run("python3", "-c", PAGE, check=False).stdout


def holds(node: Firewall) -> bool:
    return {VIP, VIP6, WAN_VIP} <= node.addresses()


def of_carp(node: Firewall) -> Any:
    """What must stay as it is while others are restarted: its processes, and how often its state changed."""
    vips = node.status()["vips"]
    guardian = main_pid(node, "carp")
    children = node.run("cat", f"/proc/{guardian}/task/{guardian}/children").stdout.split()
    return guardian, children, [(vip["vhid"], vip["state"], vip["transitions"]) for vip in vips]


@pytest.fixture
def unmoved(installed: Edge) -> Iterator[None]:
    """Whatever a test does, each node keeps its process carp, its state and its addresses all the while."""
    before = [of_carp(node) for node in installed.nodes]
    assert holds(installed.fw1)
    yield
    assert holds(installed.fw1)
    assert not holds(installed.fw2)
    for node in installed.nodes:
        until(lambda: active(node) and node.states(), BACK_S, "all to be back")  # noqa: B023 - called at once
    assert [of_carp(node) for node in installed.nodes] == before


def failed(node: Firewall) -> int:
    """How often systemd called the end or the start of a unit a failure, in this boot."""
    return node.run("journalctl", "-b", "-o", "cat", *(word for unit in UNITS for word in ("-u", unit))).stdout.count(
        "Failed"
    )


def drop_in(node: Firewall, word: str, text: str) -> None:
    node.put(f"/etc/systemd/system/syncsrv-{word}.service.d/test.conf", f"[Service]\n{text}\n")
    node.run("systemctl", "daemon-reload")


def test_all_units_run_and_the_page_answers(installed: Edge) -> None:
    for node in installed.nodes:
        assert active(node)
        assert node.run("systemctl", "is-enabled", "syncsrv.target").stdout == "enabled\n"
        assert node.run("systemctl", "--failed", "--no-legend").stdout == ""
        until(lambda: page_answers(node), BACK_S, "the page")  # noqa: B023 - called at once
        assert node.run("systemd-analyze", "verify", *(f"/{path}" for path in UNIT_FILES)).stderr == ""
    assert installed.sync()["result"] in ("done", "unchanged")


def test_each_process_has_the_rights_that_it_needs(installed: Edge) -> None:
    node = installed.fw1
    found = {}
    for word, pid in pids(node).items():
        text = node.run("cat", f"/proc/{pid}/status").stdout
        status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", text))
        found[word] = (status["Uid"].split()[1], int(status["CapEff"], 16), int(status["CapBnd"], 16), status)
    for word in ("door", "web"):
        uid, effective, bounding, status = found[word]
        assert uid == node.run("id", "-u", f"syncsrv-{word}").stdout.strip() != "0"
        assert (effective, bounding, status["NoNewPrivs"]) == (0, 0, "1")
        root = f"/proc/{main_pid(node, word)}/root"
        there = node.run("find", root, "-maxdepth", "1", "-mindepth", "1", "-printf", "%f ").stdout.split()
        assert not {"root", "home", "var", "srv", "boot"} & set(there)
        assert node.run("ls", f"{root}/etc", f"{root}/run").stdout.split() == [
            *(f"{root}/etc:", "ld.so.cache", f"{root}/run:", "syncsrv", "systemd")
        ]
        for place in (root, f"{root}/run", f"{root}/dev/shm", f"{root}/opt/syncsrv", f"{root}/run/syncsrv"):
            assert "Read-only" in node.run("touch", f"{place}/x", check=False).stderr
    assert node.run("stat", "-c", "%n %a %U %G", "/run/syncsrv/door.sock", "/run/syncsrv/web.sock").stdout == (
        "/run/syncsrv/door.sock 660 root syncsrv-door\n/run/syncsrv/web.sock 660 root syncsrv-web\n"
    )
    assert found["core"][1] & SYS_ADMIN
    for process in (str(main_pid(node, "carp")), *node.run("pgrep", "-f", "syncsrv.failover.agent").stdout.split()):
        text = node.run("cat", f"/proc/{process}/status").stdout
        assert re.search(r"(?m)^CapEff:\s+0*3000$", text), text  # NET_ADMIN and NET_RAW
    until(lambda: node.status()["state_sync"]["word"] == "ready", BACK_S, "the connections to be synchronized")
    assert found["carp"][2] & (NET_ADMIN | NET_RAW | SYS_ADMIN) == NET_ADMIN | NET_RAW
    assert "timing: real-time" in node.journal("-u", "syncsrv-carp") or "best effort" in node.journal(
        "-u", "syncsrv-carp"
    )
    judged = dict(re.findall(r"syncsrv-(\w+)\.service\s+([\d.]+)", node.run("systemd-analyze", "security").stdout))
    assert float(judged["door"]) < 2
    assert float(judged["web"]) < 2
    assert float(judged["carp"]) < 6


@pytest.mark.usefixtures("unmoved")
def test_installing_again_changes_nothing(installed: Edge) -> None:
    for node in installed.nodes:
        before = pids(node)
        assert node.do("install") == {"dry_run": False, "removed": False, "steps": [], "remarks": []}
        assert pids(node) == before


@pytest.mark.usefixtures("unmoved")
def test_what_is_killed_is_back_and_no_address_moves(installed: Edge, figure: Figure) -> None:
    for name, word in (("fw1", "core"), ("fw1", "door"), ("fw1", "web"), ("fw2", "core")):
        node = installed.fw1 if name == "fw1" else installed.fw2
        before = main_pid(node, word)
        began_at = time.monotonic()
        node.run("kill", "-9", str(before))
        until(lambda: is_back(node, word, before), BACK_S, f"{word} to be back")  # noqa: B023 - called at once
        until(lambda: page_answers(node), BACK_S, "the page")  # noqa: B023 - the same
        figure(f"{name}: all is back after kill -9 of {word}, at most", f"{time.monotonic() - began_at:.2f} s")
    until(installed.hear_each_other, BACK_S, "the nodes to hear each other")


@pytest.mark.usefixtures("unmoved")
def test_restart_and_reload_of_core_move_no_address(installed: Edge, figure: Figure) -> None:
    node = installed.fw1
    node.do("services", "start", "beacon")
    beacon = node.run("cat", "/run/beacon.pid").stdout
    before = main_pid(node, "core")
    node.run("systemctl", "reload", "syncsrv-core")
    until(lambda: "the configuration was read again" in node.journal("-u", "syncsrv-core"), what="the reload")
    assert main_pid(node, "core") == before
    failures = failed(node)
    began_at = time.monotonic()
    node.run("systemctl", "restart", "syncsrv-core")
    until(lambda: is_back(node, "core", before), BACK_S, "core to be back")
    until(lambda: page_answers(node), BACK_S, "the page")
    figure("the page is back after a restart of core, at most", f"{time.monotonic() - began_at:.2f} s")
    assert failed(node) == failures
    assert node.run("cat", f"/proc/{beacon.strip()}/comm").stdout == "sleep\n"


@pytest.mark.usefixtures("unmoved")
def test_what_hangs_is_ended_by_the_watchdog_and_started_again(installed: Edge) -> None:
    node = installed.fw1
    words = ("web", "door", "core")
    for word in words:
        drop_in(node, word, "WatchdogSec=4s\nTimeoutAbortSec=1s")
    try:
        node.run("systemctl", "restart", "syncsrv-core")
        for word in words:
            until(lambda: active(node), BACK_S)
            before = main_pid(node, word)
            node.run("kill", "-STOP", str(before))
            until(lambda: is_back(node, word, before), 40, f"another {word}")  # noqa: B023 - called at once
            assert f"syncsrv-{word}.service: Watchdog timeout" in node.journal("-u", f"syncsrv-{word}")
    finally:
        for word in words:
            drop_in(node, word, "")
        node.run("systemctl", "restart", "syncsrv-core")


def test_a_guardian_that_hangs_is_ended_its_agent_hands_over_and_all_comes_back(installed: Edge) -> None:
    node = installed.fw1
    drop_in(node, "carp", "WatchdogSec=3s\nTimeoutAbortSec=1s")
    try:
        node.run("systemctl", "restart", "syncsrv-carp")
        installed.settle()
        before = main_pid(node, "carp")
        node.run("kill", "-STOP", str(before))
        until(installed.fw2.serves, 40, "fw2 to serve")
        assert "said farewell" in str([vip["reason"] for vip in installed.fw2.status()["vips"]])
        until(lambda: is_back(node, "carp", before), 40, "another guardian")
    finally:
        drop_in(node, "carp", "")
        node.run("systemctl", "restart", "syncsrv-carp")
    installed.settle()


@pytest.mark.usefixtures("unmoved")
def test_an_upgrade_restarts_all_but_carp_and_says_so(installed: Edge) -> None:
    node = installed.fw1
    before = pids(node)
    (record,) = (node.disk / "opt/syncsrv/lib/python3.11/site-packages").glob("syncsrv-*.dist-info/RECORD")
    with record.open("a") as file:
        file.write("syncsrv/other.py,sha256=0,0\n")
    told = node.do("install", "--dry-run")
    assert f"restart {UNITS[0]}, and with it {UNITS[1]} and {UNITS[2]}" in told["steps"]
    assert pids(node) == before
    told = node.do("install")
    after = pids(node)
    assert {word for word in WORDS if after[word] != before[word]} == {"core", "door", "web"}
    (remark,) = told["remarks"]
    assert "systemctl restart syncsrv-carp" in remark
    again = node.do("install")
    assert (again["steps"], again["remarks"]) == ([], [remark])
    assert pids(node) == after


@pytest.mark.usefixtures("unmoved")
def test_a_unit_that_was_changed_is_written_anew_and_only_that_is_restarted(installed: Edge) -> None:
    node = installed.fw2
    before = pids(node)
    text = node.get("/etc/systemd/system/syncsrv-web.service")
    node.put("/etc/systemd/system/syncsrv-web.service", text.replace("NoNewPrivileges=yes\n", ""))
    assert node.do("install")["steps"] == [f"write /etc/systemd/system/{UNITS[2]}"]
    assert node.get("/etc/systemd/system/syncsrv-web.service") == text
    node.run("systemctl", "stop", "syncsrv-web")
    assert node.do("install")["steps"] == [f"restart {UNITS[2]}"]
    after = pids(node)
    assert {word for word in WORDS if after[word] != before[word]} == {"web"}


@pytest.mark.usefixtures("unmoved")
def test_a_configuration_that_is_wrong_installs_nothing(installed: Edge) -> None:
    node = installed.fw2
    before = pids(node)
    text = node.get("/etc/syncsrv/node.yaml")
    node.put("/etc/syncsrv/node.yaml", text + "rolle: master\n")
    refused = node.run("syncsrv", "install", "--json", check=False)
    node.put("/etc/syncsrv/node.yaml", text)
    assert refused.returncode == 2
    assert "rolle" in json.loads(refused.stdout)["error"]["message"]
    assert pids(node) == before


@pytest.mark.usefixtures("unmoved")
def test_a_program_that_only_root_can_read_is_refused(installed: Edge) -> None:
    node = installed.fw2
    before = pids(node)
    node.run("cp", "-r", "/opt/syncsrv", "/root/copy")
    refused = node.run("/root/copy/bin/python3", "-m", "syncsrv", "install", "--json", check=False)
    assert refused.returncode == 1
    said = json.loads(refused.stdout)["error"]
    assert said["message"] == "cannot install /root/copy: the users of door and web may not look into /root"
    assert "/opt/syncsrv/bin/syncsrv install" in said["remedy"]
    assert pids(node) == before


def test_a_boot_brings_all_back(installed: Edge) -> None:
    node = installed.fw1
    node.run("systemctl", "restart", "syncsrv-carp")  # of the upgrade
    installed.settle()
    node.poweroff()
    until(installed.fw2.serves, what="fw2 to serve")
    assert "said farewell" in str([vip["reason"] for vip in installed.fw2.status()["vips"]])
    node.boot()
    until(lambda: active(node), BACK_S, "all units")
    installed.settle()
    assert node.do("install")["steps"] == []


def test_what_is_removed_moves_no_address_and_keeps_configuration_and_history(installed: Edge) -> None:
    node = installed.fw1
    carp = of_carp(node)
    told = node.do("install", "--remove")
    assert "goes on: this node is MASTER of 1@lan, 2@wan" in told["remarks"][0]
    assert [word for word, pid in pids(node).items() if pid] == ["carp"]
    assert main_pid(node, "carp") == carp[0]
    assert holds(node)
    assert not holds(installed.fw2)
    for path in ("etc/syncsrv/node.yaml", "var/lib/syncsrv/config.git/HEAD", "var/lib/syncsrv/carp/config.json"):
        assert (node.disk / path).exists()
    node.run("systemctl", "stop", "syncsrv-carp")
    until(installed.fw2.serves, what="fw2 to serve")
    assert node.run("pgrep", "-f", "syncsrv.failover|conntrackd", check=False).stdout == ""
    assert node.do("install", "--remove")["remarks"] == []
    assert not [path for path in (*UNIT_FILES, *OTHERS) if (node.disk / path).exists()]
    assert node.run("systemctl", "list-units", "--all", "--no-legend", "syncsrv*").stdout == ""
    assert node.do("install", "--remove")["steps"] == []


def test_beside_serve_it_is_refused(installed: Edge) -> None:
    node = installed.fw1
    node.run("systemd-run", "--unit=by-hand", "syncsrv", "serve")
    until(lambda: node.states(), BACK_S, "serve")
    refused = node.run("syncsrv", "install", "--json", check=False)
    assert refused.returncode == 1
    assert "`syncsrv serve` runs on this node" in json.loads(refused.stdout)["error"]["message"]
    node.run("systemctl", "stop", "by-hand")
    node.do("install")
    installed.settle()
