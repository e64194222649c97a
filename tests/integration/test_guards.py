"""What a sync is stopped for until a person says otherwise, and what that changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import syncsrv
from syncsrv.version import PROTOCOL, __version__
from tests.integration.faults import ended, equal, running, sound, untouched
from tests.integration.pair import CLUSTER, Pair, listing
from tests.support.wait import until

SSH = """\
  ssh:
    paths: [/etc/ssh/sshd_config, /etc/firewall]
"""


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Pair]:
    with running(CLUSTER + SSH) as pair:
        yield pair
        sound(pair.fw1, pair.fw2)


@pytest.fixture
def lab(running_lab: Pair) -> Iterator[Pair]:
    yield running_lab
    running_lab.fw1.write("/etc/proxy/main.conf", "listen 80\n")
    equal(running_lab, "--force", "drift", "--force", "mass-deletion")


def refused(pair: Pair, guard: str, *words: str, options: tuple[str, ...] = (), new_tag: bool = True) -> None:
    """The backup refuses, names the guard, what it saw and how to go on; nothing changes, its state neither."""
    state = pair.fw2.status()["sync"]["state"]
    with untouched(pair.fw2, new_tag=new_tag):
        found = ended(pair.fw1.ask("sync", *options), *words, status=4, result="refused", guards=(guard,))
    assert f"--force {guard}" in found["remedy"]
    assert pair.fw2.status()["sync"]["state"] in {state, "changes_pending", "drifted"}


def test_mass_deletion(lab: Pair) -> None:
    for number in range(60):
        lab.fw1.write(f"/etc/proxy/sites/{number:02}", f"{number}\n")
    lab.synced()
    shutil.rmtree(lab.fw1.file("/etc/proxy/sites"))
    refused(lab, "mass-deletion", "60")
    assert lab.fw1.ask("sync", "--dry-run").status == 4
    lab.synced("--force", "mass-deletion")
    assert not lab.fw2.file("/etc/proxy/sites").exists()
    assert lab.fw2.git("show", "main~1:etc/proxy/sites/59") == "59\n", "the history has them"


def test_older_by_a_tag_and_by_a_commit(lab: Pair) -> None:
    first = lab.fw1.do("sync")["tag"]
    commit = lab.fw1.git("rev-parse", "main").strip()
    lab.fw1.write("/etc/proxy/main.conf", "listen 81\n")
    second = lab.fw1.do("sync")["tag"]
    refused(lab, "older", first, second, options=("--rev", first), new_tag=False)
    refused(lab, "older", second, options=("--rev", commit, "--area", "dns", "--area", "proxy"))
    lab.synced("--rev", first, "--force", "older")
    assert lab.fw2.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    assert lab.fw2.status()["sync"]["applied_tag"] == first
    until(lambda: lab.fw2.status()["sync"]["state"] == "changes_pending", deadline_s=15, what="the newer to be pending")
    lab.synced()
    assert lab.fw2.file("/etc/proxy/main.conf").read_text() == "listen 81\n"


@pytest.mark.parametrize(
    "path, before, after",
    [
        ("/etc/ssh/sshd_config", "Port 22\n", "Port 2222\n"),
        ("/etc/firewall", "accept tcp dport PORT\n", "drop\n"),
    ],
)
def test_lock_out(lab: Pair, path: str, before: str, after: str) -> None:
    lab.fw1.write(path, before.replace("PORT", str(lab.fw2.ssh)))
    lab.synced("--force", "lock-out")
    lab.fw1.write(path, after)
    refused(lab, "lock-out", path)
    lab.synced("--force", "lock-out")
    assert lab.fw2.file(path).read_text() == after


def test_all_that_fire_are_told_and_all_have_to_be_forced(lab: Pair) -> None:
    lab.fw1.write("/etc/ssh/sshd_config", "Port 23\n")
    lab.fw2.write("/etc/proxy/main.conf", "drift\n")
    lab.fw1.write("/etc/proxy/main.conf", "listen 82\n")
    both = ended(lab.fw1.ask("sync"), "drift", "lock-out", status=4, result="refused", guards=("drift", "lock-out"))
    assert "--force drift" in both["remedy"]
    assert "--force lock-out" in both["remedy"]
    refused(lab, "lock-out", "/etc/ssh/sshd_config", options=("--force", "drift"), new_tag=False)
    lab.synced("--force", "drift", "--force", "lock-out")
    assert listing(lab.fw1.root) == listing(lab.fw2.root)


def test_a_guard_that_does_not_exist_cannot_be_forced(lab: Pair) -> None:
    answer = lab.fw1.ask("sync", "--force", "everything")
    assert answer.status == 2
    assert "everything" in answer.data["error"]["message"]


# -- commands


def other_check(pair: Pair) -> str:
    """Another check in the master's cluster.yaml; what it was before."""
    cluster = pair.fw1.etc / "cluster.yaml"
    before = cluster.read_text()
    cluster.write_text(before.replace('"{stage}/etc/proxy"]', '"{stage}/etc/proxy", --strict]'))
    return before


