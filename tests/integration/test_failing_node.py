"""Peers that cannot be asked or may not ask, and configuration that goes wrong under a running node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.faults import ended, equal, failed, running, sound, untouched
from tests.integration.pair import Node, Pair
from tests.support.wait import until

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Zp0BcPE2bPVLhAxUFQu2dYwq4VpjVmwcM0J2fVYzc"

Edit: TypeAlias = Callable[[Node, str, str, str], None]
"""Node, file, words and what they become."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running() as pair:
        yield pair
        equal(pair)
        sound(pair.fw1, pair.fw2)


def hang_up(node: Node) -> None:
    """SIGHUP to serve; returns when core has done with it."""
    assert node.process is not None
    before = node.log.read_text().count("configuration")
    os.kill(node.process.pid, signal.SIGHUP)
    until(lambda: node.log.read_text().count("configuration") > before, what="the configuration to be read again")


@pytest.fixture
def edited() -> Iterator[Edit]:
    """Changes words of a file of the configuration and has it read again; undone in the end."""
    saved: list[tuple[Node, Path, str]] = []

    def edit(node: Node, name: str, old: str, new: str) -> None:
        path = node.etc / name
        text = path.read_text()
        assert old in text
        saved.append((node, path, text))
        path.write_text(text.replace(old, new))
        if name == "node.yaml":
            hang_up(node)

    yield edit
    for node, path, text in saved:
        path.write_text(text)
        hang_up(node)
    for node, _, _ in saved:
        until(partial(reaches_all, node), deadline_s=20, what="the peers to be heard again")


def reaches_all(node: Node) -> bool:
    return all(peer["reachable"] for peer in node.status()["peers"].values())


def notices(node: Node) -> list[str]:
    """What it says of itself, but for what it says whenever it is not root."""
    return [one for one in node.status()["notices"] if not one.startswith("not started as root")]


def key_of(node: Node) -> str:
    line: str = node.do("key")["key"]
    return line.rpartition(" ")[0]


def test_a_peer_that_is_away(lab: Pair) -> None:
    lab.fw2.stop()
    try:
        lab.fw1.write("/etc/proxy/main.conf", "listen 90\n")
        answer = lab.fw1.ask("sync")
        found = ended(answer, "cannot reach fw2", "connection refused", status=3, result="unreachable")
        assert "check that syncsrv runs on fw2" in found["remedy"]
        assert lab.fw1.ask("diff").data["nodes"]["fw2"]["age_s"] is not None, "as it was when it was last heard"
        services = lab.fw1.ask("services", "fw2")
        failed(services, services.data["error"]["code"], "fw2", status=3)
    finally:
        lab.fw2.start()
    until(lab.reachable, what="the nodes to hear each other again")
    assert lab.fw1.do("sync")["nodes"]["fw2"]["result"] == "done"


def test_a_backup_whose_master_is_away_applies_what_it_has_verified(lab: Pair) -> None:
    lab.fw1.stop()
    try:
        answer = lab.fw2.do("sync")
        assert answer["nodes"]["fw2"]["result"] == "unchanged"
        assert "fw1 is away" in answer["nodes"]["fw2"]["steps"][0]["output"]
    finally:
        lab.fw1.start()
    until(lab.reachable, what="the nodes to hear each other again")


def test_another_host_key_than_the_pinned_one(lab: Pair, edited: Edit) -> None:
    edited(lab.fw1, "node.yaml", key_of(lab.fw2), OTHER_KEY)
    with untouched(lab.fw2):
        found = ended(lab.fw1.ask("sync"), "cannot trust fw2", "has pinned SHA256:", status=3, result="unreachable")
        assert "syncsrv key" in found["remedy"]


def test_a_client_key_that_the_peer_does_not_know(lab: Pair, edited: Edit) -> None:
    edited(lab.fw2, "node.yaml", key_of(lab.fw1), OTHER_KEY)
    with untouched(lab.fw2):
        found = ended(lab.fw1.ask("sync"), "cannot log in at fw2", status=3, result="unreachable")
        assert "node.yaml on fw2" in found["remedy"]


