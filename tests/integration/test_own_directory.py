"""The node's own folders inside a managed area: never in the history, never sent, written or deleted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults import running, sound
from tests.integration.pair import Node, Pair
from tests.support.wait import until

CLUSTER = """\
cluster: edge
areas:
  all:
    paths: [/etc]
"""
OWN = {"conf": "etc/syncsrv", "state": "etc/state", "run": "etc/run"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running(CLUSTER, move_in) as pair:
        yield pair
        sound(pair.fw1, pair.fw2)


def move_in(pair: Pair) -> None:
    """Put configuration, state and run directory below the managed /etc; links stand where they were."""
    for node in (pair.fw1, pair.fw2):
        for name, place in OWN.items():
            inside = node.root / place
            inside.parent.mkdir(parents=True, exist_ok=True)
            if (node.home / name).exists():
                (node.home / name).rename(inside)
            else:
                inside.mkdir(mode=0o755)
            (node.home / name).symlink_to(inside)
        secrets = node.etc / "secrets.yaml"
        secrets.write_text("carp_lan: hush\n")
        secrets.chmod(0o600)


def own(node: Node) -> dict[str, str]:
    return {name: (node.etc / name).read_text() for name in ("node.yaml", "secrets.yaml")}


def test_only_cluster_yaml_is_in_the_history_as_the_area_cluster(lab: Pair) -> None:
    for node in (lab.fw1, lab.fw2):
        names = node.git("ls-tree", "-r", "--name-only", "main").split()
        assert ".syncsrv/cluster.yaml" in names
        assert "etc/proxy/main.conf" in names
        assert [name for name in names if name.startswith(tuple(OWN.values()))] == []
        assert "hush" not in node.git("log", "-p", "--all")


def test_a_sync_leaves_the_folders_alone_and_brings_cluster_yaml(lab: Pair) -> None:
    before = own(lab.fw2)
    cluster = lab.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("paths: [/etc]", "paths: [/etc]\n    description: everything"))
    (lab.fw2.etc / "note").write_text("only here\n")
    lab.fw1.write("/etc/proxy/main.conf", "listen 81\n")
    assert lab.synced()["result"] == "done"
    assert own(lab.fw2) == before
    assert (lab.fw2.etc / "note").read_text() == "only here\n"
    assert (lab.fw2.etc / "cluster.yaml").read_text() == cluster.read_text()
    assert lab.fw2.file("/etc/proxy/main.conf").read_text() == "listen 81\n"


def test_an_edit_in_them_is_no_drift_and_no_commit(lab: Pair) -> None:
    heads = [node.git("rev-parse", "main") for node in (lab.fw1, lab.fw2)]
    for node in (lab.fw1, lab.fw2):
        (node.etc / "secrets.yaml").write_text("carp_lan: other\n")
        (node.etc / "README").write_text("ours\n")
        assert node.ask("commit").data["commit"] is None
    assert [node.git("rev-parse", "main") for node in (lab.fw1, lab.fw2)] == heads
    assert lab.synced()["result"] == "unchanged"


def test_deleting_all_of_the_area_on_the_master_leaves_them_on_the_backup(lab: Pair) -> None:
    before = own(lab.fw2)
    lab.fw1.file("/etc/proxy/main.conf").unlink()
    lab.fw1.file("/etc/proxy").rmdir()
    lab.fw1.file("/etc/dns/zone").unlink()
    lab.fw1.file("/etc/dns").rmdir()
    assert lab.synced()["result"] == "done"
    assert own(lab.fw2) == before
    assert sorted(path.name for path in lab.fw2.file("/etc").iterdir()) == ["run", "state", "syncsrv"]
    until(lambda: lab.fw2.status()["sync"]["state"] == "in_sync", what="the backup to be in sync")


def test_a_rollback_leaves_them_alone_too(lab: Pair) -> None:
    before = own(lab.fw1)
    lab.fw1.do("rollback", "sync/000001")
    assert own(lab.fw1) == before
    assert lab.fw1.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    lab.synced()
    assert own(lab.fw2)["node.yaml"] != own(lab.fw1)["node.yaml"]