def test_commands_are_forced_by_an_admin_of_the_backup_only(lab: Pair) -> None:
    before = other_check(lab)
    refused(lab, "commands", "areas.proxy.check", "--strict")
    refused(lab, "commands", "--strict", options=("--force", "commands"), new_tag=False)
    local = lab.fw2.ask("sync", "--force", "commands")
    assert (local.status, local.data["nodes"]["fw2"]["result"]) == (0, "done"), local.text
    assert "--strict" in (lab.fw2.etc / "cluster.yaml").read_text()
    (lab.fw1.etc / "cluster.yaml").write_text(before)
    lab.fw1.ask("sync")
    assert lab.fw2.ask("sync", "--force", "commands").status == 0


def restarted(pair: Pair, node_yaml: str) -> None:
    """The backup with another node.yaml."""
    pair.fw2.stop()
    (pair.fw2.etc / "node.yaml").write_text(node_yaml)
    pair.fw2.start()
    until(pair.reachable, what="the nodes to hear each other")


def test_pinned_commands_are_forced_on_the_backup_itself_only(lab: Pair) -> None:
    guarded = (lab.fw2.etc / "node.yaml").read_text().replace("key: ", "may: admin, key: ")
    restarted(lab, guarded.replace("role: backup", "role: backup\ncommands: pinned"))
    before = other_check(lab)
    refused(lab, "commands", "--strict", options=("--force", "commands"))
    assert lab.fw2.ask("sync", "--force", "commands").status == 0
    (lab.fw1.etc / "cluster.yaml").write_text(before)
    restarted(lab, guarded)
    assert lab.synced("--force", "commands")["result"] == "done", "a master that may admin forces what is only guarded"


# -- version


def with_other_code(pair: Pair, old: str, new: str) -> None:
    """Start the backup from a copy of syncsrv in which one word of version.py differs."""
    pair.fw2.code = pair.fw2.home / "code"
    shutil.rmtree(pair.fw2.code, ignore_errors=True)
    shutil.copytree(Path(syncsrv.__file__).parent, pair.fw2.code / "syncsrv")
    module = pair.fw2.code / "syncsrv" / "version.py"
    text = module.read_text()
    assert old in text
    module.write_text(text.replace(old, new))
    pair.fw2.stop()
    pair.fw2.start(wait=False)


@pytest.fixture
def upgraded(lab: Pair) -> Iterator[Pair]:
    yield lab
    lab.fw2.code = None
    lab.fw2.stop()
    lab.fw2.start()
    until(lab.reachable, what="the nodes to hear each other")


def test_another_release_is_a_guard(upgraded: Pair) -> None:
    with_other_code(upgraded, f'"{__version__}"', '"99.1"')
    until(lambda: upgraded.fw1.status()["peers"]["fw2"]["version"] == "99.1", deadline_s=20, what="the new one")
    upgraded.fw1.write("/etc/proxy/main.conf", "listen 83\n")
    for state in (upgraded.fw1.status()["peers"]["fw2"], upgraded.fw2.status()["sync"]):
        assert state["state"] == "blocked"
        assert "99.1" in state["reason"]
        assert "--force version" in state["remedy"]
    with untouched(upgraded.fw2, new_tag=True):
        ended(upgraded.fw1.ask("sync"), "99.1", __version__, status=4, result="refused", guards=("version",))
    assert upgraded.synced("--force", "version")["result"] == "done"


def test_another_protocol_is_never_talked_to(upgraded: Pair) -> None:
    before = listing(upgraded.fw2.root)
    with_other_code(upgraded, f"PROTOCOL = {PROTOCOL}", f"PROTOCOL = {PROTOCOL + 1}")
    upgraded.fw1.write("/etc/proxy/main.conf", "listen 84\n")

    def told() -> bool:
        return "protocol" in upgraded.fw1.ask("sync", "--force", "version").data["nodes"]["fw2"]["reason"]

    until(told, deadline_s=30, what="the new protocol to be met")
    found = ended(upgraded.fw1.ask("sync", "--force", "version"), f"protocol {PROTOCOL + 1}", f"protocol {PROTOCOL}")
    assert "same version" in found["remedy"]
    assert listing(upgraded.fw2.root) == before
    local = upgraded.fw2.ask("status")
    assert (local.status, local.data["error"]["code"]) == (1, "protocol")
