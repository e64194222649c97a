"""Synchronize and restart all, by the page and many times over: in order, read back, and nothing of it stays behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import Figure
from tests.support import edge
from tests.support.browsing import Browser
from tests.support.edge import Edge, Firewall
from tests.support.testroot import TestRoot
from tests.support.wait import until

SITE = "/etc/nginx/sites-available/default"
PORTAL = 'server {{ listen 80 default_server; location / {{ return 200 "portal {}\\n"; }} }}\n'
UNITS = ("nftables", "unbound", "nginx")
"""As they come one after the other."""
FETCH = "import urllib.request; print(urllib.request.urlopen('http://10.1.0.2/', timeout=5).read().decode())"

OURS = ["carp 1", "carp 2", "core 1", "door 1", "statesync 1", "web 1"]
"""``carp`` are the guardian and the agent."""
MAY_GROW_KIB = {"carp": 64, "statesync": 512, "web": 512, "door": 1024, "core": 6 * 1024}
"""In forty cycles. core remembers what it read of the history, and its last 200 jobs: it grows until both are full."""

LOOK = """
import json, os
found = {}
for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
    try:
        argv = open(f"/proc/{pid}/cmdline").read().rstrip("\\0").split("\\0")
    except OSError:  # it ended
        continue
    if argv[-1] not in ("core", "door", "web", "carp", "statesync"):
        continue
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    name, number = argv[-1], 1
    while f"{name} {number}" in found:
        number += 1
    found[f"{name} {number}"] = [pid, len(os.listdir(f"/proc/{pid}/fd")), int(status["RssAnon"].split()[0])]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ordered(testroot: TestRoot, layer: Path) -> Iterator[Edge]:
    """The pair, whose services come one after the other."""
    cluster = edge.CLUSTER + edge.STATE_SYNC
    for later, before in zip(UNITS[1:], UNITS, strict=False):
        unit = f"unit: {later}.service"
        assert unit in cluster
        cluster = cluster.replace(unit, f"{unit}, after: [{before}]")
    rules = "health: {exec: [nft, list, chain, ip, nat, post]}"  # without one it is looked at for two seconds
    cluster = cluster.replace("unit: nftables.service", f"unit: nftables.service, {rules}")
    with edge.running(testroot, [layer], cluster) as pair:
        assert pair.sync()["result"] == "unchanged"
        yield pair


@dataclass(frozen=True, slots=True)
class Used:
    """What one process of ours holds."""

    pid: int
    descriptors: int
    memory_kib: int


def used(node: Firewall) -> dict[str, Used]:
    """By process: the last word of its command, and which one of these it is."""

    def look() -> dict[str, Used]:
        found = {name: Used(*one) for name, one in json.loads(node.run("python3", "-c", LOOK).stdout).items()}
        return found if sorted(found) == OURS else {}  # what core has just forked is not yet another program

    return until(look, what=f"the processes of {node.name}")


def write_site(node: Firewall, text: str) -> None:
    node.put(SITE, PORTAL.format(text))
    node.do("commit")


def pids(node: Firewall) -> dict[str, str]:
    """Of the services; that of nftables, which leaves no process, is when it was started."""
    found = {}
    for unit in UNITS:
        shown = node.run("systemctl", "show", "-p", "MainPID,ActiveEnterTimestampMonotonic", unit).stdout
        found[unit] = " ".join(line.partition("=")[2] for line in shown.splitlines())
    return found


def test_the_page_synchronizes_and_restarts_all_in_their_order(ordered: Edge) -> None:
    fw1, fw2 = ordered.nodes
    before, here = pids(fw2), pids(fw1)
    write_site(fw1, "by the page")
    browser = Browser.of_admin(fw1)
    job = browser.job(browser.open("/changes"), "Synchronize and restart all on fw2")
    assert "Done: Write 1 path on disk" in job.text
    said = [job.text.index(f"Done: Restart {unit}") for unit in UNITS]
    assert said == sorted(said)
    after = pids(fw2)
    assert not set(before.items()) & set(after.items())
    started = [int(after[unit].split()[-1]) for unit in UNITS]
    assert started == sorted(started)
    assert pids(fw1) == here, "the master's own are its operator's to restart"
    assert ordered.spaces.python("client", FETCH).strip() == "portal by the page"
    assert fw2.get(SITE) == fw1.get(SITE)
    for node in ordered.nodes:
        assert Browser.of_admin(node).open("/services").text.count("last: restart done") == len(UNITS)


