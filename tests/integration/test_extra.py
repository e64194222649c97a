"""``extra: keep``: what only the backup has stays there, and nothing says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults import running
from tests.integration.pair import CLUSTER, Pair, end_pair, make_pair, start_pair
from tests.support.wait import until

KEEPING = CLUSTER.replace("/etc/hosts.extra]\n", "/etc/hosts.extra]\n    extra: keep\n")


def own_file(pair: Pair) -> None:
    pair.fw2.write("/etc/dns/own", "fw2 only\n")


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running(KEEPING, own_file) as pair:
        yield pair


@pytest.fixture
def keeping(lab: Pair) -> Pair:
    """A synchronized pair; of the area dns the backup has a file of its own."""
    for node, own in ((lab.fw1, {"zone": "a 192.0.2.1\n"}), (lab.fw2, {"own": "fw2 only\n"})):
        for name in names(node.file("/etc/dns")):
            if name not in own and (node is lab.fw1 or name != "zone"):
                node.file(f"/etc/dns/{name}").unlink()
        for name, text in own.items():
            node.write(f"/etc/dns/{name}", text)
        node.do("commit")
    lab.synced("--force", "drift")
    assert names(lab.fw2.file("/etc/dns")) == ["own", "zone"]
    return lab


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_what_only_the_backup_has_is_no_drift_and_no_difference(keeping: Pair) -> None:
    assert keeping.fw1.ask("diff").status == 0
    keeping.fw2.write("/etc/dns/later", "fw2 only, too\n")
    keeping.fw2.write("/etc/dns/own", "changed\n")
    until(
        lambda: len(keeping.fw2.do("log", "/etc/dns", "-n", "2")["commits"][0]["paths"]) == 2,
        what="both to be committed",
    )
    assert keeping.fw1.ask("diff").data["nodes"]["fw2"]["files"] == []
    assert keeping.fw2.ask("diff").status == 0
    assert keeping.fw2.status()["sync"]["state"] == "in_sync"
    assert keeping.synced()["result"] == "unchanged"
    assert names(keeping.fw2.file("/etc/dns")) == ["later", "own", "zone"]


def test_what_a_sync_brought_goes_when_the_master_has_it_no_more(keeping: Pair) -> None:
    keeping.fw1.file("/etc/dns/zone").unlink()
    (gone,) = keeping.fw1.ask("diff").data["nodes"]["fw2"]["files"]
    assert (gone["path"], gone["status"]) == ("/etc/dns/zone", "removed")
    assert keeping.synced()["result"] == "done"
    assert names(keeping.fw2.file("/etc/dns")) == ["own"]


def test_a_rollback_on_the_master_takes_away_what_was_added_since(keeping: Pair) -> None:
    keeping.fw1.write("/etc/dns/mistake", "x\n")
    keeping.fw1.do("commit", "-m", "a mistake")
    assert keeping.fw1.do("rollback", "HEAD~1")["nodes"]["fw1"]["result"] == "done"
    assert names(keeping.fw1.file("/etc/dns")) == ["zone"]


def test_a_rollback_on_the_backup_is_exact_for_its_own_commits_and_keeps_its_own_files_for_a_tag(
    keeping: Pair,
) -> None:
    tag = keeping.fw1.status()["last_tag"]
    keeping.fw1.write("/etc/dns/second", "x\n")
    assert keeping.synced()["result"] == "done"
    keeping.fw2.write("/etc/dns/late", "x\n")
    keeping.fw2.do("commit", "-m", "late")
    keeping.fw2.do("rollback", tag)
    assert names(keeping.fw2.file("/etc/dns")) == ["late", "own", "zone"]
    keeping.fw2.do("rollback", "HEAD~2")
    assert names(keeping.fw2.file("/etc/dns")) == ["own", "second", "zone"]


def test_before_the_first_sync_diff_says_what_it_cannot_see(short_tmp: Path) -> None:
    pair = make_pair(short_tmp, KEEPING)
    (pair.fw2.etc / "cluster.yaml").write_text("cluster: edge\n")
    pair.fw1.write("/etc/dns/zone", "a 192.0.2.1\n")
    try:
        start_pair(pair)
        node = pair.fw1.ask("diff").data["nodes"]["fw2"]
        assert node["unseen"] == ["proxy", "dns"]
        assert "fw2 does not know proxy, dns yet, so what it has there is missing here" in pair.fw1.told("diff")
        assert pair.synced()["result"] == "done"
        assert pair.fw1.ask("diff").data["nodes"]["fw2"]["unseen"] == []
    finally:
        end_pair(pair)


def test_a_tag_of_one_area_leaves_nothing_to_count_in_the_others(keeping: Pair) -> None:
    keeping.fw1.write("/etc/dns/zone", "a 192.0.2.2\n")
    assert keeping.synced("--area", "dns")["result"] == "done"
    peer = keeping.fw1.status()["peers"]["fw2"]
    assert (peer["state"], peer["behind"]) == ("in_sync", 0)
