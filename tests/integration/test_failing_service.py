"""Services that do not come up with what was applied: files and services are as they were, and both say why."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.integration.faults import ended, equal, running, sound
from tests.integration.pair import CLUSTER, Node, Pair, listing
from tests.services.kit import PROGRAMS
from tests.support.wait import until

SERVICES = """\
services:
  web:
    manager: command
    start: [CHECK-ctl, start, proxy/main.conf]
    stop: [CHECK-ctl, stop, proxy/main.conf]
    status: [CHECK-ctl, status, proxy/main.conf]
    health: {exec: [CHECK-ctl, health, proxy/main.conf], within: 2s}
    on_change: restart
  names:
    manager: command
    start: [CHECK-ctl, start, dns/zone]
    stop: [CHECK-ctl, stop, dns/zone]
    reload: [CHECK-ctl, reload, dns/zone]
    status: [CHECK-ctl, status, dns/zone]
    health: {exec: [CHECK-ctl, health, dns/zone], within: 2s}
    on_change: reload
    after: [web]
"""

CONTROL = """\
#!/bin/sh
# VERB FILE: the daemon that reads FILE of the node NODE; it is well unless FILE says that it is sick
folder=HOME/$NODE/$(basename $2)
mkdir -p $folder && ln -sfn HOME/${NODE#fw}/root/etc/$2 $folder/conf
[ $1 != health ] || { ! grep sick $folder/conf; exit; }
exec PYTHON -ES PROGRAMS/ctl.py $1 $folder
"""


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Pair]:
    with running(with_services(CLUSTER), prepare) as pair:
        try:
            for node in (pair.fw1, pair.fw2):
                node.do("services", "start", "web", "names")
            yield pair
            sound(pair.fw1, pair.fw2)
        finally:
            end_daemons(pair)


def with_services(cluster: str) -> str:
    return (
        cluster.replace("    check: [", "    services: [web]\n    check: [").replace(
            "/etc/hosts.extra]\n", "/etc/hosts.extra]\n    services: [names]\n"
        )
        + SERVICES
    )


def prepare(pair: Pair) -> None:
    home = pair.fw1.home.parent
    control = home / "check-ctl"
    text = CONTROL.replace("HOME", str(home)).replace("PYTHON", sys.executable).replace("PROGRAMS", str(PROGRAMS))
    control.write_text(text)
    control.chmod(0o755)


def loaded(node: Node, name: str) -> tuple[int, str]:
    """The daemon's process and what it runs with."""
    pid, _, text = (node.home.parent / node.name / name / "loaded").read_text().partition(" ")
    return int(pid), text


def end_daemons(pair: Pair) -> None:
    for node in (pair.fw1, pair.fw2):
        for name in ("main.conf", "zone"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(loaded(node, name)[0], signal.SIGKILL)


@pytest.fixture
def lab(running_lab: Pair) -> Iterator[Pair]:
    """The pair, mended afterwards by the next sync."""
    yield running_lab
    running_lab.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    running_lab.fw1.write("/etc/dns/zone", "a 192.0.2.1\n")
    equal(running_lab)
    assert [one["state"] for one in running_lab.fw2.status()["services"]] == ["running", "running"]


def put_back(pair: Pair, *words: str) -> list[tuple[str, str]]:
    """A sync whose services fail: all is as before, and said; its steps and how they ended."""
    before, applied = listing(pair.fw2.root), pair.fw2.status()["sync"]["applied_tag"]
    answer = pair.fw1.ask("sync")
    found = ended(answer, *words, "everything was put back")
    assert listing(pair.fw2.root) == before
    sync = pair.fw2.status()["sync"]
    assert (sync["state"], sync["applied_tag"], sync["drift"]) == ("rolled_back", applied, [])
    assert sync["reason"] == found["reason"]
    assert pair.fw1.status()["peers"]["fw2"]["state"] == "rolled_back"
    assert not (pair.fw2.state / "journal.json").exists()
    assert answer.data["tag"] in pair.fw2.git("log", "-1", "--format=%s", "refs/syncsrv/audit")
    return [(step["name"], step["result"]) for step in found["steps"]]


def test_one_that_refuses_its_new_configuration_runs_with_the_old(lab: Pair) -> None:
    pid, text = loaded(lab.fw2, "main.conf")
    lab.fw1.write("/etc/proxy/main.conf", "bad\n")
    steps = put_back(lab, "cannot restart service web", "conf:1: bad word")
    assert ("restart web", "failed") in steps
    assert [step for step in steps if "web" in step[0]][-1][1] == "done", steps
    now = loaded(lab.fw2, "main.conf")
    assert (now[0] != pid, now[1]) == (True, text)
    assert [one["state"] for one in lab.fw2.status()["services"]] == ["running", "running"]
    assert "put back" in lab.fw2.git("log", "-1", "--format=%s", "main")
    assert lab.fw2.git("diff", "--stat", "main", "main~2") == "", "the history has both"
    assert lab.fw2.git("show", "main~1:etc/proxy/main.conf") == "bad\n"


def test_one_that_ends_at_its_reload_is_started_with_the_old(lab: Pair) -> None:
    lab.fw1.write("/etc/dns/zone", "fatal\n")
    lab.fw1.write("/etc/proxy/main.conf", "listen 81\n")
    steps = put_back(lab, "cannot reload service names")
    assert steps.index(("restart web", "done")) < steps.index(("reload names", "failed"))
    assert loaded(lab.fw2, "zone")[1] == "a 192.0.2.1\n"
    assert loaded(lab.fw2, "main.conf")[1] == "listen 80\n", "the one before it was put back too"


def test_one_that_runs_but_is_not_well_within_its_time(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/main.conf", "sick\n")
    put_back(lab, "cannot restart service web", "not well within 2 s", "status 1: sick")
    assert loaded(lab.fw2, "main.conf")[1] == "listen 80\n"


def test_a_new_command_that_fails_is_not_in_force_afterwards(lab: Pair) -> None:
    cluster = lab.fw1.etc / "cluster.yaml"
    before = cluster.read_text()
    good = next(line for line in before.splitlines() if "start, proxy" in line)
    cluster.write_text(before.replace(good, "    start: [/bin/false]"))
    lab.fw1.write("/etc/proxy/main.conf", "listen 82\n")
    ended(lab.fw1.ask("sync"), "services.web.start", "/bin/false", status=4, result="refused", guards=("commands",))
    found = ended(lab.fw2.ask("sync", "--force", "commands"), "cannot restart service web", "/bin/false", "put back")
    assert "bad word" not in found["reason"], "those are words of an earlier time"
    assert (lab.fw2.etc / "cluster.yaml").read_text() == before
    assert lab.fw2.status()["sync"]["state"] == "rolled_back"
    cluster.write_text(before)
    lab.fw1.do("commit")
    lab.fw2.do("services", "restart", "web")
    assert loaded(lab.fw2, "main.conf")[1] == "listen 80\n", "the old command is in force"


def test_one_that_was_stopped_stays_stopped(lab: Pair) -> None:
    lab.fw2.do("services", "stop", "web")
    lab.fw1.write("/etc/proxy/main.conf", "bad\n")
    assert lab.synced()["result"] == "done"
    assert {one["name"]: one["state"] for one in lab.fw2.status()["services"]}["web"] == "stopped"
    lab.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    lab.synced()
    lab.fw2.do("services", "start", "web")
    until(lambda: loaded(lab.fw2, "main.conf")[1] == "listen 80\n", what="the service to run again")