def test_a_plain_button_moves_no_configuration(ordered: Edge) -> None:
    fw1, fw2 = ordered.nodes
    ordered.sync()
    served = ordered.spaces.python("client", FETCH)
    write_site(fw1, "that waits")
    until(lambda: fw1.status()["sync"]["state"] == "changes_pending", what="the change to be seen")
    main, tag = fw2.status()["head"], fw2.status()["sync"]["applied_tag"]
    file = (fw2.disk / SITE.lstrip("/")).stat()
    browser = Browser.of_admin(fw1)
    for ask, label, done, restarted in (
        ("restart:nginx:fw2", "Restart nginx on fw2", ["Restart nginx"], ["nginx"]),
        ("reload:nginx:fw2", "Reload nginx on fw2", ["Reload nginx"], []),
        ("restart-all::fw2", "Restart all services on fw2", [f"Restart {unit}" for unit in UNITS], [*UNITS]),
    ):
        before = pids(fw2)
        job = browser.job(browser.open(f"/services?ask={ask}"), label)
        after = pids(fw2)
        assert re.findall(r"Done: (\w+ \w+)", job.text) == done
        assert [unit for unit in UNITS if before[unit] != after[unit]] == restarted
    assert (fw2.status()["head"], fw2.status()["sync"]["applied_tag"]) == (main, tag)
    now = (fw2.disk / SITE.lstrip("/")).stat()
    assert (now.st_ino, now.st_ctime_ns) == (file.st_ino, file.st_ctime_ns)
    assert ordered.spaces.python("client", FETCH) == served
    assert fw1.status()["sync"]["state"] == "changes_pending"


def cycle(pair: Edge, number: int) -> dict[str, Used]:
    """One change, synchronized with the restart of all; what our processes of both nodes hold afterwards."""
    write_site(pair.fw1, f"cycle {number}")
    found = pair.sync("--restart-all")
    assert found["result"] == "done", found
    restarted = [step["name"] for step in found["steps"] if step["name"].startswith("restart ")]
    assert restarted == [f"restart {unit}" for unit in UNITS]
    assert pair.spaces.python("client", FETCH).strip() == f"portal cycle {number}"
    for node in pair.nodes:
        assert node.run("systemctl", "--failed", "--no-legend").stdout == ""
    return {f"{name} of {node.name}": one for node in pair.nodes for name, one in used(node).items()}


def no_more(before: dict[str, Used], after: dict[str, Used]) -> None:
    """The same processes, and none with more descriptors; two nodes that talk may have a connection more between."""
    assert {name: one.pid for name, one in after.items()} == {name: one.pid for name, one in before.items()}
    more = {name: (one, after[name]) for name, one in before.items() if after[name].descriptors > one.descriptors + 2}
    assert not more


def test_three_cycles(ordered: Edge) -> None:
    first, *_, last = [cycle(ordered, number) for number in range(3)]
    no_more(first, last)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_fifty_cycles(ordered: Edge, figure: Figure) -> None:
    seen = [cycle(ordered, number) for number in range(50)]
    tenth, last = seen[9], seen[-1]
    no_more(tenth, last)
    grown = {name: last[name].memory_kib - one.memory_kib for name, one in tenth.items()}
    for name, kib in grown.items():
        figure(name, f"{last[name].memory_kib} KiB, {kib} more than after the tenth cycle")
    assert not {name: kib for name, kib in grown.items() if kib > MAY_GROW_KIB[name.split()[0]]}