def test_a_tag_of_a_master_whose_key_was_exchanged_is_refused(lab: Pair, edited: Edit) -> None:
    """The backup still has the tag; the key that signed it is pinned no more."""
    edited(lab.fw2, "node.yaml", key_of(lab.fw1), OTHER_KEY)
    with untouched(lab.fw2):
        ended(lab.fw2.ask("sync"), "cannot accept sync/", "which this node has not pinned")
    assert lab.fw2.status()["sync"]["state"] == "blocked"


def test_a_reload_of_a_broken_file_changes_nothing_and_is_told(lab: Pair, edited: Edit) -> None:
    edited(lab.fw2, "node.yaml", "role: backup", "role: boss")
    status = lab.fw2.status()
    assert status["role"] == "backup"
    (notice,) = notices(lab.fw2)
    assert "node.yaml:" in notice
    assert "master or backup" in notice
    assert lab.fw1.do("sync")["nodes"]["fw2"]["result"] in {"done", "unchanged"}


def test_a_reload_of_what_only_a_restart_can_change_is_told(lab: Pair, edited: Edit) -> None:
    edited(lab.fw2, "node.yaml", "node: fw2", "node: fw9")
    status = lab.fw2.status()
    assert status["node"] == "fw2"
    assert "restart" in notices(lab.fw2)[0]


def test_a_good_reload_is_in_force(lab: Pair, edited: Edit) -> None:
    edited(lab.fw2, "node.yaml", "role: backup", "role: backup\nallow: [/srv]")
    lab.fw1.write("/etc/proxy/main.conf", "listen 92\n")
    with untouched(lab.fw2, new_tag=True):
        ended(lab.fw1.ask("sync"), "/etc/proxy", "node.yaml of this node allows /srv only")
    assert notices(lab.fw2) == []


def test_a_broken_cluster_yaml_under_a_running_master(lab: Pair) -> None:
    path = lab.fw1.etc / "cluster.yaml"
    good = path.read_text()
    path.write_text(good.replace("    paths: [/etc/proxy]", "    pathz: [/etc/proxy]"))
    try:
        until(lambda: notices(lab.fw1), what="the notice")
        (notice,) = notices(lab.fw1)
        assert "cluster.yaml:4:5: areas.proxy.pathz" in notice
        lab.fw1.write("/etc/proxy/main.conf", "listen 93\n")
        with untouched(lab.fw2):
            found = ended(lab.fw1.ask("sync"), "cluster.yaml:4:5: areas.proxy.pathz")
            assert "syncsrv check" in found["remedy"]
        assert lab.fw1.git("show", "main:etc/proxy/main.conf") == "listen 93\n", "the old areas are in force"
    finally:
        path.write_text(good)
    until(lambda: not notices(lab.fw1), what="the notice to go")
    assert lab.fw1.do("sync")["nodes"]["fw2"]["result"] == "done"


def test_a_cluster_yaml_that_is_gone_is_no_order_to_delete_it(lab: Pair) -> None:
    path = lab.fw1.etc / "cluster.yaml"
    good = path.read_text()
    path.unlink()
    try:
        with untouched(lab.fw2):
            ended(lab.fw1.ask("sync"), "cluster.yaml")
        assert notices(lab.fw1)
    finally:
        path.write_text(good)
    until(lambda: not notices(lab.fw1), what="the notice to go")
    equal(lab)


def test_an_unreadable_file_is_told_and_its_last_content_stays(lab: Pair) -> None:
    lab.fw1.write("/etc/proxy/private", "known\n")
    lab.synced()
    lab.fw1.stop()
    private = lab.fw1.file("/etc/proxy/private")
    private.write_text("unknown\n")
    private.chmod(0)
    if os.geteuid() == 0:  # root reads everything, unless it gave the right away
        os.chown(private, 65534, 65534)
        lab.fw1.prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    try:
        lab.fw1.start()
        until(lab.reachable, what="the nodes to hear each other again")
        (left,) = lab.fw1.status()["left_out"]
        assert (left["path"], left["reason"]) == ("/etc/proxy/private", "unreadable")
        with untouched(lab.fw2):
            ended(lab.fw1.ask("sync"), "/etc/proxy/private", "cannot be read: Permission denied")
        assert lab.fw1.git("show", "main:etc/proxy/private") == "known\n"
    finally:
        lab.fw1.stop()
        lab.fw1.prefix = ()
        private.unlink()
        lab.fw1.start()
        until(lab.reachable, what="the nodes to hear each other again")
