"""A pair's first month, as its operator lives it: each step by the page or the command, and what the client got.

The client reads the portal at the virtual address every 10 ms all the while. What is asserted is what it read and what
status and page say; how long it had to wait is measured, and shown at the end of `make lab`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.conftest import Figure
from tests.support import edge, reader
from tests.support.browsing import Browser, Page
from tests.support.edge import VIP, Edge, Firewall
from tests.support.testroot import TestRoot
from tests.support.wait import until

SITE = "/etc/nginx/sites-available/default"
PORTAL = """\
server {{
    listen 80 default_server;
    default_type text/plain;
    location {place} {{ return 200 "$hostname: {text}"; }}
}}
"""
WELCOME = "Welcome to nginx!"
"""What nginx shows where nobody told it otherwise."""
BEFORE = "the portal"
"""What fw2 has before it is synchronized."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of the client; ``text`` is empty where there was no answer."""

    asked_at: float
    over_at: float
    text: str
    why: str

    @property
    def read(self) -> str:
        title = re.search(r"<title>(.*)</title>", self.text)
        return title[1] if title else self.text.removeprefix("200 ")


@dataclass(slots=True)
class Step:
    """What the client saw of one step."""

    what: str
    seen: list[Asked] = field(default_factory=list)

    @property
    def read(self) -> list[str]:
        """All that it read, each time that it changed."""
        return [text for text, _ in itertools.groupby(one.read for one in self.seen if one.text)]

    def goes(self, before: str, after: str) -> bool:
        """Whether it read the one and then the other, and nothing else.

        While nginx reloads, its old processes may answer once more after the new ones have begun to.
        """
        return (self.read[0], self.read[-1], set(self.read)) == (before, after, {before, after})

    @property
    def lost(self) -> int:
        return sum(not one.text for one in self.seen)

    @property
    def outage_s(self) -> float:
        """The longest time between two answers."""
        answers = sorted(one.over_at for one in self.seen if one.text)
        return max(later - before for before, later in itertools.pairwise(answers))


