"""What a core knows of itself: for its own status, and for the peers that poll it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncsrv.control.codec import encode
from syncsrv.control.shapes import Facts, FactsRequest, Status, SyncRequest
from syncsrv.control.shapes_history import CommitReply, CommitRequest
from syncsrv.core import facts
from syncsrv.services.base import HealthWord, ServiceState, ServiceStatus
from tests.core.corekit import CLUSTER, Node, Pair, pair_of, single


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with single(tmp_path) as node:
        yield node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as pair:
        yield pair


def status(node: Node) -> Status:
    found = node.ask("status")
    assert isinstance(found, Status)
    encode(Status, found)
    return found


def told(node: Node, **applied: str) -> Facts:
    found = node.ask("facts", FactsRequest(applied))
    assert isinstance(found, Facts)
    encode(Facts, found)
    return found


def test_a_lonely_node_is_standalone_and_shows_its_head(node: Node) -> None:
    found = status(node)
    assert (found.node, found.role, found.cluster, found.sync.state) == ("fw1", "master", "edge", "standalone")
    assert found.head is not None
    assert found.head.commit == node.core.recorder.head()
    assert (found.last_tag, found.untagged, found.peers) == (None, 1, {})
    assert [one.name for one in found.services] == []
    node.core.read_services()
    assert [(one.name, one.state, one.health) for one in status(node).services] == [("app", "stopped", "none")]


def test_it_counts_what_came_after_the_last_tag(pair: Pair) -> None:
    pair.sync()
    assert status(pair.fw1).untagged == 0
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.core.record(via="watch")
    found = status(pair.fw1)
    assert (found.last_tag, found.untagged, found.sync.behind) == ("sync/000001", 1, 1)
    assert (found.peers["fw2"].state, found.peers["fw2"].behind) == ("changes_pending", 1)
    assert found.sync.areas == {"app": "sync/000001", "more": "sync/000001", "cluster": "sync/000001"}
    pair.fw2.hear()
    theirs = status(pair.fw2)
    assert (theirs.sync.state, theirs.sync.behind, theirs.untagged) == ("changes_pending", 1, 0)


def test_a_backup_says_what_was_changed_on_it_since_the_sync(pair: Pair) -> None:
    pair.sync()
    pair.fw2.put("/etc/app/app.conf", "edited here")
    (pair.fw2.root / "etc/more.conf").unlink()
    pair.fw2.core.record(via="watch")
    found = status(pair.fw2)
    assert (found.sync.state, found.sync.drift) == ("drifted", ("/etc/app/app.conf", "/etc/more.conf"))
    pair.fw1.hear()
    assert status(pair.fw1).peers["fw2"].drift == ("/etc/app/app.conf", "/etc/more.conf")
    assert status(pair.fw1).sync.state == "drifted"
    pair.fw1.put("/etc/app/app.conf", "and there")
    pair.fw1.core.record(via="watch")
    assert status(pair.fw1).peers["fw2"].state == "diverged"


def test_a_master_tells_the_asker_what_it_is_behind_and_a_backup_does_not(pair: Pair) -> None:
    first = pair.fw1.core.recorder.head() or ""
    pair.fw1.put("/etc/app/app.conf", "two")
    pair.fw1.core.record(via="watch")
    pending = told(pair.fw1, app=first, more=first, cluster=first).pending
    assert pending is not None
    assert (pending.areas, pending.behind) == (("app",), 1)
    nothing = told(pair.fw1).pending
    assert nothing is not None
    assert (nothing.areas, nothing.behind) == (("app", "more", "cluster"), 2)
    assert told(pair.fw2).pending is None
    assert told(pair.fw1).people != "" == told(pair.fw2).people


def test_an_applied_tag_is_told_with_its_commits(pair: Pair) -> None:
    pair.sync()
    found = told(pair.fw2)
    assert found.situation.applied_tag == "sync/000001"
    assert found.applied == dict.fromkeys(("app", "more", "cluster"), pair.fw1.core.recorder.head())
    assert found.areas == dict.fromkeys(("app", "more", "cluster"), "sync/000001")
    assert found.known_good == pair.fw2.core.recorder.head()


def test_what_cannot_be_in_the_history_is_named_and_what_is_excluded_is_not(node: Node) -> None:
    os.mkfifo(node.root / "etc/app/pipe")
    node.put("/etc/app/old.bak", "excluded")
    node.core.record(via="watch")
    (left,) = status(node).left_out
    assert (left.path, left.area, left.reason) == ("/etc/app/pipe", "app", "fifo")
    assert facts.left_out(()) == ()
    reply = node.ask("commit", CommitRequest())
    assert isinstance(reply, CommitReply)
    assert reply.left_out == (left,)


def test_a_broken_cluster_yaml_and_a_bad_tag_are_notices_and_break_nothing(pair: Pair) -> None:
    pair.sync()
    core = pair.fw1.core
    (pair.fw1.etc / "cluster.yaml").write_text("areas: [")
    core.record(via="watch")
    core.store.move_ref("refs/tags/sync/000099", core.recorder.head(), None)
    notices = status(pair.fw1).notices
    assert any(notice.startswith("cluster.yaml is not in force, it has problems: ") for notice in notices)
    assert any("sync/000099" in notice for notice in notices)
    assert status(pair.fw1).last_tag == "sync/000001"
    assert told(pair.fw1).role == "master"


def test_areas_of_a_partial_tag_do_not_hide_those_of_the_one_before(pair: Pair) -> None:
    pair.sync()
    pair.fw1.put("/etc/more.conf", "two")
    pair.fw1.do("sync", SyncRequest(areas=("more",)))
    for node in (pair.fw1, pair.fw2):
        assert status(node).sync.areas == {"app": "sync/000001", "more": "sync/000002", "cluster": "sync/000001"}
    assert status(pair.fw2).sync.state == "in_sync"


def test_large_files_are_named_though_they_are_in_the_history(node: Node) -> None:
    node.put("/etc/app/database", "x" * (1024 * 1024))
    node.core.record(via="watch")
    assert [one for one in status(node).notices if "large for configuration" in one] == [
        "/etc/app/database is large for configuration (1048576 bytes); it is in the history all the same"
    ]
    for number in range(facts.LARGE_NAMED + 2):
        node.put(f"/etc/app/database{number:02}", "x" * (1024 * 1024))
    node.core.record(via="watch")
    said = [one for one in status(node).notices if "large for configuration" in one]
    assert len(said) == facts.LARGE_NAMED + 1
    assert said[-1] == "3 more files are large for configuration"


@pytest.mark.parametrize("run_on", ["always", "never"])
def test_a_service_says_where_it_is_meant_to_run(tmp_path: Path, run_on: str) -> None:
    with single(tmp_path, cluster=CLUSTER.replace("    reload:", f"    run_on: {run_on}\n    reload:")) as node:
        node.core.read_services()
        assert [one.run_on for one in status(node).services] == [run_on]


def test_a_service_has_the_contracts_keys_and_all_that_is_known_of_it() -> None:
    reading = ServiceStatus(
        "nginx", ServiceState.FAILED, datetime(2026, 11, 23, 2, 13, 4, tzinfo=UTC), 7, health=HealthWord.FAILING,
        memory=1024, memory_of="service", restarts=2, enabled="enabled", log="it says why", reason="it ended",
    )  # fmt: skip
    told = asdict(facts.service_info(reading))
    assert told == {
        "name": "nginx", "state": "failed", "since": "2026-11-23T02:13:04Z", "pid": 7, "restart_pending": False,
        "health": "failing", "reason": "it ended", "pending_why": "", "run_on": "always", "memory": 1024,
        "memory_of": "service", "restarts": 2, "enabled": "enabled", "log": "it says why",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("listen", "page"),
    [
        ("192.0.2.1:8443", "192.0.2.1:8443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("127.0.0.1:8443", ""),
        ("[::1]:8443", ""),
        ("0.0.0.0:8443", ""),
        ("[::]:8443", ""),
    ],
)
def test_a_peer_is_told_where_the_page_is_only_where_others_reach_it(listen: str, page: str) -> None:
    assert facts.page_of(listen) == page