@dataclass(slots=True)
class Month:
    """The pair, and the steps so far."""

    pair: Edge
    steps: list[Step] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, what: str, at_last: str) -> Iterator[Step]:
        """The client reads while the block runs, and on until it reads what it shall read in the end."""
        step = Step(what)
        self.steps.append(step)
        spaces = self.pair.spaces
        argv = [sys.executable, "-Es", reader.__file__, spaces.path("client"), VIP, "0.01"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
            try:
                yield step
                until(lambda: self.reads() == at_last, 30, f"the client to read {at_last!r}")
            finally:
                client.stdin.close()
                step.seen = [Asked(*one) for one in json.loads(client.stdout.readline())]
        assert step.read[-1] == at_last

    def reads(self, address: str = VIP) -> str:
        """What the client reads at an address now; empty for nothing."""
        code = f"import urllib.request; print(urllib.request.urlopen('http://{address}/', timeout=5).read().decode())"
        done = self.pair.spaces.run("client", [sys.executable, "-c", code])
        return Asked(0, 0, done.stdout.strip(), "").read

    def table(self) -> list[tuple[str, str]]:
        """A line for each step."""
        return [
            (
                step.what,
                f"{step.outage_s * 1000:6.0f} ms without an answer, {step.lost:3} of {len(step.seen)} unanswered; "
                f"read: {' -> '.join(dict.fromkeys(step.read))}",
            )
            for step in self.steps
        ]


def write_site(node: Firewall, text: str, place: str = "/") -> None:
    """An editor saves; what was saved is in the history when this returns."""
    node.put(SITE, PORTAL.format(place=place, text=text))
    until(lambda: SITE in node.do("log", "-n", "1")["commits"][0]["paths"], what="the commit")


def old_workers(node: Firewall) -> str:
    """Those that a reload has told to end, and that may answer once more."""
    return node.run("pgrep", "-f", "worker process is shutting down", check=False).stdout


def says(node: Firewall, state: str) -> None:
    """Wait until status says so: a node is asked every few seconds."""
    until(lambda: node.status()["sync"]["state"] == state, what=f"{node.name} to be {state}")


def knows_to_be_well(node: Firewall, peer: str) -> None:
    """Wait until a node has asked the other one since that was under a sync or a rollback."""
    until(
        lambda: not {"unproven", "state-sync"} & {*node.status()["peers"][peer]["demotion"]["reasons"]},
        what=f"{node.name} to hear that {peer} is well",
    )


@pytest.fixture
def month(testroot: TestRoot, layer: Path) -> Iterator[Month]:
    """Day 1, as README.md has it: configured, each with the other's key, installed under systemd."""
    with edge.running(testroot, [layer], edge.CLUSTER + edge.STATE_SYNC) as pair:
        for node in pair.nodes:
            assert "is well" in node.run("syncsrv", "check").stdout
        write_site(pair.fw1, "portal 1")
        pair.fw1.run("systemctl", "reload", "nginx")
        found = Month(pair)
        until(lambda: found.reads() == "fw1: portal 1", what="the client to read it")
        until(lambda: not old_workers(pair.fw1), what="those who answer from the old configuration to end")
        yield found


def test_from_day_1_to_day_30(month: Month, figure: Figure) -> None:
    first_sync(month)
    a_change(month)
    broken_and_switched_over(month)
    rolled_back_and_switched_back(month)
    dead_and_failed_over(month)
    at_the_end(month)
    for what, value in month.table():
        figure(what, value)


def first_sync(month: Month) -> None:
    fw1, _ = month.pair.nodes
    says(fw1, "awaiting_first_sync")
    assert month.reads("10.1.0.2") == BEFORE
    with month.step("day 1: first sync, by the command", "fw1: portal 1") as step:
        planned = fw1.do("sync", "--dry-run")["nodes"]["fw2"]
        assert planned["result"] == "done"
        assert month.reads("10.1.0.2") == BEFORE
        assert month.pair.sync("--reason", "first")["result"] == "done"
        month.pair.settle()
    assert step.read == ["fw1: portal 1"]
    assert month.reads("10.1.0.2") == "fw2: portal 1"
    for node in month.pair.nodes:
        says(node, "in_sync")


def a_change(month: Month) -> None:
    fw1, _ = month.pair.nodes
    with month.step("day 3: nginx changed on the master, reloaded", "fw1: portal 2") as step:
        write_site(fw1, "portal 2")
        fw1.run("systemctl", "reload", "nginx")
    assert step.goes("fw1: portal 1", "fw1: portal 2"), step.read
    assert month.reads("10.1.0.2") == "fw2: portal 1"
    says(fw1, "changes_pending")
    browser = Browser.of_admin(fw1)
    with month.step("day 3: synchronized, by the page", "fw1: portal 2") as step:
        job = browser.job(browser.open("/changes"), "Synchronize fw2: 1 area, 1 file", reason="portal 2")
    assert "fw2 is equal now: sync/000002." in job.text
    assert step.read == ["fw1: portal 2"]
    assert month.reads("10.1.0.2") == "fw2: portal 2"


def broken_and_switched_over(month: Month) -> None:
    """What ``nginx -t`` has nothing against, and no health sees: the site is gone from where clients look for it."""
    fw1, _ = month.pair.nodes
    with month.step("day 12: nginx broken on the master", WELCOME) as step:
        write_site(fw1, "portal 3", place="/portal")
        fw1.run("nginx", "-t")
        fw1.run("systemctl", "reload", "nginx")
    assert step.goes("fw1: portal 2", WELCOME), step.read
    assert fw1.serves()
    says(fw1, "changes_pending")
    browser = Browser.of_admin(fw1)
    assert "fw2 is 1 change behind fw1." in browser.open("/").text
    knows_to_be_well(fw1, "fw2")
    with month.step("day 12: switched over, by the page", "fw2: portal 2") as step:
        page = browser.press(asked(browser, "Switch over to fw2"), "Switch over to fw2", why="the portal is gone")
    assert "Done: fw2 serves 1@lan and 2@wan;" in page.text
    assert step.goes(WELCOME, "fw2: portal 2"), step.read
    month.pair.settle("fw2")


def asked(browser: Browser, label: str) -> Page:
    """The page that asks back, once it has read of both nodes: it names the one that takes over only then."""

    def found() -> list[Page]:
        page = browser.open("/vips?ask=switchover")
        return [page] if any(label in form.buttons for form in page.forms) else []

    return until(found, 30, f"the button {label!r}")[0]


def rolled_back_and_switched_back(month: Month) -> None:
    fw1, fw2 = month.pair.nodes
    good = fw2.status()["sync"]["applied_tag"]
    with month.step("day 13: rolled back, by the command", "fw2: portal 2") as step:
        fw1.do("rollback", good, "--area", "proxy", "--reason", "the portal was gone")
    assert step.read == ["fw2: portal 2"]
    assert month.reads("10.1.0.1") == "fw1: portal 2"
    says(fw1, "in_sync")
    knows_to_be_well(fw2, "fw1")
    browser = Browser.of_admin(fw2)
    with month.step("day 13: switched back, by the page", "fw1: portal 2") as step:
        page = browser.press(asked(browser, "Switch over to fw1"), "Switch over to fw1")
    assert "Done: fw1 serves 1@lan and 2@wan;" in page.text
    assert step.goes("fw2: portal 2", "fw1: portal 2"), step.read
    month.pair.settle()


def dead_and_failed_over(month: Month) -> None:
    """What nginx does not start with: its health fails, and nobody has to switch anything over."""
    fw1, fw2 = month.pair.nodes
    good = fw2.status()["sync"]["applied_tag"]
    with month.step("day 20: nginx dead on the master", "fw2: portal 2") as step:
        write_site(fw1, "portal 4", place="/ oops")
        assert fw1.run("systemctl", "restart", "nginx", check=False).returncode
    assert step.goes("fw1: portal 2", "fw2: portal 2"), step.read
    month.pair.settle("fw2")
    assert fw1.status()["demotion"]["reasons"] == {"service:nginx": 240}
    refused = fw1.run("syncsrv", "sync", check=False)
    assert "fw2: refused: target-is-master" in refused.stdout
    assert month.reads("10.1.0.2") == "fw2: portal 2"
    with month.step("day 20: rolled back, and back by itself", "fw1: portal 2") as step:
        fw1.do("rollback", good, "--area", "proxy", "--reason", "nginx did not start")
        month.pair.settle()
    assert step.goes("fw2: portal 2", "fw1: portal 2"), step.read


def at_the_end(month: Month) -> None:
    """Day 30: what went wrong has left nothing behind."""
    fw1, fw2 = month.pair.nodes
    assert month.pair.sync()["result"] == "unchanged"
    for node in (fw1, fw2):
        says(node, "in_sync")
        assert node.status()["demotion"] == {"total": 0, "reasons": {}}
        assert not node.status()["failover"]["switchover"]
        assert node.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert fw2.get(SITE) == fw1.get(SITE) == PORTAL.format(place="/", text="portal 2")
